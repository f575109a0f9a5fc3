# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swift.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import json
import os
import secrets
import time as clock
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Api, Cloud, HttpError, MissingError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import (
    Finding,
    finding,
    skipped,
    unchanged,
    unseen,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Health
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import (
    Look,
    file_facts,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import digest_of as file_digest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import Offline, judge_equal
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._reach import http_get, last_number
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    Checks,
    Kind,
    Sample,
    SampleError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Operation,
    Probe,
    Service,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._witness import Written, judge_numbers
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true, look_until

SIZE = 64 * 1024  # bytes of an object, and of each segment of a large one
QUOTA = 1024  # bytes that the container with a quota takes
LATE, SOON = 30 * 24 * 3600, 120  # seconds after which objects end: never during a test, and during most
NUMBER = "number-"  # how the names of the witness's objects begin
FOREIGN = "snö-☃ object"  # a name that has to be encoded on its way
CLOCKS = 5  # seconds by which the clocks of the hosts may differ
LISTING_PATIENCE = 60  # seconds by which a listing may lag behind
CONTAINERS: dict[str, dict[str, str]] = {
    "segments": {},
    "versions": {"X-Versions-Enabled": "true"},
    "numbers": {},
    "quota": {"X-Container-Meta-Quota-Bytes": str(QUOTA)},
}
"""The containers that only their owner uses, and what is special about each."""
OBJECTS = (
    *("object", "empty-object", "foreign-object", "late-object", "due-object"),
    *("large-object", "dynamic-object", "link-object", "versioned-object", "segment-1", "segment-2"),
)


def account(cloud: Cloud) -> str:
    """Return the path of the project's account below ``/v1``, as the catalogue has it: ``/AUTH_<project id>``."""
    return "/" + cloud.endpoints(SERVICE.types)[cloud.interface].rstrip("/").rpartition("/")[2]


def look_at_account(health: Health) -> None:
    """Swift reads the account of the project, for which it asks the account servers."""
    message = "Swift lists the containers of the project's account."
    health.served("reads_account", "account", account(health.cloud), message, format="json", limit=5)


@dataclass(frozen=True, kw_only=True)
class ContainerKind(Kind):
    """Containers: their names are their ids, their fields are headers, and they have to be empty to be deleted."""

    def all(self, api: Api) -> list[dict[str, Any]]:
        """Return all of the account."""
        return [dict(entry) for entry in api.get(self.path, format="json", limit=9999) or []]

    def get(self, api: Api, id_: str) -> dict[str, Any]:
        """Return the headers of one."""
        return dict(api.request("HEAD", f"{self.path}/{quote(id_)}").headers)

    def create(self, api: Api, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one."""
        headers = {key: str(value) for key, value in body.items() if key != self.named}
        api.request("PUT", f"{self.path}/{quote(body[self.named])}", headers=headers)
        return {self.named: body[self.named]}

    def delete(self, api: Api, id_: str) -> bool:
        """Delete one with all that is in it, versions too."""
        path = f"{self.path}/{quote(id_)}"
        try:
            for entry in api.get(path, format="json", versions="true"):
                version = f"?version-id={entry['version_id']}" if entry.get("version_id") else ""
                api.delete(f"{path}/{quote(entry['name'])}{version}")
        except MissingError:
            return False
        return api.delete(path)


class SwiftSample(Sample):
    """Containers with objects of each kind, whose content, fields and secrets must stay what they are.

    The witness in the server goes on writing objects, each with a number, over a URL that was signed for it.
    """

    after = ("nova",)

    @property
    def containers(self) -> ContainerKind:
        """Containers of the project's account."""
        return ContainerKind(type="container", path=account(self.cloud), one="", many="", named="name", identity="name")

    def kinds(self) -> Sequence[Kind]:
        """Return the only type that lists have; objects come and go with their containers."""
        return (self.containers,)

    def create(self) -> None:
        """Make containers and objects, and note what must not change of them."""
        mark = {"X-Container-Meta-Upgrade-Test-Run": self.shop.journal.run.run_id}
        stranger = self.shop.stranger
        readers = {"X-Container-Read": f"{stranger.project_id}:*"} if stranger else {}
        for suffix, headers in {"container": readers, **CONTAINERS}.items():
            self.keep(self.containers, suffix, {**mark, **headers}, container_facts)
        self._set_key()
        for suffix in ("segment-1", "segment-2", "object"):
            self._store(suffix, os.urandom(SIZE), {"X-Object-Meta-Colour": "red"})
        self._store("empty-object", b"", {})
        self._store("foreign-object", os.urandom(100), {"X-Object-Meta-Colour": quote("grün")})
        self._store("late-object", os.urandom(100), {"X-Delete-After": str(LATE)})
        self._store("due-object", os.urandom(100), {"X-Delete-After": str(SOON)})
        self._store("large-object", self._manifest(), {}, "?multipart-manifest=put", of=("segment-1", "segment-2"))
        many = {"X-Object-Manifest": f"{quote(self.name('segments'))}/segment-"}
        self._store("dynamic-object", b"", many, of=("segment-1", "segment-2"))
        link = {"X-Symlink-Target": f"{quote(self.name('container'))}/object"}
        self._store("link-object", b"", link, of=("object",))
        for content in (b"first", b"second"):
            self._store("versioned-object", content, {}, again=content == b"second")
        self._employ_witness()

    def _employ_witness(self) -> None:
        """Tell the witness in the server where to write objects, and wait for the first."""
        server = self.shop.journal.find("nova", self.name("server"))
        if server is None or not server.facts.get("witness") or self.item("witness"):
            return
        place = f"{account(self.cloud)}/{quote(self.made('numbers').id)}/{NUMBER}"
        expires = self.made("signature").facts["expires"]
        signature = self._sign(f"PUT\n{expires}\nprefix:{SERVICE.prefix}{place}")
        query = f"temp_url_sig={signature}&temp_url_expires={expires}&temp_url_prefix={NUMBER}"
        target = urlsplit(self.api.url)
        host = f"{target.hostname}:{target.port or 80}"
        address = str(server.facts["floating_ip"])
        if target.scheme == "http":  # a shell speaks no TLS
            http_get(f"http://{address}/cgi-bin/objects?{host}{SERVICE.prefix}{place}&{query}")
            works = becomes_true(lambda: last_number(address, "/stored") > 0, 30)
            item = Item(service=self.service.name, type="witness", name=self.name("witness"), id=address)
            self.note(item, address=address, works=works)

    def _place(self, suffix: str) -> tuple[str, str]:
        """Return container and name of an object by the end of its name in the journal."""
        container = {"segment": "segments", "versioned": "versions"}.get(suffix.partition("-")[0], "container")
        return self.name(container), FOREIGN if suffix == "foreign-object" else suffix

    def _path(self, suffix: str) -> str:
        return account(self.cloud) + "".join(f"/{quote(part)}" for part in self._place(suffix))

    def _store(
        self,
        suffix: str,
        content: bytes,
        headers: Mapping[str, str],
        query: str = "",
        *,
        of: Sequence[str] = (),
        again: bool = False,
    ) -> None:
        """Store an object, and note what a GET must bring: its content, or that of those that it is made of."""
        item = self.item(suffix)
        if item and (item.facts.get("stored_again") or not again):
            return
        name = self.name(suffix)
        item = item or Item(service=self.service.name, type="object", name=name, id="/".join(self._place(suffix)))
        if not again:
            self.shop.journal.write("intent", replace(item, id=""), self.cloud.project_id)
        self.shop.changed = True
        self.api.request("PUT", f"{self._path(suffix)}{query}", data=content, headers=dict(headers))
        found = self.api.request("GET", self._path(suffix))
        facts = {"sha256": digest_of(found.content), "size": len(found.content), **object_facts(found.headers)}
        wanted = digest_of(b"".join(self._contents(of)) if of else content)
        if facts["sha256"] != wanted:
            raise SampleError(f"Object {name} has another content than was stored in it.")
        kept = {"plain": not of and not again, "stored_again": again, "account": account(self.cloud)[1:]}
        old = {"version_id": item.facts.get("now"), "version_sha256": item.facts.get("sha256")} if again else {}
        self.note(item, **facts, **kept, **old, now=found.headers.get("x-object-version-id"))

    def _contents(self, suffixes: Sequence[str]) -> list[bytes]:
        return [self.api.request("GET", self._path(suffix)).content for suffix in suffixes]

    def _manifest(self) -> bytes:
        """Return the description of a large object that is made of the two segments."""
        place = self.name("segments")
        return json.dumps([{"path": f"/{place}/segment-{number}"} for number in (1, 2)]).encode()

    def _set_key(self) -> None:
        """Give the account a key, with which anybody can be let in to one object for a time."""
        if self.item("signature"):
            return
        path, key = account(self.cloud), self._key() or secrets.token_urlsafe(32)
        self.api.request("POST", path, headers={"X-Account-Meta-Temp-URL-Key": key})
        item = Item(service=self.service.name, type="signature", name=self.name("signature"), id=path[1:])
        self.note(item, expires=int(clock.time()) + LATE, key_sha256=digest_of(key.encode()))

    def _key(self) -> str:
        """Return the account's key, which only its owner may see."""
        with suppress(MissingError):
            return str(self.api.request("HEAD", account(self.cloud)).headers.get("x-account-meta-temp-url-key", ""))
        return ""

    def checks(self) -> Checks:
        """Return the checks: contents, fields, what is gone in time, who is let in and who is not."""
        whole = [suffix for suffix in OBJECTS if suffix != "due-object"]
        contents = {f"{suffix.replace('-', '_')}_unchanged": partial(self._same_object, suffix) for suffix in whole}
        return {
            **contents,
            **self.all_same(dict.fromkeys(("container", *CONTAINERS), (self.containers, container_facts))),
            "due_object_gone": self._gone_in_time,
            "old_version_kept": self._old_version,
            "range_read": self._range,
            "condition_kept": self._condition,
            "signed_url_works": self._signed,
            "forged_url_refused": self._forged,
            "quota_refused": self._over_quota,
            "reader_admitted": self._reader,
            "objects_listed": self._listing,
            "numbers_stored": self._numbers,
            "containers_listed": lambda: self.listed((self.containers, self.api)),
            "stranger_refused": lambda: self.stranger_refused(
                account(self.cloud), f"{account(self.cloud)}/{self.made('segments').id}", self._path("segment-1")
            ),
            "anonymous_refused": lambda: self.anonymous_refused(self._path("object")),
        }

    def _same_object(self, suffix: str) -> Finding:
        item = self.made(suffix)
        try:
            found = self.api.request("GET", self._path(suffix))
        except MissingError:
            return self.lost(item)
        now = {"sha256": digest_of(found.content), "size": len(found.content), **object_facts(found.headers)}
        return unchanged("object", item.name, {key: item.facts.get(key) for key in now}, now)

    def _gone_in_time(self) -> Finding:
        """An object that was to end at a moment is there until then, and never after."""
        item = self.made("due-object")
        due, now = float(str(item.facts.get("x-delete-at") or 0)), clock.time()
        try:
            self.api.request("GET", self._path("due-object"))
            there = True
        except MissingError:
            there = False
        if abs(due - now) < CLOCKS:
            return skipped(item.name, f"object {item.name} ends just now.")
        words = (
            f"{'is' if there else 'is not'} there {abs(due - now):.0f} s {'after' if now > due else 'before'} its end"
        )
        return finding(item.name, there == (now < due), f"object {item.name} {words}.")

    def _old_version(self) -> Finding:
        item = self.made("versioned-object")
        if not item.facts.get("version_id"):
            return skipped(item.name, "This Swift keeps no versions.")
        path = f"{self._path('versioned-object')}?version-id={item.facts['version_id']}"
        found = digest_of(self.api.request("GET", path).content)
        good = found == item.facts["version_sha256"]
        message = f"The old version of object {item.name} is {'unchanged' if good else 'another one'}."
        return finding(item.name, good, message, expected=item.facts["version_sha256"], found=found)

    def _range(self) -> Finding:
        """A part out of the middle of a large object, across its segments, is the same part of its content."""
        item, path = self.made("large-object"), self._path("large-object")
        first, last = SIZE - 500, SIZE + 499
        part = self.api.request("GET", path, headers={"Range": f"bytes={first}-{last}"}).content
        good = part == self.api.request("GET", path).content[first : last + 1]
        return finding(item.name, good, f"A part of object {item.name} is {'' if good else 'not '}that of the whole.")

    def _condition(self) -> Finding:
        item = self.made("object")
        headers = {"If-None-Match": str(item.facts.get("etag"))}
        ask = partial(self.api.request, "GET", self._path("object"), headers=headers)
        return self.refused(item.name, f"Sending {item.name} again to one who has it", ask, 304)

    def _signed_path(self, signature: str = "") -> str:
        path, expires = self._path("object"), self.made("signature").facts["expires"]
        signature = signature or self._sign(f"GET\n{expires}\n{SERVICE.prefix}{path}")
        return f"{path}?temp_url_sig={signature}&temp_url_expires={expires}"

    def _sign(self, text: str) -> str:
        return hmac.new(self._key().encode(), text.encode(), hashlib.sha256).hexdigest()

    def _signed(self) -> Finding:
        """The URL that could be signed at the beginning lets anybody in: the same key, the same end."""
        item = self.made("object")
        same = digest_of(self._key().encode()) == self.made("signature").facts["key_sha256"]
        if not same:
            return finding(item.name, False, "The account has another key, so URLs that were signed with it are void.")
        found = self.api.request("GET", self._signed_path(), authenticated=False).content
        good = digest_of(found) == item.facts["sha256"]
        return finding(item.name, good, f"The signed URL brings {'' if good else 'not '}the content of {item.name}.")

    def _forged(self) -> Finding:
        path = self._signed_path("0" * 64)
        ask = partial(self.api.request, "GET", path, authenticated=False)
        return self.refused(self.name("object"), "A forged signature", ask, 401)

    def _over_quota(self) -> Finding:
        """A container with a quota takes no more than that."""
        path, content = f"{account(self.cloud)}/{self.made('quota').id}/too-large", bytes(QUOTA + 1)
        ask = partial(self.api.request, "PUT", path, data=content)
        return self.refused(self.name("quota"), "An object that exceeds the quota of its container", ask, 413)

    def _reader(self) -> Finding:
        """The project that may read the container gets what is in it."""
        item = self.made("object")
        if self.shop.stranger is None:
            return unseen(item.name, "The run has no user of another project who could read.")
        try:
            found = self.service.api(self.shop.stranger).request("GET", self._path("object")).content
        except HttpError as problem:
            return finding(item.name, False, f"The project that may read {item.name} is not let in: {problem}")
        good = digest_of(found) == item.facts["sha256"]
        return finding(
            item.name, good, f"The project that may read {item.name} gets {'it' if good else 'something else'}."
        )

    def _listing(self) -> Finding:
        """The listing has every object with its size and its digest; it may lag behind for a while."""
        name, due = self.name("container"), self.made("due-object")
        there = {self._place(suffix): self.made(suffix) for suffix in OBJECTS}
        expected = {place[1]: item.facts["etag"] for place, item in there.items() if place[0] == name and item != due}

        def listing() -> dict[str, str]:
            entries = self.api.get(f"{account(self.cloud)}/{name}", format="json")
            return {entry["name"]: entry["hash"] for entry in entries if entry["name"] != "due-object"}

        def complete(found: Mapping[str, str]) -> bool:
            return found.keys() == expected.keys() and found["object"] == expected["object"]

        found = look_until(listing, complete, LISTING_PATIENCE, step=2)
        good = complete(found)
        message = f"The listing of container {name} is {'complete' if good else 'not what was stored'}."
        return finding(name, good, message, expected=sorted(expected), found=sorted(found))

    def _numbers(self) -> Finding:
        """Each number that the server's witness was told is stored, is there, once; a listing may lag behind."""
        item, path = self.item("witness"), f"{account(self.cloud)}/{self.name('numbers')}"
        if item is None or not item.facts.get("works"):
            return skipped(self.name("numbers"), "No server with a witness writes objects here.")
        last = last_number(str(item.facts["address"]), "/stored")
        if not last:
            return unseen(item.name, "The witness does not tell which objects it has stored.")

        def stored() -> Written:
            names = (name.removeprefix(NUMBER) for name in self._names(path))
            return judge_numbers(sorted(int(name) for name in names if name.isdigit()), last)

        written = look_until(stored, lambda found: found.good, LISTING_PATIENCE, step=2)
        return finding(item.name, written.good, f"Of the objects that the witness has stored, {written.in_words()}.")

    def _names(self, path: str) -> list[str]:
        """Return the names of all objects in a container."""
        names: list[str] = []
        while found := self.api.get(path, format="json", marker=names[-1] if names else ""):
            names += [entry["name"] for entry in found]
        return names

    def exercises(self) -> Checks:
        """Return what users do: write, read, copy and delete a new object."""
        return {"new_object": self._new_object}

    def cycles(self) -> Checks:
        """Return what needs nothing else: a container with an object."""
        return {"object": self._cycle_object}

    def _cycle_object(self) -> Finding:
        container = self.ensure(self.containers, "cycle-container", {})
        try:
            return self._write_and_read(container)
        finally:
            self.drop(self.containers, container)

    def _new_object(self) -> Finding:
        return self._write_and_read(self.made("container"))

    def _write_and_read(self, container: Item) -> Finding:
        content, path = os.urandom(1000), f"{account(self.cloud)}/{container.id}"
        self.api.request("PUT", f"{path}/exercise", data=content)
        source = {"X-Copy-From": f"{container.id}/exercise"}
        self.api.request("PUT", f"{path}/exercise-copy", headers=source)
        found = self.api.request("GET", f"{path}/exercise-copy").content
        for name in ("exercise", "exercise-copy"):
            self.api.delete(f"{path}/{name}")
        good = found == content
        word = "is what was stored" if good else "is something else"
        return finding(container.name, good, f"A new object was stored and copied, and its copy {word}.")

    def remove(self) -> None:
        """Delete the containers with all that is in them; first nobody is let in any more who would add to it."""
        with suppress(MissingError):
            self.api.request("POST", account(self.cloud), headers={"X-Remove-Account-Meta-Temp-URL-Key": "x"})
        super().remove()
        for item in self.shop.journal.items(self.service.name):
            if item.type != "container":
                self.shop.journal.write("deleted", item, self.cloud.project_id)


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def container_facts(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change of a container."""
    kept = ("x-container-meta-", "x-container-read", "x-container-write", "x-versions-enabled", "x-storage-policy")
    return {key: value for key, value in sorted(headers.items()) if key.startswith(kept)}


def object_facts(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what must not change of an object."""
    kept = ("etag", "content-type", "last-modified", "x-object-meta-", "x-delete-at", "x-static-large-object")
    return {key: value for key, value in sorted(headers.items()) if key.startswith(kept)}


def look(look: Look) -> dict[str, Any]:
    """Find the files of the objects on the devices of this host, the rings, and what was put into quarantine."""
    found: dict[str, Any] = {"objects": {}, "rings": {}, "quarantined": {}}
    for folder in look.folders("swift_configurations"):
        found["rings"] |= {ring.name: {"sha256": file_digest(ring)} for ring in sorted(folder.glob("*.ring.gz"))}
        salt = _salt(folder / "swift.conf")
        for item in look.items(SERVICE.name, "object"):
            if item.facts.get("plain") and salt:
                files = _files(look, hashed(f"/{item.facts['account']}/{item.id}", *salt))
                found["objects"] |= {item.id: file_facts(files[0])} if files else {}
    for device in look.folders("swift_devices"):
        count = sum(1 for _entry in (device / "quarantined").glob("*/*"))
        found["quarantined"][device.name] = {"count": count}
    return found


def _salt(configuration: Path) -> tuple[str, str] | None:
    """Return what Swift mixes into the hashes of names, before and behind; None when it is not told here."""
    parser = configparser.RawConfigParser()
    if not parser.read(configuration) or not parser.has_section("swift-hash"):
        return None
    section = parser["swift-hash"]
    return section.get("swift_hash_path_prefix", ""), section.get("swift_hash_path_suffix", "")


def hashed(path: str, prefix: str, suffix: str) -> str:
    """Return the hash of ``/account/container/object``, which is the name of the folder that holds its data."""
    return hashlib.md5(f"{prefix}{path}{suffix}".encode(), usedforsecurity=False).hexdigest()


def _files(look: Look, name: str) -> list[Path]:
    return [
        file
        for device in look.folders("swift_devices")
        for file in device.glob(f"objects*/*/{name[-3:]}/{name}/*.data")
    ]


def offline(case: Offline) -> None:
    """Each copy of each object is what was stored, on as many hosts as before; the rings are the same everywhere."""
    rings = case.held("rings")
    for name in sorted(rings) or ["object.ring.gz"]:
        check = name.removesuffix(".ring.gz").replace("-", "_")
        case.record(f"{check}_ring_equal", case.seen(judge_equal(f"The ring {name}", rings.get(name, {}))))
    for item in case.of_type("object"):
        if item.facts.get("plain"):
            check = case.check_of(item)
            stored = {"sha256": item.facts["sha256"], "size": item.facts["size"]}
            if "x-delete-at" in item.facts:
                continue  # whether it still has to be there is a matter of time
            case.record(f"{check}_copies", case.content("objects", item.id, f"object {item.name}", stored))
            case.record(f"{check}_place", case.stays("objects", item.id, f"object {item.name}"))
    for name in case.held("quarantined"):
        case.record("nothing_quarantined", case.content("quarantined", name, f"The quarantine of {name}", {"count": 0}))


SERVICE = Service(
    name="swift",
    types=("object-store",),
    prefix="/v1",
    probe=Probe(path="/info", body='"swift"'),
    operations=(Operation(name="list containers", path="/{own}?limit=1&format=json", body="["),),
    components=Components(
        wsgi={},
        prefixes=("swift-",),
        tools=(
            "swift-account-audit",
            "swift-account-info",
            "swift-config",
            "swift-container-deleter",
            "swift-container-info",
            "swift-dispersion-populate",
            "swift-dispersion-report",
            "swift-drive-audit",
            "swift-form-signature",
            "swift-get-nodes",
            "swift-init",
            "swift-manage-shard-ranges",
            "swift-object-info",
            "swift-object-relinker",
            "swift-oldies",
            "swift-orphans",
            "swift-recon",
            "swift-recon-cron",
            "swift-reconciler-enqueue",
            "swift-reload",
            "swift-ring-builder",
            "swift-ring-builder-analyzer",
            "swift-ring-composer",
        ),
    ),
    health=(look_at_account,),
    sample=SwiftSample,
    look=look,
    offline=offline,
)
