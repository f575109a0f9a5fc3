#!/usr/bin/env bash
# Gives libvirt the key with which it opens Ceph's volumes; says so when it was not there.
# Arguments: the secret's id, the keyring.
set -eu
id=$1 keyring=$2
if virsh --quiet secret-get-value "$id" > /dev/null 2>&1; then exit 0; fi
virsh --quiet secret-define --file <(
  cat << END
<secret ephemeral='no' private='no'>
  <uuid>$id</uuid>
  <usage type='ceph'><name>client.cinder</name></usage>
</secret>
END
)
virsh --quiet secret-set-value --secret "$id" --file <(sed -n 's/^\s*key = //p' "$keyring" | tr -d '\n')
echo "$id"
