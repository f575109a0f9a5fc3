# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a test: what would be observed how often, what would be made, and which claims that can decide.

It promises nothing: a claim that can be decided here may still end up not proven, when something is not seen.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._checklist import UNMEASURED
from ansible_collections.openstack.upgrade_test.plugins.module_utils._judge._policy import REQUIREMENTS, TAGS, Policy
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import PROFILES
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._instances import instances

WIDTH = 110
SAMPLES_FOR_P99 = 500  # of each operation, for a statement about its slowest hundredth
API, PERFORMANCE, GUEST, RELEASES = "api_uptime", "service_performance", "data_plane", "release_version"
COMPUTE = ("nova", "neutron")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the operator has given; the fields are named after his variables."""

    observers: Sequence[str] = ()
    hosts: Sequence[str] = ()
    observer_hosts: Sequence[str] = ("localhost",)
    targets: Sequence[Mapping[str, Any]] = ()
    api_rate: float | None = None
    api_profile: str = "standard"
    api_modes: Sequence[str] = ("new", "kept")
    authenticated: bool = True
    authenticated_rate: float = 1
    performance_rate: float = 2
    data_plane_rate: float = 5
    release_interval: float = 2
    baseline: float = 20
    look_interval: float = 60
    echo_port: int = 0
    boot_id_path: str = "/boot_id"
    persistent_resources: bool = True
    fingerprint: bool = True
    server_image: str = ""
    server_flavor: str = ""
    external_network: str = ""
    from_release: str = ""
    to_release: str = ""
    strategy: str = "rolling"
    driver: str = ""
    claims: Sequence[str] = ()
    tempest: bool = False
    rally_task: str = ""
    external_tests: Sequence[str] = ()
    expectations: Sequence[str] = ()
    extensions: Sequence[str] = ()
    host_facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Probes per second of each lane of the APIs."""
        return float(self.api_rate) if self.api_rate else PROFILES[self.api_profile]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A cloud, and what was given for its test."""

    info: Mapping[str, Any]
    given: Given

    @property
    def services(self) -> list[str]:
        """The services under test."""
        return [one["service"] for one in self.info["services"]]

    def names(self, listing: str) -> list[str] | None:
        """Return the names in a list of the cloud; None when nobody could see it."""
        found = self.info.get(listing)
        return None if found is None else [str(one["name"]) for one in found]


def plan(info: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return the plan as lines of text."""
    case = Case(info=info, given=Given(**{key: value for key, value in given.items() if value is not None}))
    parts = (
        ("Cloud", _cloud),
        ("Upgraded", _upgraded),
        ("Observed", _observed),
        ("Made and removed again", _made),
        ("Checked", _checked),
        ("Claims", _claims),
    )
    lines = [line for title, tell in parts for line in (title, *_indented(tell(case)), "")]
    return lines[:-1]


def _indented(pairs: Iterator[tuple[str, str]]) -> Iterator[str]:
    """Yield lines with what is told of in a column of its own."""
    for word, text in pairs:
        yield from textwrap.wrap(text, WIDTH, initial_indent=f"  {word:<20}", subsequent_indent=" " * 22)


def _cloud(case: Case) -> Iterator[tuple[str, str]]:
    info = case.info
    yield info["cloud"], f"at {info['auth_url']}, over its {info['interface']} endpoints"
    regions = [name for name in info["regions"] if name != info["region"]]
    other = f"; not tested: {', '.join(regions)}" if regions else ""
    yield "region", f"{info['region'] or 'the only one'}{other}"
    yield "deployed by", deployed_by(case.given.host_facts)
    for host, facts in case.given.host_facts.items():
        balanced = [one for one in facts.get("listeners", ()) if one["servers"]]
        if balanced:
            told = ", ".join(f"{one['name']} ({len(one['servers'])} servers)" for one in balanced)
            yield "load balancer", f"{host}: {told}"
    silent = [host for host in case.given.hosts if host not in case.given.host_facts]
    if silent:
        yield "not looked at", f"{', '.join(silent)}: what runs there is unknown"
    for service in info["services"]:
        span = f", {service['min_version']} to {service['max_version']}" if service["min_version"] else ""
        yield service["service"], f"{service['version'] or 'does not tell its version'}{span}"
        for point in service["endpoints"]:
            if not point["answers"]:
                where = f"its {point['interface']} endpoint in region {point['region'] or '-'}"
                yield "", f"{where} does not answer from here: {point['problem']}"
    if info["others"]:
        yield "not known here", ", ".join(f"{one['name']} ({one['type']})" for one in info["others"])
    for name, why in sorted(info["unseen"].items()):
        if "not asked for" not in why and "not in the catalogue" not in why:
            yield "not seen", f"{name}: {why}"


