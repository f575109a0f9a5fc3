# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cinder.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import MissingError, UnreachableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    skipped,
    unseen,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import (
    Health,
    Records,
    service_beats,
    watch_beats,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import Look
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import Held, Offline
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import last_number, page
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    RUN_FIELD,
    Checks,
    Kind,
    Sample,
    SampleError,
    is_missing,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    BATCH,
    Components,
    Configured,
    Operation,
    Probe,
    Schema,
    Service,
    Upkeep,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._witness import (
    OFFSET,
    judge_numbers,
    numbers_in,
    read_numbers,
    runs_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SIZE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import NovaSample
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

MOST_TYPES = 4
_NO_TYPE = "__DEFAULT__"  # Cinder's own, which an operator may have left beside his
ACKNOWLEDGED = "/acknowledged"  # the page with the last number that is on the volume
_READ = 16 * 1024 * 1024  # bytes of a volume that are read: its content, and about eight hours of numbers


def look_at_volumes(health: Health) -> None:
    """Cinder lists volumes."""
    health.served("lists_volumes", "volume list", "/volumes", "Cinder lists volumes.", limit=5)


def look_at_services(health: Health) -> None:
    """Cinder's scheduler and the service of each backend are up and report."""
    # The host of a volume service names its backend: storage1@ceph.
    watch_beats(health, "service_reports", Records("volume services", "/os-services", service_beats))


class CinderSample(Sample):
    """A volume of each type with a known content, one of them in use by the server; a snapshot; a pending transfer."""

    after = ("glance", "nova")
    volumes = Kind(type="volume", path="/volumes", one="volume", many="volumes", detail="/detail")
    snapshots = Kind(type="snapshot", path="/snapshots", one="snapshot", many="snapshots", detail="/detail")
    transfers = Kind(type="transfer", path="/volume-transfers", one="transfer", many="transfers", detail="/detail")

    def kinds(self) -> Sequence[Kind]:
        """Return the types that it makes."""
        return (self.volumes, self.snapshots, self.transfers)

    def create(self) -> None:
        """Make the volumes, then what is made of them, and give one to the server."""
        types = self._types()
        first, last = f"volume-{types[0]}", f"volume-{types[-1]}"
        begun = [self._begin(f"volume-{type_}", {"volume_type": type_, **self._source()}) for type_ in types]
        begun.append(self._begin("given-volume", {"volume_type": types[0]}))
        for item in begun[:-1]:
            self._finish(item)
        self._give(begun[-1])
        self._attach(first)
        snapshot = {"volume_id": self.made(last).id, "force": True, "metadata": self._mark}
        self.keep(self.snapshots, "snapshot", snapshot, snapshot_facts, ready=_is_available)
        copy = self._begin("volume-of-snapshot", {"snapshot_id": self.made("snapshot").id, "volume_type": types[-1]})
        self._finish(copy)

    def _give(self, item: Item) -> None:
        """Offer a volume to somebody who never takes it."""
        self._await(item.id, "available", "awaiting-transfer")
        self.keep(self.transfers, "transfer", {"volume_id": item.id}, transfer_facts)
        if not item.facts:
            self.note(item, **volume_facts(self.volumes.get(self.api, item.id)))

    @property
    def _mark(self) -> dict[str, str]:
        return {RUN_FIELD: self.shop.journal.run.run_id}

    def _types(self) -> list[str]:
        """Return the names of the volume types, the default one first; a cloud may have many, so not all are used."""
        names = [one["name"] for one in self.api.get("/types")["volume_types"]]
        usual: list[str] = []
        with suppress(MissingError):
            usual.append(self.api.get("/types/default")["volume_type"]["name"])
        chosen = [*usual, *(name for name in names if name not in usual and name != _NO_TYPE)]
        return chosen[:MOST_TYPES]

    def _source(self) -> dict[str, Any]:
        """Return what gives a volume a known content: the sample image, if there is one."""
        image = self.shop.journal.find("glance", self.name("image"))
        return {"imageRef": image.id} if image and image.facts else {}

    def _content(self) -> dict[str, str]:
        image = self.shop.journal.find("glance", self.name("image"))
        return {"sha256": str(image.facts["sha256"])} if image and image.facts else {}

    def _begin(self, suffix: str, body: Mapping[str, Any]) -> Item:
        return self.ensure(self.volumes, suffix, {"size": 1, "metadata": self._mark, **body})

    def _finish(self, item: Item) -> None:
        """Wait for a volume and note what must not change of it."""
        if item.facts:
            return
        self._await(item.id, "available")
        self.note(item, **volume_facts(self.volumes.get(self.api, item.id)), **self._content())

    def _await(self, id_: str, *statuses: str) -> None:
        self.wait(f"Volume {id_}: status {statuses[0]}", lambda: self._is(id_, statuses), timeout=120)

    def _is(self, id_: str, statuses: Sequence[str]) -> bool:
        status = str(self.volumes.get(self.api, id_)["status"])
        if status.startswith("error"):
            raise SampleError(f"Volume {id_} went into status {status}: see the log of cinder-volume.")
        return status in statuses

    def _attach(self, suffix: str) -> None:
        """Give a volume to the sample server, and wait until its witness writes on it."""
        item, server = self.made(suffix), self.shop.journal.find("nova", self.name("server"))
        if server is None or not server.facts or item.facts.get("attachments"):
            return
        if self._is(item.id, ["available"]):
            body = {"volumeAttachment": {"volumeId": item.id}}
            with suppress(UnreachableError):  # an answer that is late: whether it was done, the volume says
                NOVA.api(self.cloud).post(f"/servers/{server.id}/os-volume_attachments", body)
        self._await(item.id, "in-use")
        address = str(server.facts["floating_ip"])
        written = (
            becomes_true(lambda: last_number(address, ACKNOWLEDGED) > 0, 30) if server.facts.get("witness") else False
        )
        facts = {"server": server.id, "address": address, "witness": written}
        self.note(item, **volume_facts(self.volumes.get(self.api, item.id)), **facts)

    def _used_volume(self) -> Item | None:
        """Return the volume that the server has."""
        items = self.shop.journal.items(self.service.name)
        return next((item for item in items if item.type == "volume" and item.facts.get("server")), None)

    def checks(self) -> Checks:
        """Return the checks: fields, the content as the server sees it, all that its witness wrote; refusals."""
        items = [item for item in self.shop.journal.items(self.service.name) if item.type == "volume" and item.id]
        suffixes = [item.name.removeprefix(self.shop.prefix) for item in items]
        return {
            **self.all_same(dict.fromkeys(suffixes, (self.volumes, volume_facts))),
            "snapshot_unchanged": lambda: self.same(self.snapshots, "snapshot", snapshot_facts),
            "transfer_unchanged": lambda: self.same(self.transfers, "transfer", transfer_facts),
            "volume_content": self._guest_content,
            "volume_numbers": self._guest_numbers,
            "used_volume_kept": self._kept,
            "volumes_listed": lambda: self.listed(*((kind, self.api) for kind in self.kinds())),
            "usage_in_step": self.usage_in_step,
            "stranger_refused": lambda: self.stranger_refused(*(f"/volumes/{item.id}" for item in items)),
            "anonymous_refused": lambda: self.anonymous_refused(f"/volumes/{self.made('snapshot').id}"),
        }

    def _guest_content(self) -> Finding:
        """The server reads from its disk what was stored in the volume."""
        item = self._used_volume()
        if item is None or not item.facts.get("witness") or "sha256" not in item.facts:
            return skipped("volume of the server", "No server with a witness has a volume of known content.")
        found = page(str(item.facts["address"]), "/cgi-bin/content").strip()
        good = found == item.facts["sha256"]
        word = "what was stored" if good else "not what was stored" if found else "nothing: it does not tell"
        message = f"The server reads from volume {item.name} {word}."
        if not found:
            return unseen(item.name, message)
        return finding(item.name, good, message, expected=item.facts["sha256"], found=found)

    def _guest_numbers(self) -> Finding:
        """Each number that the server's witness was told is on the disk, is there, once, in order."""
        item = self._used_volume()
        if item is None or not item.facts.get("witness"):
            return skipped("volume of the server", "No server with a witness has a volume.")
        address = str(item.facts["address"])
        last = last_number(address, ACKNOWLEDGED)
        text = page(address, "/cgi-bin/numbers")
        if not last or not text:
            return unseen(item.name, f"The witness does not tell what it wrote on volume {item.name}.")
        written = judge_numbers([int(word) for word in text.split() if word.isdigit()], last)
        return finding(item.name, written.good, f"Of the numbers on volume {item.name}, {written.in_words()}.")

    def _kept(self) -> Finding:
        """A volume that a server uses cannot be deleted."""
        item = self._used_volume()
        if item is None:
            return skipped("volume of the server", "No server has a volume.")
        ask = partial(self.volumes.delete, self.api, item.id)
        return self.refused(item.name, f"Deleting volume {item.name}, which is in use,", ask, 400)

    def used(self) -> dict[str, int]:
        """Return what the quotas count."""
        limits = self.api.get("/limits")["limits"]["absolute"]
        fields = {"volumes": "totalVolumesUsed", "snapshots": "totalSnapshotsUsed", "GiB": "totalGigabytesUsed"}
        return {name: limits[field] for name, field in fields.items()}

    def counted(self) -> dict[str, int]:
        """Return the same, counted from the volumes and snapshots that there are."""
        volumes, snapshots = self.volumes.all(self.api), self.snapshots.all(self.api)
        size = sum(entry["size"] for entry in (*volumes, *snapshots))
        return {"volumes": len(volumes), "snapshots": len(snapshots), "GiB": size}

    def exercises(self) -> Checks:
        """Return what users do: unplug and plug in, restore a snapshot, make and extend a volume of each type."""
        return {
            "detach_and_attach": self._replug,
            "restore_snapshot": self._restore,
            "new_volumes": self._new_volumes,
        }

    def cycles(self) -> Checks:
        """Return what needs nothing else: a volume of each type; deeper, one that a new server gets and gives back."""
        return {"volume": self._new_volumes, **({"attach": self._cycle_attach} if self.shop.computes else {})}

    def _cycle_attach(self) -> Finding:
        volume = self._begin("cycle-volume", {})
        try:
            self._await(volume.id, "available")
            with NovaSample(NOVA, self.shop).server_for_a_while("attach") as server:
                path = f"/servers/{server.id}/os-volume_attachments"
                NOVA.api(self.cloud).post(path, {"volumeAttachment": {"volumeId": volume.id}})
                self._await(volume.id, "in-use")
                self._detach(volume.id)
        finally:
            self.discard(self.volumes, volume)
        return finding("new volume", True, "A new server got a new volume, and gave it back.")

    def _replug(self) -> Finding:
        """Take the volume from the server and give it back; what was written on it must be there."""
        item = self._used_volume()
        if item is None:
            return skipped("volume of the server", "No server has a volume.")
        self._detach(item.id)
        self.note(replace(item, facts={**item.facts, "attachments": []}))
        self._attach(item.name.removeprefix(self.shop.prefix))
        if not item.facts.get("witness"):
            return finding(item.name, True, f"Volume {item.name} was detached and attached again.")
        self.wait("A number on the volume", lambda: self._guest_numbers().status is Status.PASS, 30)
        return self._guest_numbers()

    def _restore(self) -> Finding:
        volume = self._begin("exercise-restored", {"snapshot_id": self.made("snapshot").id})
        self._await(volume.id, "available")
        self.discard(self.volumes, volume)
        return finding(self.name("snapshot"), True, "A new volume was made of the old snapshot.")

    def _new_volumes(self) -> Finding:
        types = self._types()
        volumes = [self._begin(f"exercise-{type_}", {"volume_type": type_}) for type_ in types]
        for volume in volumes:
            self._await(volume.id, "available")
            self.api.request("POST", f"/volumes/{volume.id}/action", json={"os-extend": {"new_size": 2}})
        for volume in volumes:
            self._await(volume.id, "available")
        sizes = {self.volumes.get(self.api, volume.id)["size"] for volume in volumes}
        self.discard(self.volumes, *volumes)
        message = f"A new volume of each type ({', '.join(types)}) was made and extended."
        return finding("new volumes", sizes == {2}, message, expected=[2], found=sorted(sizes))

    def _detach(self, id_: str) -> None:
        """Take a volume from the servers that have it."""
        nova = NOVA.api(self.cloud)
        servers = [attachment["server_id"] for attachment in self.volumes.get(self.api, id_)["attachments"]]
        paths = [f"/servers/{server}/os-volume_attachments/{id_}" for server in servers]
        for path in paths:
            nova.delete(path)
        self._await(id_, "available")
        for path in paths:
            # Nova forgets later than Cinder that the volume was attached, and until then attaches it nowhere.
            self.wait(f"{path}: its end", partial(is_missing, partial(nova.get, path)), timeout=60)

    def remove(self) -> None:
        """Delete transfers, volumes made of snapshots, snapshots, volumes, in this order."""
        self.sweep(self.transfers)
        copies = self.sweep(self.volumes, self._delete_volume, only=lambda volume: bool(volume.get("snapshot_id")))
        self.vanish(self.volumes, copies)
        self.vanish(self.snapshots, self.sweep(self.snapshots))
        self.vanish(self.volumes, self.sweep(self.volumes, self._delete_volume))

    def _delete_volume(self, id_: str) -> bool:
        with suppress(MissingError):
            if self.volumes.get(self.api, id_)["attachments"]:
                self._detach(id_)
        return self.volumes.delete(self.api, id_)


def _is_available(entry: Mapping[str, Any]) -> bool:
    return bool(entry["status"] == "available")


def volume_facts(volume: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a volume."""
    fields = (
        *("id", "name", "size", "status", "volume_type", "bootable", "encrypted", "multiattach", "metadata"),
        *("snapshot_id", "source_volid", "availability_zone", "created_at"),
    )
    image = volume.get("volume_image_metadata") or {}
    used = [{key: one.get(key) for key in ("server_id", "attachment_id", "device")} for one in volume["attachments"]]
    return {
        **{field: volume.get(field) for field in fields},
        "attachments": sorted(used, key=str),
        "image": {key: image.get(key) for key in ("image_id", "checksum")},
    }


def snapshot_facts(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a snapshot."""
    fields = ("id", "name", "size", "status", "volume_id", "metadata", "created_at")
    return {field: snapshot.get(field) for field in fields}


def transfer_facts(transfer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a transfer that nobody has accepted yet."""
    return {field: transfer.get(field) for field in ("id", "name", "volume_id", "created_at", "accepted")}


def look(look: Look) -> dict[str, Any]:
    """Find the volumes in Ceph and as files, with the digest of their content and the numbers written behind it."""
    wanted = {volume.id for volume in look.items(SERVICE.name, "volume")}
    found = {id_: _in_files(look, id_) for id_ in sorted(wanted)}
    found = {id_: facts for id_, facts in found.items() if facts}
    for configuration in look.folders("ceph_configurations"):
        found.update(_in_ceph(look, configuration, wanted))
    return {"volumes": found}


def _in_files(look: Look, id_: str) -> dict[str, Any]:
    """Return what a mounted share holds of a volume; empty when it is not there."""
    for folder in look.folders("cinder_mounts"):
        file = folder / f"volume-{id_}"
        if file.is_file():
            with tempfile.NamedTemporaryFile() as raw:
                blocks = _READ // (1024 * 1024)
                copy = ("qemu-img", "dd", "-U", "-O", "raw", "bs=1M", f"count={blocks}", f"if={file}", f"of={raw.name}")
                if look.run(*copy) is None:
                    return {"place": str(folder)}
                return {"place": str(folder), **content_facts(Path(raw.name).read_bytes())}
    return {}


def _in_ceph(look: Look, configuration: Path, wanted: set[str]) -> dict[str, Any]:
    """Return what Ceph holds of the volumes, read with its library; empty where that is not there."""
    try:
        import rados
        import rbd
    except ImportError:
        return {}
    found = {}
    for keyring in sorted(configuration.parent.glob(f"{configuration.stem}.client.*.keyring")):
        user = keyring.name.split(".")[2]
        try:
            with rados.Rados(conffile=str(configuration), rados_id=user, conf={"keyring": str(keyring)}) as cluster:
                for pool in cluster.list_pools():
                    found.update(_in_pool(rbd, cluster, pool, wanted))
            return found
        except (rados.Error, rbd.Error) as problem:
            look.problems.append(f"{configuration} as {user}: {problem}")
    return found


def _in_pool(rbd: Any, cluster: Any, pool: str, wanted: set[str]) -> dict[str, Any]:
    found = {}
    with cluster.open_ioctx(pool) as place:
        for name in rbd.RBD().list(place):
            if name.removeprefix("volume-") in wanted:
                with rbd.Image(place, name, read_only=True) as image:
                    content = content_facts(image.read(0, min(_READ, image.size())))
                    found[name.removeprefix("volume-")] = {"place": pool, "bytes": image.size(), **content}
    return found


def content_facts(raw: bytes) -> dict[str, Any]:
    """Return what there is to say of the beginning of a volume: its content, and the numbers written behind it."""
    return {"sha256": hashlib.sha256(raw[:SIZE]).hexdigest(), "numbers": runs_of(read_numbers(raw[OFFSET:]))}


def offline(case: Offline) -> None:
    """Each volume lies where it lay with the content that was stored; the numbers written on it are in order."""
    for volume in case.of_type("volume"):
        check, what = case.check_of(volume), f"Volume {volume.name}"
        case.record(f"{check}_place", case.stays("volumes", volume.id, what, ["place", "bytes"]))
        if "sha256" in volume.facts:
            case.record(
                f"{check}_content", case.content("volumes", volume.id, what, {"sha256": volume.facts["sha256"]})
            )
        if volume.facts.get("witness"):
            before, now = (case.held("volumes", seen).get(volume.id, {}) for seen in (case.before, case.now))
            case.record(f"{check}_numbers", case.seen(judge_written(what, before, now)))


def judge_written(what: str, before: Held, now: Held) -> Finding:
    """Say whether all that was found on a volume at the first look, and all since, is there, once and in order."""
    if not now:
        return unseen(what, f"No host of the inventory shows {what}; so nothing is known of what was written on it.")
    last = max((runs[-1][1] for runs in _runs(before) if runs), default=0)
    numbers = next((numbers_in(runs) for runs in _runs(now)), [])
    if not numbers and not last:
        return unseen(what, f"On {what} are no numbers, so nothing is known of what was written on it.")
    written = judge_numbers(numbers, max(last, *numbers, 0))
    return finding(what, written.good, f"Of the numbers on {what}, {written.in_words()}.", found=len(numbers))


def _runs(held: Held) -> list[Sequence[Sequence[int]]]:
    return [facts.get("numbers", []) for facts in held.values()]


SERVICE = Service(
    name="cinder",
    types=("block-storage", "volumev3", "volume"),
    prefix="/v3",
    # Not /healthcheck: an operator may have it answer 503 to drain an instance that still serves.
    probe=Probe(path="/", status=(300,), body='"versions"'),
    operations=(Operation(name="list volumes", path="/volumes?limit=1", body='"volumes"'),),
    components=Components(
        wsgi={
            "cinder.wsgi.api": "cinder-api",
            "cinder.wsgi.wsgi": "cinder-api",
            "cinder-wsgi": "cinder-api",
            "cinder-uwsgi": "cinder-api",
            "cinder-api": "cinder-api",
            "cinder": "cinder-api",
            "wsgi:cinder-api": "cinder-api",
        },
        prefixes=("cinder-",),
        tools=(
            "cinder-manage",
            "cinder-status",
            "cinder-rootwrap",
            "cinder-rtstool",
            "cinder-volume-usage-audit",
        ),
    ),
    headers={"OpenStack-API-Version": "volume 3.59"},
    upkeep=Upkeep(
        configuration=Configured(),
        schemas=(Schema(name="cinder", section="database", migrations="cinder/db/migrations/versions"),),
        status="cinder-status",
        migrate=("cinder-manage", "db", "online_data_migrations", "--max_count", str(BATCH)),
    ),
    health=(look_at_volumes, look_at_services),
    sample=CinderSample,
    belongings=(
        ("/volumes?all_tenants=1&project_id={}", "volumes"),
        ("/snapshots?all_tenants=1&project_id={}", "snapshots"),
    ),
    look=look,
    offline=offline,
)
