#!/usr/bin/env bash
# Installs one OpenStack release into an environment of its own, with its bytecode: without it each start doubles.
# Arguments: uv, the environment's folder, the lock file, the driver of the fake compute.
set -eu
uv=$1 folder=$2 lock=$3 driver=$4
unset PYTHONDONTWRITEBYTECODE
rm -rf "$folder"
# The distribution's Python, because its libvirt bindings are used.
"$uv" venv --quiet --no-config --no-python-downloads --python /usr/bin/python3 "$folder"
"$uv" pip install --quiet --no-config --no-deps --compile-bytecode --python "$folder/bin/python" --requirement "$lock"
for packages in "$folder"/lib/python3*/site-packages; do
    ln -s /usr/lib/python3/dist-packages/libvirt*.py /usr/lib/python3/dist-packages/libvirt*.so "$packages/"
    # Nova loads drivers only from below nova.virt.
    ln -s "$driver" "$packages/nova/virt/labfake.py"
done
touch "$folder/.complete"
