#!/usr/bin/env bash
# Makes the only disk of the Ceph cluster and its pool; the monitor runs.
# Arguments: the folder of the cluster's data, the disk's id.
set -eu
data=$1 id=$2
umask 077
if [ ! -e "$data/osd-key" ]; then
  ceph-authtool --gen-print-key > "$data/osd-key.new"
  mv "$data/osd-key.new" "$data/osd-key"
fi
key=$(< "$data/osd-key")
# The same id and key again are no error, so this can be repeated.
printf '{"cephx_secret": "%s"}' "$key" | ceph osd new "$id" 0 -i - > /dev/null
rm -rf "$data/osd"
mkdir "$data/osd"
printf '[osd.0]\nkey = %s\n' "$key" > "$data/osd/keyring"
ceph-osd --mkfs --id 0 --osd-uuid "$id"
ceph osd pool create volumes 8 > /dev/null
ceph osd pool application enable volumes rbd > /dev/null
touch "$data/disk-made"
