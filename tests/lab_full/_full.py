# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of the profile full: what its hosts hold and its ordinary user makes in it, apart from the code under test."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.tests.lab._admin import quiet
from ansible_collections.openstack.upgrade_test.tests.lab._lab import Lab, Played, wait_for

NEXT = "2026.2"
CONTROL, STORAGE = ("control1", "control2"), ("storage1", "storage2", "storage3")
HOSTS = {"localhost", "infra", *CONTROL, "compute1", "compute2", *STORAGE}
KINDS = ("ceph", "nfs")
_OUTPUT = """
import subprocess, sys
done = subprocess.run(["bash", "-euc", sys.argv[1]], capture_output=True, text=True)
if done.returncode:
    raise SystemExit(done.stderr)
print(done.stdout, end="")
"""
_COMMANDS = """
import json, pathlib
lines = []
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        lines.append((entry / "cmdline").read_bytes().replace(b"\\0", b" ").decode(errors="replace").strip())
    except OSError:
        pass
print(json.dumps([line for line in lines if line]))
"""


@dataclass(kw_only=True)
class FullLab(Lab):
    """The lab under test; commands on its hosts go over SSH."""

    def sh(self, host: str, command: str, timeout: float = 60) -> str:
        """What a shell command prints on a host; the test fails when the command does."""
        return self.ssh(host, _OUTPUT, shlex.quote(command), timeout=timeout)

    def validate(self, release: str) -> Played:
        """Look whether all services are healthy and of a release, without a record."""
        # Engines of two releases let an ordinary user's stack hang, for which his patience has to end.
        variables = {"upgrade_test_stage": "now", "upgrade_test_from_release": release}
        return self.play("validate", variables, timeout=600)

    def commands(self, host: str) -> list[str]:
        """The command lines of all processes of a host."""
        return list(json.loads(self.ssh(host, _COMMANDS)))

    def user(self) -> User:
        """A new connection without special rights."""
        return User(self.clouds_yaml)

    def volume_bytes(self, kind: str, volume: str, count: int) -> bytes:
        """The first bytes of a volume, read where its backend keeps it; Cinder is not asked."""
        if kind == "ceph":
            read = f"rbd -n client.cinder export volumes/volume-{volume} - 2> /dev/null | head -c {count}"
            host = "storage1"
        else:
            file = f"{self.root}/shared/nfs/volumes/volume-{volume}"
            read = f"qemu-img dd -U -O raw bs={count} count=1 if={file} of=/run/lab/read && cat /run/lab/read"
            host = "storage2"
        return bytes.fromhex(self.sh(host, f"set +o pipefail; {{ {read}; }} | od -An -v -tx1"))

    def object_copies(self, content: bytes) -> int:
        """On how many storage hosts a file with this content lies among the objects."""
        digest = hashlib.sha256(content).hexdigest()
        found = [
            self.sh(host, f"find {self.root}/hosts/{host}/var/swift -name '*.data' -exec sha256sum {{}} +")
            for host in STORAGE
        ]
        return sum(digest in listing for listing in found)


class User:
    """The lab's ordinary user."""

    def __init__(self, clouds_yaml: Path) -> None:
        with quiet():
            from openstack.config import OpenStackConfig
            from openstack.connection import Connection

            files: dict[str, Any] = {"config_files": [str(clouds_yaml)], "secure_files": [], "vendor_files": []}
            region = OpenStackConfig(load_envvars=False, **files).get_one(cloud="lab-user")
            self.cloud: Any = Connection(config=region)

    def make_volume(self, name: str, kind: str) -> str:
        """Make a volume of one GiB; its id."""
        with quiet():
            volume = self.cloud.block_storage.create_volume(name=name, size=1, volume_type=kind)
            self.cloud.block_storage.wait_for_status(volume, "available", ["error"], interval=1, wait=60)
        return str(volume.id)

    def make_server(self, name: str) -> str:
        """Boot a real server without a network; its id."""
        with quiet():
            compute = self.cloud.compute
            server = compute.create_server(
                name=name,
                flavor_id=compute.find_flavor("guest").id,
                image_id=self.cloud.image.find_image("guest").id,
                availability_zone="lab-real",
                networks="none",
            )
            compute.wait_for_server(server, interval=1, wait=120)
        return str(server.id)

    def attach(self, server: str, volume: str) -> None:
        """Attach a volume and wait until Cinder calls it in use."""
        with quiet():
            self.cloud.compute.create_volume_attachment(server, volume_id=volume)
            self._await_volume(volume, "in-use")

    def detach(self, server: str, volume: str) -> None:
        """Detach a volume and wait until Cinder calls it available and Nova, a little later, has forgotten it."""
        with quiet():
            compute = self.cloud.compute
            compute.delete_volume_attachment(server, volume)
            self._await_volume(volume, "available")
            wait_for(
                lambda: volume not in {one.volume_id for one in compute.volume_attachments(server)},
                f"the end of the attachment of {volume}",
                30,
            )

    def _await_volume(self, volume: str, status: str) -> None:
        storage = self.cloud.block_storage
        storage.wait_for_status(storage.get_volume(volume), status, ["error"], interval=1, wait=90)

    def delete(self, server: str, *volumes: str) -> None:
        """Delete a server and volumes."""
        with quiet():
            self.cloud.compute.delete_server(server)
            self.cloud.compute.wait_for_delete(self.cloud.compute.get_server(server), interval=1, wait=120)
            for volume in volumes:
                self.cloud.block_storage.delete_volume(volume)

    def put(self, container: str, name: str, content: bytes) -> None:
        """Store an object."""
        with quiet():
            self.cloud.object_store.create_container(container)
            self.cloud.object_store.upload_object(container, name, data=content)

    def get(self, container: str, name: str) -> bytes:
        """Read an object."""
        with quiet():
            return bytes(self.cloud.object_store.download_object(name, container=container))

    def begin_stack(self, name: str, template: Mapping[str, Any]) -> str:
        """Ask for a stack; its id."""
        with quiet():
            return str(self.cloud.orchestration.create_stack(name=name, template=template).id)

    def stack_status(self, stack: str) -> str:
        """The status of a stack."""
        with quiet():
            return str(self.cloud.orchestration.get_stack(stack).status)

    def await_stack(self, stack: str, status: str, timeout: float = 120) -> None:
        """Wait until a stack has reached a status."""
        wait_for(lambda: self.stack_status(stack) == status, f"{status} of stack {stack}", timeout)
