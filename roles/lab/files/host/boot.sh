#!/bin/sh
# First commands inside the namespaces of a lab host; ends as tini, which runs sshd and reaps what is left over.
# Arguments: the host's folder, its name, its sshd_config.
set -eu
folder=$1 name=$2 sshd_config=$3

hostname "$name"
ip link set lo up

# A private /run: sockets and pid files of one host are invisible to the others and to the machine.
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/sshd /run/lock /run/netns /run/libvirt /run/openvswitch /run/lab
if [ -e /var/run ] && [ ! -L /var/run ]; then mount --bind /run /var/run; fi

# What services expect at places that the machine does not have: laid over what is there, which stays readable.
shared=${folder%/hosts/*}/shared
for place in etc usr/sbin; do
    if [ -d "$shared/over/$place" ]; then mount -t overlay -o "lowerdir=$shared/over/$place:/$place" over "/$place"; fi
done
if [ -d "$shared/swift" ]; then mount --bind "$shared/swift" /etc/swift; fi

# What services expect below /etc and /var at fixed places, each host its own.
for private in /etc/libvirt /etc/openvswitch /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /var/lib/openvswitch \
    /var/log/openvswitch /var/lib/rabbitmq /var/log/rabbitmq /etc/ceph; do
    if [ -d "$private" ]; then
        mkdir -p "$folder/root$private"
        mount --bind "$folder/root$private" "$private"
    fi
done
for file in hosts hostname shadow; do
    if [ -f "$folder/etc/$file" ]; then mount --bind "$folder/etc/$file" "/etc/$file"; fi
done

# The compute host forwards between the floating addresses and the lab's network.
echo 1 > /proc/sys/net/ipv4/ip_forward
# RabbitMQ and MariaDB keep many descriptors open; where no more are allowed, they live with fewer.
ulimit -n 65536 2> /dev/null || true

exec tini -s -g -- /usr/sbin/sshd -D -e -f "$sshd_config"
