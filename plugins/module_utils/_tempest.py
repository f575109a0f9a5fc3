# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Tempest is run in a test of an upgrade: as the test's own two users, who have no special rights.

python-tempestconf discovers the configuration. It does so anew after the upgrade: with the one of before, Tempest would
leave out what the new release can do, and try what it can do no more.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import CLOUD
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.cinder import SERVICE as CINDER
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.glance import SERVICE as GLANCE
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.neutron import SERVICE as NEUTRON
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.nova import SERVICE as NOVA
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services.swift import SERVICE as SWIFT
from ansible_collections.openstack.upgrade_test.plugins.module_utils._test_users import (
    ToolError,
    account,
    entry,
    reader,
    users,
    write,
)

SMOKE = "smoke"
# How the names of a service's tests begin. Heat's come with its plugin, and Placement has none for such a user.
PREFIXES: Mapping[str, str] = {
    "keystone": r"tempest\.api\.identity",
    "nova": r"tempest\.(?:api\.compute|scenario)",
    "glance": r"tempest\.api\.image",
    "cinder": r"tempest\.api\.volume",
    "neutron": r"tempest\.api\.network",
    "swift": r"tempest\.api\.object_storage",
    "heat": "heat_tempest_plugin",
}
CONF, ACCOUNTS, OWN_CLOUDS, IMAGE = "etc/tempest.conf", "etc/accounts.yaml", "etc/clouds.yaml", "image"
_DOMAIN = "default"  # python-tempestconf knows no other


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which tests are run: smoke tests, or those that an expression finds; of which services."""

    tests: Sequence[str] = (SMOKE,)
    exclude: str = ""
    load_list: str = ""
    services: Sequence[str] = ()

    def expressions(self) -> dict[str, str]:
        """Return for each service how a test of it is recognised, also one whose class could not be set up."""
        chosen = [name for name in self.services if name in PREFIXES]
        if not chosen:
            known = ", ".join(PREFIXES)
            raise ToolError(f"services: Tempest has no tests of {', '.join(self.services)}, only of {known}.")
        return {name: rf"(?:^|\(){PREFIXES[name]}" for name in chosen}

    def regex(self) -> str:
        """Return the expression that selects the tests; Tempest takes a blank for an or, so there must be none."""
        spaced = [one for one in self.tests if not one or " " in one]
        if spaced:
            raise ToolError(f"tests: {spaced[0]!r} has a blank or is empty; a list has one expression an entry.")
        for one in (*self.tests, self.exclude):
            try:
                re.compile(one)
            except re.error as problem:
                raise ToolError(f"tests: {one!r} is no regular expression: {problem}.") from None
        wanted = [r"\[.*\bsmoke\b" if one == SMOKE else one for one in self.tests]
        # One expression before another has to be found anywhere in the name, the service at its beginning.
        anywhere = f"(?=.*(?:{'|'.join(wanted)}))" if wanted else ""
        return f"^{anywhere}(?:{'|'.join(PREFIXES[name] for name in self.expressions())})"

    def argv(self, tempest: str) -> list[str]:
        """Return the command, whose output is subunit."""
        # One after the other: two tests side by side would need four users.
        base = [tempest, "run", "--config-file", CONF, "--serial", "--subunit"]
        chosen = ["--load-list", self.load_list] if self.load_list else ["--regex", self.regex()]
        return [*base, *chosen, *(["--exclude-regex", self.exclude] if self.exclude else [])]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the tests use, by name or id; what is None is taken as the cloud has it."""

    image: str | None = None
    flavor: str | None = None
    network: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def settings(cloud: Cloud, choices: Choices) -> dict[str, str]:
    """Return what python-tempestconf is told, because it cannot discover it or would discover something else."""
    config = cloud.region.config
    # By default it switches the check of certificates off.
    trusting = not config.get("verify", True)
    found = {"identity.disable_ssl_certificate_validation": str(trusting).lower()}
    found |= {"identity.ca_certificates_file": str(config["cacert"])} if config.get("cacert") else {}
    # Tempest knows one type only of a service that has had several.
    found |= {"volume.catalog_type": volumes} if (volumes := cloud.type_of(CINDER.types)) else {}
    if cloud.endpoints(SWIFT.types):
        role = next((name for name in cloud.roles if name.lower() not in ("reader", "admin")), "member")
        found["object-storage.operator_role"] = role
    if cloud.endpoints(GLANCE.types):
        found |= dict.fromkeys(("compute.image_ref", "compute.image_ref_alt"), _image(cloud, choices.image))
    if cloud.endpoints(NOVA.types):
        first, second = _flavors(cloud, choices.flavor)
        found |= {"compute.flavor_ref": first, "compute.flavor_ref_alt": second}
        # To another flavor of the same size nothing can be resized.
        found |= {"compute-feature-enabled.resize": "false"} if first == second else {}
    return {**found, **{key: str(value) for key, value in choices.settings.items()}}


