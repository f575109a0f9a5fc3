# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the fingerprint of a cloud: list everything, page by page, as an administrator.

What cannot be listed is recorded as not seen, which is another thing than not being there.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import (
    Api,
    Cloud,
    CloudError,
    MissingError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._kinds import (
    KINDS,
    NAMES,
    Kind,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import (
    Fingerprint,
    Part,
    Thing,
    canonical,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import SERVICES

SIDE_BY_SIDE = 4  # requests at once, for what is asked project by project or agent by agent
MOST_PAGES = 10_000


def chosen(names: Sequence[str] | None, services: Sequence[str] | None) -> list[Kind]:
    """Return the kinds to look at; CloudError names what is unknown and what is known."""
    unknown = [name for name in names or () if name not in NAMES]
    if unknown:
        raise CloudError(f"kinds: {', '.join(map(repr, unknown))} is not known; known are {', '.join(NAMES)}.")
    return [
        kind
        for kind in KINDS
        if (not names or kind.name in names)
        and (not services or kind.service in services or kind.service == "keystone")
    ]


def take(cloud: Cloud, kinds: Iterable[Kind]) -> Fingerprint:
    """Look at all things of these kinds, and of those that they are listed by."""
    looker = _Looker(cloud)
    return Fingerprint(
        taken=clock.time(), parts={kind.name: part for kind in kinds if (part := looker.part(kind)) is not None}
    )


class _Looker:
    """One look at a cloud; what other kinds are listed by is listed once."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        # A service that the catalogue lacks is not part of the cloud.
        self.apis: dict[str, Api] = {
            one.name: one.api(cloud) for one in SERVICES if cloud.interface in cloud.endpoints(one.types)
        }
        self.seen: dict[str, Part] = {}

    def part(self, kind: Kind) -> Part | None:
        """Return the things of a kind; None when the cloud does not have the service."""
        if kind.service not in self.apis:
            return None
        if kind.name not in self.seen:
            self.seen[kind.name] = self._look(kind)
        return self.seen[kind.name]

    def _look(self, kind: Kind) -> Part:
        try:
            things = self._of_each(kind) if kind.of else self._things(kind, kind.path.format(own=self._own))
        except MissingError:
            return Part(service=kind.service, one=kind.one, absent=True)
        except CloudError as problem:
            return Part(service=kind.service, one=kind.one, trouble=str(problem))
        except Exception as problem:  # an answer of another form: nothing is known of this kind, but of all others
            words = f"the answer is not understood: {type(problem).__name__}: {problem}"
            return Part(service=kind.service, one=kind.one, trouble=words)
        return Part(service=kind.service, one=kind.one, things=things)

    @property
    def _own(self) -> str:
        return self.cloud.project_id

    def _of_each(self, kind: Kind) -> dict[str, Thing]:
        """Ask for each thing of another kind; all of them have to answer."""
        parent = self.part(next(one for one in KINDS if one.name == kind.of))
        if parent is None or parent.trouble:
            raise CloudError(f"The {kind.of} were not seen, by which they are listed.")
        wanted = [(id_, thing) for id_, thing in parent.things.items() if kind.only(thing.fields)]

        def ask(one: tuple[str, Thing]) -> dict[str, Thing]:
            id_, thing = one
            try:
                found = self._things(kind, kind.path.format(id=id_, own=self._own))
            except MissingError:  # the one they belong to has none, or is being deleted: its own kind tells that
                found = {}
            return {
                f"{id_}/{key}": Thing(name=f"{thing.name} {one.name}", fields=one.fields) for key, one in found.items()
            }

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return {key: one for part in pool.map(ask, wanted) for key, one in part.items()}

    def _things(self, kind: Kind, path: str) -> dict[str, Thing]:
        api = self.apis[kind.service]
        entries = _pages(api, kind, path) if kind.many else _entries(api, kind, path)
        return {
            str(entry[kind.id]): Thing(
                name=str(entry.get(kind.named) or entry[kind.id]),
                fields={name: canonical(entry.get(name)) for name in kind.fields},
            )
            for entry in entries
        }


def _entries(api: Api, kind: Kind, path: str) -> list[dict[str, Any]]:
    """Return what the kind itself makes of an answer: of its headers where there is no body."""
    answer = api.request(kind.method, path, headers=kind.headers)
    told = dict(answer.headers) if kind.method == "HEAD" else answer.body
    return kind.entries(told) if kind.entries else []


def _pages(api: Api, kind: Kind, path: str) -> list[dict[str, Any]]:
    """Return the entries of all pages of a list."""
    found: list[dict[str, Any]] = []
    address, query = path.partition("?")[0], dict(parse_qsl(path.partition("?")[2]))
    for _page in range(MOST_PAGES):
        body = api.request("GET", address, headers=kind.headers, params=query).body
        found += body[kind.many]
        after = next_page(body, kind.many)
        if not after or after == query:
            return found
        query = after
    raise CloudError(f"{kind.name}: the list did not end within {MOST_PAGES} pages.")


def next_page(body: Mapping[str, Any], many: str) -> dict[str, str]:
    """Return the query of the next page; empty when this was the last. Glance has ``next``, others lists of links."""
    links = body.get(f"{many}_links") or (body["links"] if isinstance(body.get("links"), list) else [])
    told = body.get("next") or next((link["href"] for link in links if link.get("rel") == "next"), "")
    # Only the query: the address is the service's own idea of its name, which a user need not be able to reach.
    return dict(parse_qsl(urlsplit(str(told)).query))