def deployed_by(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which tool has deployed the cloud, as what runs on its hosts shows."""
    if not facts:
        return "unknown: no host access"
    told: dict[str, list[str]] = {}
    for host, one in facts.items():
        told.setdefault(str(one.get("deployer") or "unknown"), []).append(host)
    return "; ".join(f"{name} ({', '.join(hosts)})" for name, hosts in sorted(told.items()))


# How each tool is told to upgrade; what is in capitals is the operator's.
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "Kolla-Ansible": "[kolla-ansible, upgrade, -i, INVENTORY]",
        "OpenStack-Ansible": "[openstack-ansible, openstack.osa.setup_openstack, -e, package_state=latest]",
    }
)


def _upgraded(case: Case) -> Iterator[tuple[str, str]]:
    """Say who upgrades, and how the test could."""
    given = case.given
    way = f"{given.from_release or 'a release that is not given'} to {given.to_release or 'one that is not given'}"
    yield "releases", f"{way}, {given.strategy}"
    if given.driver:
        yield "driver", given.driver
        return
    yield "driver", "none: somebody else upgrades while the observers watch"
    tools = {str(one.get("deployer")) for one in given.host_facts.values()}
    for tool in sorted(tools & set(COMMANDS)):
        yield "", f"To have it done by the playbook run: upgrade_test_driver: command, and for {tool}"
        yield "", f"upgrade_test_driver_command: {COMMANDS[tool]}"


def _observed(case: Case) -> Iterator[tuple[str, str]]:
    given = case.given
    places = ", ".join(given.observer_hosts)
    if API in given.observers:
        yield API, f"{_apis(case)}, from {places}"
        for target in given.targets:
            yield "", f"{target['name']}: {target['url']}"
        yield from _unwatched(case)
    if PERFORMANCE in given.observers:
        count = len(case.info["operations"])
        yield PERFORMANCE, f"{count} operations, {given.performance_rate:g} a second each, from {places}"
    if GUEST in given.observers:
        why = _no_server(case)
        kinds = ["pings", *(["HTTP"] if given.boot_id_path else []), *(["a stream"] if given.echo_port else [])]
        told = f"a server of the test: {' and '.join(kinds)}, {given.data_plane_rate:g} a second each, from {places}"
        yield GUEST, f"nothing: {why}" if why else told
    if RELEASES in given.observers:
        hosts = ", ".join(given.hosts)
        told = f"the processes on {hosts}, every {given.release_interval:g} s"
        yield RELEASES, told if hosts else "unknown: no host access"
    for name in (API, PERFORMANCE, GUEST, RELEASES):
        if name not in given.observers:
            yield name, "not observed: it is not among upgrade_test_observers"


def _apis(case: Case) -> str:
    """Say how the APIs are asked, and what that comes to."""
    given = case.given
    lanes = [len(one.get("connections", given.api_modes)) for one in given.targets]
    tokens = [count for count, one in zip(lanes, given.targets, strict=True) if one.get("auth_url")]
    with_token = sum(tokens) * given.authenticated_rate if given.authenticated else 0
    total = sum(lanes) * given.rate + with_token
    text = f"{len(given.targets)} targets, {given.rate:g} requests a second on each of {sum(lanes)} lanes"
    text += f", {given.authenticated_rate:g} a second with a token where users may ask" if with_token else ""
    return f"{text}: {total:g} requests a second in all"


def _unwatched(case: Case) -> Iterator[tuple[str, str]]:
    """Name the instances that the load balancer knows and nobody would watch."""
    watched = {urlsplit(str(one["url"])).netloc for one in case.given.targets}
    left = [
        one
        for one in instances(case.given.targets, case.given.host_facts)
        if urlsplit(one["url"]).netloc not in watched
    ]
    if left:
        yield "", "The load balancer has instances that would not be watched. With upgrade_test_instances_file they are"
        yield "", "written into a file, which gives them to the test:"
        yield "", "upgrade_test_api_instances:"
        for one in left:
            yield "", f"- {{service: {one['service']}, host: {one['host']}, url: {one['url']}}}"


def _made(case: Case) -> Iterator[tuple[str, str]]:
    if not case.given.persistent_resources:
        yield "nothing", "upgrade_test_persistent_resources is false"
        return
    yield "projects", "two, each with a user without special rights; removed last"
    roles = case.info["roles"]
    if "admin" not in roles:
        own = f"the roles of the user of {case.info['cloud']}: {', '.join(roles) or 'none'}"
        yield "", f"To make them takes an administrator, as a rule; {own}"
    for service in case.info["services"]:
        types = service.get("resources")
        if types is None:
            yield service["service"], "not known: it does not tell what it can make"
        elif types:
            yield service["service"], ", ".join(one.replace("_", " ") for one in types)
    why = _no_server(case)
    if why and "nova" in case.services:
        yield "", f"It will not come to that: {why}"


def _no_server(case: Case) -> str:
    """Say why no server can be made and reached; empty when there is no reason known."""
    if not case.given.persistent_resources:
        return "upgrade_test_persistent_resources is false."
    missing = [name for name in COMPUTE if name not in case.services]
    if missing:
        return f"{' and '.join(missing)} is not under test."
    wanted = (
        ("upgrade_test_server_image", case.given.server_image, "images", False),
        ("upgrade_test_external_network", case.given.external_network, "external_networks", False),
        ("upgrade_test_server_flavor", case.given.server_flavor, "flavors", True),
    )
    return next((why for one in wanted if (why := _choice(case, *one))), "")


def _choice(case: Case, option: str, wanted: str, listing: str, any_will_do: bool) -> str:
    there = case.names(listing)
    if there is None:
        return ""  # what nobody could see may well be there
    known = {*there, *(str(one["id"]) for one in case.info[listing])}
    names = ", ".join(sorted(there)[:8]) or "none"
    if wanted:
        return "" if wanted in known else f"{option} is {wanted}, and there are {names}."
    return "" if len(there) == 1 or (there and any_will_do) else f"{option} is to name one; there are {names}."


def _checked(case: Case) -> Iterator[tuple[str, str]]:
    given = case.given
    meanwhile = given.look_interval > 0 and given.strategy == "rolling"
    when = "before, in the middle and after" if meanwhile else "before and after"
    yield "health", f"{', '.join(case.services)}, {when}"
    if given.fingerprint:
        yield "whole cloud", "its state is compared with that before"
    yield "hosts", ", ".join(given.hosts) or "unknown: no host access"
    for word, names in (
        ("extensions", given.extensions),
        ("own tests", given.external_tests),
        ("own expectations", given.expectations),
    ):
        if names:
            yield word, ", ".join(names)
    if given.tempest:
        yield "Tempest", "as users without special rights, before and after"
    if given.rally_task:
        yield "Rally", f"{given.rally_task}, as users without special rights, before and after"


# Claims: what each requirement needs, and whether it is there.

Need = Callable[[Case], str]


def _need_hosts(case: Case) -> str:
    if not case.given.hosts:
        return "hosts in the inventory's group upgrade_test_hosts"
    return "" if case.given.host_facts else "access to the hosts of upgrade_test_hosts"


def _need_releases(case: Case) -> str:
    missing = [name for name in ("from_release", "to_release") if not getattr(case.given, name)]
    return " and ".join(f"upgrade_test_{name}" for name in missing)


def _need_watched_releases(case: Case) -> str:
    return "" if RELEASES in case.given.observers else f"{RELEASES} among upgrade_test_observers"


def _need_api(case: Case) -> str:
    if API not in case.given.observers:
        return f"{API} among upgrade_test_observers"
    silent = {one["service"] for one in case.info["services"] if not one["version"]}
    return f"an endpoint that answers from here, of {', '.join(sorted(silent))}" if silent else ""


def _need_fast(case: Case) -> str:
    least = 1 / Policy().slowest_interval
    enough = API not in case.given.observers or case.given.rate >= least
    return "" if enough else f"upgrade_test_api_rate of {least:g} or more"


def _need_resources(case: Case) -> str:
    return "" if case.given.persistent_resources else "upgrade_test_persistent_resources"


def _need_server(case: Case) -> str:
    if "nova" not in case.services:
        return ""
    why = _no_server(case).rstrip(".")
    return f"a server of the test ({why})" if why else ""


def _need_guest_watched(case: Case) -> str:
    return "" if GUEST in case.given.observers else f"{GUEST} among upgrade_test_observers"


def _need_boot_id(case: Case) -> str:
    told = case.given.boot_id_path or "nova" not in case.services
    return "" if told else "upgrade_test_boot_id_path, so that a reboot of the server shows"


def _need_admin(case: Case) -> str:
    refused = [name for name, why in case.info["unseen"].items() if "may not list" in why]
    return f"a user of the cloud who may list {', '.join(sorted(refused))}" if refused else ""


def _need_rolling(case: Case) -> str:
    return "" if case.given.strategy == "rolling" else "upgrade_test_strategy rolling"


def _need_instances(case: Case) -> str:
    if not case.given.host_facts:
        return ""  # then what is missing are the hosts
    known: dict[str, set[tuple[str, str]]] = {}
    for host, facts in case.given.host_facts.items():
        for one in facts.get("components", ()):
            known.setdefault(one["service"], set()).add((host, one["component"]))
    single = [name for name in case.services if len(known.get(name, ())) < 2]
    return f"two processes of each service on the hosts; there are not two of {', '.join(single)}" if single else ""


def _need_measured(case: Case) -> str:
    return "" if PERFORMANCE in case.given.observers else f"{PERFORMANCE} among upgrade_test_observers"


def _need_baseline(case: Case) -> str:
    seconds = SAMPLES_FOR_P99 / case.given.performance_rate
    if case.given.baseline >= seconds:
        return ""
    return f"upgrade_test_baseline of {seconds:g} s or more, at {case.given.performance_rate:g} requests a second"


def _need_looks(case: Case) -> str:
    if case.given.look_interval > 0:
        return ""
    return "upgrade_test_look_interval above 0, as health and use are to be checked while both releases run"


def _need_load(_case: Case) -> str:
    return "a load on the cloud, which nothing here puts on it"


_MIXED = (_need_hosts, _need_watched_releases, _need_rolling, _need_instances)
NEEDS: Mapping[str, tuple[Need, ...]] = MappingProxyType(
    {
        "U0": (),
        "U1": (_need_api,),
        "U2a": (_need_hosts,),
        "U2b": (_need_hosts,),
        "U3a": (_need_hosts,),
        "U3b": (_need_resources,),
        "U6": (_need_resources, _need_server, _need_boot_id),
        "U7": (_need_hosts, _need_releases),
        "U8": (_need_admin,),
        "C2": (_need_server, _need_guest_watched),
        "C3": (_need_server, _need_guest_watched),
        "R2": _MIXED,
        "R3": (*_MIXED, _need_looks, _need_resources),
        "Z2": (_need_api, _need_fast, _need_rolling),
        "Z3": (_need_api, _need_rolling),
        "Z6": (*_MIXED, _need_api),
        "I3": (_need_measured, _need_baseline),
        "I5": (_need_measured, _need_load),
    }
)


def missing(case: Case, claim: str) -> dict[str, list[str]]:
    """Return what a claim cannot be proven without, and which requirements each of these is for."""
    tags = {claim, *TAGS[claim].needs}
    found: dict[str, list[str]] = {}
    for one in REQUIREMENTS:
        if one.tag not in tags or one.kind != "measured":
            continue
        if one.id in UNMEASURED:
            found.setdefault("what this version does not measure", []).append(one.id)
        for need in NEEDS.get(one.id, ()):
            if what := need(case):
                found.setdefault(what, []).append(one.id)
    return found


def _claims(case: Case) -> Iterator[tuple[str, str]]:
    asked = case.given.claims
    for claim, tag in TAGS.items():
        lacks = missing(case, claim)
        word = "" if claim in asked else " (not asked)"
        if not lacks:
            yield claim, f"can be decided with what is given{word}"
            continue
        yield claim, f"can be contradicted, but not proven{word}. {tag.question} To tell, it needs:"
        for what, ids in lacks.items():
            yield "", f"- {what} ({', '.join(ids)})"