def _image(cloud: Cloud, wanted: str | None) -> str:
    images = GLANCE.api(cloud).get("/images", status="active", limit=1000)["images"]
    usable = [one for one in images if one["disk_format"] not in ("aki", "ari")]
    return _one("image", wanted, images if wanted else usable)[0]


def _flavors(cloud: Cloud, wanted: str | None) -> tuple[str, str]:
    """Return a flavor and the next larger one, or the same one when there is none."""
    every = NOVA.api(cloud).get("/flavors/detail")["flavors"]
    ordered = sorted(every, key=lambda one: (one["ram"], one["vcpus"], one["disk"]))
    first = _one("flavor", wanted, ordered)[0]
    ids = [str(one["id"]) for one in ordered]
    return first, (ids[ids.index(first) + 1 :] or [first])[0]


def network(cloud: Cloud, wanted: str | None) -> str:
    """Return the id of the external network; empty when the cloud has none."""
    if not cloud.endpoints(NEUTRON.types):
        return ""
    networks = NEUTRON.api(cloud).get("/networks", **{"router:external": True})["networks"]
    return _one("network", wanted, networks)[0] if networks or wanted else ""


def _one(option: str, wanted: str | None, there: Sequence[Mapping[str, Any]]) -> list[str]:
    fitting = [str(one["id"]) for one in there if wanted in (None, one["name"], one["id"])]
    if not fitting:
        names = ", ".join(sorted(str(one["name"]) for one in there)[:10]) or "none"
        what = f"{wanted!r} is not there" if wanted else "one is needed"
        raise ToolError(f"{option}: {what}; there are: {names}.")
    return fitting


def own_network(cloud: Cloud) -> dict[str, Any]:
    """Return which network the servers of an account are to be in; empty when its project has none.

    Of several, which resources of the test itself may be, Nova would want one to be named.
    """
    if not cloud.endpoints(NEUTRON.types):
        return {}
    networks = NEUTRON.api(cloud).get("/networks", project_id=cloud.project_id)["networks"]
    names = sorted(str(one["name"]) for one in networks)
    single = [name for name in names if names.count(name) == 1]
    return {"resources": {"network": single[0]}} if single else {}


def prepare(run: RunDirectory, folder: Path, choices: Choices, api_timeout: int) -> tuple[list[str], dict[str, str]]:
    """Make the workspace; return the arguments of discover-tempest-config, and its variables."""
    import yaml

    people = users(run, api_timeout)
    first = people[0]
    if first.user_domain_name.lower() != _DOMAIN:
        raise ToolError(
            f"The test's user is in the domain {first.user_domain_name}, and python-tempestconf knows {_DOMAIN} only: "
            "name a cloud whose administrator is in it."
        )
    told, outside = settings(first, choices), network(first, choices.network)
    shutil.rmtree(folder, ignore_errors=True)
    for one in (folder, folder / "etc", folder / "lock"):
        one.mkdir(mode=0o700, parents=True)
    # Last, as Tempest takes the first that fits.
    people += [only_reads] if (only_reads := reader(run, api_timeout)) else []
    people_told = [{**account(one), **own_network(one)} for one in people]
    run.redactor.add([one["password"] for one in people_told])
    write(folder / ACCOUNTS, yaml.safe_dump(people_told, sort_keys=False))
    write(folder / OWN_CLOUDS, yaml.safe_dump({"clouds": {CLOUD: entry(first)}}, sort_keys=False))
    # An image that lies there is not downloaded.
    write(folder / "etc" / IMAGE, "")
    told = {"oslo_concurrency.lock_path": str(folder / "lock"), **told}
    argv = ["--os-cloud", CLOUD, "--non-admin", "--test-accounts", ACCOUNTS, "--out", CONF]
    argv += ["--image", IMAGE, *(["--network-id", outside] if outside else [])]
    # Neither a configuration nor a workspace of the user's own is to be found.
    environment = {"OS_CLIENT_CONFIG_FILE": str(folder / OWN_CLOUDS), "HOME": str(folder)}
    # One of its questions takes no other certificates.
    environment |= {"REQUESTS_CA_BUNDLE": ca} if (ca := told.get("identity.ca_certificates_file")) else {}
    return [*argv, *(word for pair in told.items() for word in pair)], environment


def remove(run: RunDirectory, folder: Path, name: str) -> bool:
    """Keep the configuration without secrets, remove all else; whether there was anything."""
    if not folder.exists():
        return False
    conf = folder / CONF
    if conf.is_file():
        (run.path / "evidence").mkdir(mode=0o700, exist_ok=True)
        run.write_text(f"evidence/{name}.conf", conf.read_text(encoding="utf-8"))
    shutil.rmtree(folder)
    return True
