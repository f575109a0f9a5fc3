# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the services agree with each other about the same cloud: no earlier fingerprint is needed for that. Pure.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import Fingerprint, Thing

Things = Mapping[str, Thing]
PLACED = ("ACTIVE", "PAUSED", "SUSPENDED", "SHUTOFF", "RESCUE", "VERIFY_RESIZE")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing about which two services disagree."""

    subject: str
    sentence: str
    expected: Any = None
    found: Any = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing about which services have to agree, and the kinds that show it, the one that is counted first."""

    check: str
    service: str
    what: str
    kinds: tuple[str, ...]
    faults: Callable[..., Iterator[Fault]]


@dataclass(frozen=True, kw_only=True)
class InStep:
    """Whether they agree: how many things were looked at, what is wrong, or why that is not known."""

    step: Step
    count: int = 0
    faults: tuple[Fault, ...] = ()
    unknown: str = ""


def in_step(fingerprint: Fingerprint) -> list[InStep]:
    """Look at everything about which the services of this cloud have to agree."""
    return [_judged(step, fingerprint) for step in STEPS if all(kind in fingerprint.parts for kind in step.kinds)]


def _judged(step: Step, fingerprint: Fingerprint) -> InStep:
    seen = [fingerprint.things(kind) for kind in step.kinds]
    unseen = [kind for kind, things in zip(step.kinds, seen, strict=True) if things is None]
    if unseen:
        return InStep(step=step, unknown=f"Not known, as the {' and the '.join(unseen)} could not be seen.")
    return InStep(step=step, count=len(seen[0] or {}), faults=tuple(step.faults(*seen)))


def allocated(servers: Things, allocations: Things) -> Iterator[Fault]:
    """Every server that has a place on a host holds resources of it."""
    holders = {key.rpartition("/")[2] for key in allocations}
    for id_, server in servers.items():
        if server.fields["status"] in PLACED and id_ not in holders:
            yield Fault(
                subject=server.name,
                sentence=f"The server {server.name} ({id_}) runs, but placement has no allocation for it, so its host "
                "can be filled beyond what it has.",
                expected="an allocation",
                found="none",
            )


def bound(ports: Things, servers: Things) -> Iterator[Fault]:
    """Every port of a running server is bound where the server is."""
    for id_, port in ports.items():
        server = servers.get(str(port.fields["device_id"]))
        if server is None or server.fields["status"] != "ACTIVE":
            continue
        host, type_ = port.fields["binding:host_id"], port.fields["binding:vif_type"]
        wanted = server.fields["OS-EXT-SRV-ATTR:host"]
        if type_ in ("unbound", "binding_failed", "") or host != wanted:
            yield Fault(
                subject=port.name,
                sentence=f"The port {id_} of the server {server.name} is {type_ or 'not bound'} on "
                f"{host or 'no host'}, and the server is on {wanted}.",
                expected=wanted,
                found=f"{type_} on {host}",
            )


def attached(volumes: Things, servers: Things) -> Iterator[Fault]:
    """Nova and Cinder name the same volumes of each server."""
    cinder = {
        (str(one["server_id"]), id_)
        for id_, volume in volumes.items()
        for one in volume.fields["attachments"] or ()
        if one.get("server_id")
    }
    nova = {
        (id_, str(one["id"]))
        for id_, server in servers.items()
        for one in server.fields["os-extended-volumes:volumes_attached"] or ()
    }
    for server_id, volume_id in sorted(cinder ^ nova):
        server = servers[server_id].name if server_id in servers else server_id
        volume = volumes[volume_id].name if volume_id in volumes else volume_id
        says, other = ("nova", "cinder") if (server_id, volume_id) in nova else ("cinder", "nova")
        yield Fault(
            subject=volume,
            sentence=f"The volume {volume} ({volume_id}) is attached to the server {server} as {says} says, and is not "
            f"as {other} says.",
            expected="attached",
            found=f"attached for {says} only",
        )


def counted(quotas: Things, volumes: Things, snapshots: Things) -> Iterator[Fault]:
    """What Cinder has counted against each project's quota is what the project has."""
    for key, quota in quotas.items():
        project, _slash, resource = key.partition("/")
        mine = _of(project, volumes, "os-vol-tenant-attr:tenant_id")
        shots = _of(project, snapshots, "os-extended-snapshot-attributes:project_id")
        size, shot_size = _sum(mine), _sum(shots)
        # Snapshots count as gigabytes unless Cinder is told that they do not.
        good = {
            "volumes": [len(mine)],
            "snapshots": [len(shots)],
            "gigabytes": [size + shot_size, size],
        }.get(resource)
        used = quota.fields["used"]
        if good is not None and used not in good:
            yield Fault(
                subject=quota.name,
                sentence=f"Cinder has counted {used} {resource} against the quota of the project "
                f"{quota.name.removesuffix(resource).strip()} ({project}), which has {good[0]}.",
                expected=good[0],
                found=used,
            )


def _of(project: str, things: Things, field: str) -> list[Thing]:
    return [one for one in things.values() if one.fields[field] == project]


def _sum(things: Sequence[Thing]) -> int:
    return sum(int(one.fields["size"] or 0) for one in things)


STEPS: tuple[Step, ...] = (
    Step(
        check="servers_allocated",
        service="placement",
        what="servers, whether they hold an allocation",
        kinds=("servers", "allocations"),
        faults=allocated,
    ),
    Step(
        check="ports_bound",
        service="neutron",
        what="ports, whether those of servers are bound where the server is",
        kinds=("ports", "servers"),
        faults=bound,
    ),
    Step(
        check="attachments_agree",
        service="cinder",
        what="volumes, whether nova and cinder attach the same",
        kinds=("volumes", "servers"),
        faults=attached,
    ),
    Step(
        check="volume_quotas_counted",
        service="cinder",
        what="quotas of cinder, whether they count what there is",
        kinds=("volume_quotas", "volumes", "snapshots"),
        faults=counted,
    ),
)
