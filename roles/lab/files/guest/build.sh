#!/bin/sh
# Builds the lab's guest from the distribution's kernel and busybox, without installing a kernel on the machine.
# Argument: the folder that receives vmlinuz, initrd and disk.raw. Reads init and udhcpc.script and witness beside this script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
target=$(cd "$1" && pwd)
work=$(mktemp -d "$target/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# Debian's cloud kernel, or Ubuntu's virtual one: the packages behind the name that follows the newest version.
name=linux-image-cloud-amd64
apt-cache show "$name" > /dev/null 2>&1 || name=linux-image-virtual
packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "$name" | grep -E '^linux-(image|modules)-[0-9]' | grep -v -e unsigned -e extra | sort -u)
if [ -z "$packages" ]; then
    echo "no kernel package found behind $name: run 'apt-get update' first" >&2
    exit 1
fi
# shellcheck disable=SC2086 (one word a package)
apt-get -q download $packages
for package in *.deb; do dpkg-deb -x "$package" root; done
cp root/boot/vmlinuz-* "$target/vmlinuz"

mkdir -p tree/bin tree/modules
cp "$(command -v busybox)" tree/bin/busybox
cp "$here/init" "$here/udhcpc.script" "$here/witness" tree/
chmod 755 tree/init tree/udhcpc.script tree/witness
modules=""
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net \
    virtio_blk; do
    file=$(find root -name "$module.ko" | head -n 1)
    if [ -n "$file" ]; then # otherwise it is built into the kernel
        cp "$file" "tree/modules/$module.ko"
        modules="$modules $module"
    fi
done
echo "$modules" > tree/modules/order
(cd tree && find . | cpio --quiet --create --format=newc) | gzip -9 > "$work/initrd"
truncate --size=1M "$work/disk.raw"
mv "$work/initrd" "$work/disk.raw" "$target/"
