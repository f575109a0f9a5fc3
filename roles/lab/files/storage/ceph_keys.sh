#!/usr/bin/env bash
# Makes all keys of a new Ceph cluster, and the first files of its only monitor, which knows them from the beginning.
# Arguments: the folder of the cluster's data, its id, the monitor's address. Configuration and keys are in /etc/ceph.
set -eu
data=$1 fsid=$2 address=$3
umask 077
cd /etc/ceph
rm -rf "$data/mon" ./*.keyring
mkdir -p "$data/mgr" "$data/osd"
key() { ceph-authtool --create-keyring "ceph.$1.keyring" --gen-key --name "$1" "${@:2}" > /dev/null; }
key mon. --cap mon 'allow *'
key client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
key mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *'
key client.cinder --cap mon 'profile rbd' --cap osd 'profile rbd pool=volumes' --cap mgr 'profile rbd pool=volumes'
cat ceph.*.keyring > "$data/initial.keyring"
monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:$address:3300,v1:$address:6789]" "$data/monmap" > /dev/null
ceph-mon --mkfs --id a --monmap "$data/monmap" --keyring "$data/initial.keyring"
rm "$data/initial.keyring" "$data/monmap"
touch "$data/keys-made"
