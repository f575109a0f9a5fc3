#!/usr/bin/env bash
# Installs one OpenStack release into an environment of its own, with its bytecode: without it each start doubles.
# Arguments: uv, the environment's folder, the driver of the fake compute, the lock files.
set -eu
uv=$1 folder=$2 driver=$3
shift 3
unset PYTHONDONTWRITEBYTECODE
rm -rf "$folder"
# The distribution's Python, because its bindings of libvirt and Ceph are used.
"$uv" venv --quiet --no-config --no-python-downloads --python /usr/bin/python3 "$folder"
"$uv" pip install --quiet --no-config --no-deps --compile-bytecode --python "$folder/bin/python" \
    "${@/#/--requirement=}"
for packages in "$folder"/lib/python3*/site-packages; do
    ln -s /usr/lib/python3/dist-packages/libvirt*.py /usr/lib/python3/dist-packages/libvirt*.so "$packages/"
    for bindings in /usr/lib/python3/dist-packages/rados*.so /usr/lib/python3/dist-packages/rbd*.so; do
        if [ -e "$bindings" ]; then ln -s "$bindings" "$packages/"; fi
    done
    # Nova loads drivers only from below nova.virt.
    ln -s "$driver" "$packages/nova/virt/labfake.py"
done
touch "$folder/.complete"
