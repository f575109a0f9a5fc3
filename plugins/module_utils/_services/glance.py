# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Glance.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Api, HttpError, MissingError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._compare import Finding, finding, unseen
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Health
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._journal import Item
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._look import Look, file_facts
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import Offline
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    RUN_FIELD,
    Checks,
    Kind,
    Sample,
    SampleError,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Configured,
    Operation,
    Probe,
    Schema,
    Service,
    Upkeep,
)

SIZE = 512 * 1024  # bytes of the sample image: enough for several chunks, quick to move
_PATCH = "application/openstack-images-v2.1-json-patch"
_BODY: dict[str, Any] = {"disk_format": "raw", "container_format": "bare", "visibility": "private"}
IMAGES: dict[str, dict[str, Any]] = {
    "image": {},
    "shared-image": {"visibility": "shared"},
    "protected-image": {"protected": True, "min_disk": 1, "upgrade_test_property": "kept"},
    "hidden-image": {"os_hidden": True},
    "deactivated-image": {},
    "queued-image": {},
}
"""The sample images by the end of their names, and what is special about each."""
_FIELDS = [
    "id",
    "name",
    "status",
    "visibility",
    "owner",
    "size",
    "virtual_size",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "disk_format",
    "container_format",
    "min_disk",
    "min_ram",
    "protected",
    "os_hidden",
    "created_at",
    "upgrade_test_run",
    "upgrade_test_property",
]


def look_at_images(health: Health) -> None:
    """Glance lists images."""
    body = health.ask("lists_images", "image list", "/images", limit=5)
    if body is not None:
        health.record("lists_images", "image list", Status.PASS, "Glance lists images.", found=len(body["images"]))


class GlanceSample(Sample):
    """Small images of random bytes: private, shared, protected, hidden, deactivated, and one without content."""

    @property
    def kind(self) -> Kind:
        """Images of the project, those that lists leave out among them."""
        own = {"owner": self.cloud.project_id, "limit": 1000}
        scopes = (own, {**own, "os_hidden": "true"})
        return Kind(type="image", path="/images", one="", many="images", scopes=scopes)

    def kinds(self) -> Sequence[Kind]:
        """Return the only type."""
        return (self.kind,)

    def create(self) -> None:
        """Make the images, upload them, and note what Glance says of them."""
        for suffix, body in IMAGES.items():
            item = self._begin(suffix, body)
            if not item.facts:
                facts = {} if suffix == "queued-image" else {"sha256": self._upload(item.id)}
                self._finish(suffix, item.id)
                self.note(item, **image_facts(self.kind.get(self.api, item.id)), **facts)

    def _begin(self, suffix: str, body: Mapping[str, Any]) -> Item:
        """Return an image that is finished or empty: what a run that was cut short uploaded is unknown."""
        full = {**_BODY, RUN_FIELD: self.shop.journal.run.run_id, "tags": [self.shop.owner.tag], **body}
        item = self.ensure(self.kind, suffix, full)
        if not item.facts and self._status(item.id) != "queued":
            self._delete_image(item.id)
            self.shop.journal.write("deleted", item, self.cloud.project_id)
            item = self.ensure(self.kind, suffix, full)
        return item

    def _finish(self, suffix: str, id_: str) -> None:
        """Do what is done to an image after its upload."""
        stranger = self.shop.stranger
        if suffix == "shared-image" and stranger:
            with suppress(HttpError):  # a run that was cut short had shared it already
                self.api.post(f"/images/{id_}/members", {"member": stranger.project_id})
            member = f"/images/{id_}/members/{stranger.project_id}"
            self.service.api(stranger).put(member, {"status": "accepted"})
        if suffix == "deactivated-image":
            self.api.request("POST", f"/images/{id_}/actions/deactivate")

    def _upload(self, id_: str) -> str:
        """Upload random bytes and wait until the image is active; return their SHA-256."""
        content = os.urandom(SIZE)
        headers = {"Content-Type": "application/octet-stream"}
        self.api.request("PUT", f"/images/{id_}/file", data=content, headers=headers)
        self.wait(f"Image {id_}: status active", lambda: self._is_active(id_), timeout=60)
        return hashlib.sha256(content).hexdigest()

    def _status(self, id_: str) -> str:
        return str(self.kind.get(self.api, id_).get("status"))

    def _is_active(self, id_: str) -> bool:
        status = self._status(id_)
        if status in ("killed", "deleted", "pending_delete"):
            raise SampleError(f"Image {id_} became {status} after its upload: see the log of glance-api.")
        return status == "active"

    def _patch(self, id_: str, field: str, value: Any) -> None:
        body = [{"op": "replace", "path": f"/{field}", "value": value}]
        self.api.request("PATCH", f"/images/{id_}", json=body, headers={"Content-Type": _PATCH})

    def checks(self) -> Checks:
        """Return the checks: fields, contents, who may do what."""
        return {
            **self.all_same(dict.fromkeys(IMAGES, (self.kind, image_facts))),
            "image_content": lambda: self._same_content("image", self.api),
            "protected_image_content": lambda: self._same_content("protected-image", self.api),
            "shared_image_content": self._shared_content,
            "protected_image_kept": self._protection,
            "deactivated_image_refused": self._deactivation,
            "hidden_image_left_out": self._hiding,
            "images_listed": lambda: self.listed((self.kind, self.api)),
            "usage_in_step": self.usage_in_step,
            "stranger_refused": self._no_strangers,
            "anonymous_refused": lambda: self.anonymous_refused(f"/images/{self.made('image').id}"),
        }

    def _same_content(self, suffix: str, api: Api) -> Finding:
        item = self.made(suffix)
        expected = str(item.facts.get("sha256"))
        try:
            content = api.request("GET", f"/images/{item.id}/file").content
        except HttpError as problem:
            return finding(item.name, False, f"image {item.name} cannot be downloaded: {problem}")
        found = hashlib.sha256(content).hexdigest()
        word = "unchanged" if found == expected else "not the one uploaded"
        message = f"The content of image {item.name} is {word} ({len(content)} bytes)."
        return finding(item.name, found == expected, message, expected=expected, found=found)

    def _shared_content(self) -> Finding:
        """The project that the image is shared with gets it."""
        if self.shop.stranger is None:
            return unseen(
                self.name("shared-image"), "The run has no other project that the image could be shared with."
            )
        return self._same_content("shared-image", self.service.api(self.shop.stranger))

    def _protection(self) -> Finding:
        item = self.made("protected-image")
        ask = partial(self.kind.delete, self.api, item.id)
        return self.refused(item.name, f"Deleting the protected image {item.name}", ask, 403)

    def _deactivation(self) -> Finding:
        item = self.made("deactivated-image")
        ask = partial(self.api.request, "GET", f"/images/{item.id}/file")
        return self.refused(item.name, f"Downloading the deactivated image {item.name}", ask, 403)

    def _hiding(self) -> Finding:
        item = self.made("hidden-image")
        shown = any(image["id"] == item.id for image in self.api.get("/images", limit=1000)["images"])
        message = f"The hidden image {item.name} is {'in' if shown else 'left out of'} the usual list."
        return finding(item.name, not shown, message)

    def _no_strangers(self) -> Finding:
        unshared = [suffix for suffix in IMAGES if suffix != "shared-image"]
        return self.stranger_refused(*(f"/images/{self.made(suffix).id}" for suffix in unshared))

    def used(self) -> dict[str, int]:
        """Return how many images the quota counts; empty unless Glance uses limits."""
        with suppress(HttpError):
            usage = (self.api.get("/info/usage") or {}).get("usage", {})
            if "image_count_total" in usage:
                return {"images": usage["image_count_total"]["usage"]}
        return {}

    def counted(self) -> dict[str, int]:
        """Return how many images the project has."""
        return {"images": len(self.kind.all(self.api))}

    def exercises(self) -> Checks:
        """Return what users do: upload a new image, change an old one, let a deactivated one be used again."""
        return {"new_image": self._new_image, "update_image": self._update, "reactivate_image": self._reactivate}

    def cycles(self) -> Checks:
        """Return what needs nothing else: upload and download with a checksum."""
        return {"image": self._new_image}

    def _new_image(self) -> Finding:
        item = self._begin("exercise", {})
        self.note(item, sha256=self._upload(item.id))
        found = self._same_content("exercise", self.api)
        self.drop(self.kind, item)
        return found

    def _update(self) -> Finding:
        item = self.made("image")
        self._patch(item.id, "min_ram", 1)
        found = self.kind.get(self.api, item.id)["min_ram"]
        self._patch(item.id, "min_ram", item.facts["min_ram"])
        word = "takes" if found == 1 else "does not take"
        return finding(item.name, found == 1, f"The old image {item.name} {word} a change.", expected=1, found=found)

    def _reactivate(self) -> Finding:
        item = self.made("deactivated-image")
        self.api.request("POST", f"/images/{item.id}/actions/reactivate")
        found = self._same_content("deactivated-image", self.api)
        self.api.request("POST", f"/images/{item.id}/actions/deactivate")
        return found

    def remove(self) -> None:
        """Delete the images, the protected one too."""
        self.sweep(self.kind, self._delete_image)

    def _delete_image(self, id_: str) -> bool:
        with suppress(MissingError):
            if self.kind.get(self.api, id_).get("protected"):
                self._patch(id_, "protected", False)
        return self.kind.delete(self.api, id_)


def look(look: Look) -> dict[str, Any]:
    """Find the files that are the contents of the images."""
    blobs = {}
    for image in look.items(SERVICE.name, "image"):
        for store in look.folders("glance_stores"):
            if (store / image.id).is_file():
                blobs[image.id] = file_facts(store / image.id)
    return {"blobs": blobs}


def offline(case: Offline) -> None:
    """Each image's content lies where it lay, and is what was uploaded."""
    for image in case.of_type("image"):
        if "sha256" in image.facts:
            check = case.check_of(image)
            stored = {"sha256": image.facts["sha256"], "size": SIZE}
            what = f"The content of image {image.name}"
            case.record(f"{check}_content", case.content("blobs", image.id, what, stored))
            case.record(f"{check}_place", case.stays("blobs", image.id, what, ["path"]))


def image_facts(image: Any) -> dict[str, Any]:
    """Return what must not change of an image."""
    return {**{field: image.get(field) for field in _FIELDS}, "tags": sorted(image.get("tags", []))}


SERVICE = Service(
    name="glance",
    types=("image",),
    prefix="/v2",
    # Not /healthcheck: an operator may have it answer 503 to drain an instance that still serves.
    probe=Probe(path="/versions", body='"versions"'),
    operations=(Operation(name="list images", path="/images?limit=1", body='"images"'),),
    components=Components(
        wsgi={
            "glance.wsgi.api": "glance-api",
            "glance.common.wsgi_app": "glance-api",
            "glance-wsgi-api": "glance-api",
            "glance-uwsgi": "glance-api",
            "glance-api": "glance-api",
            "glance": "glance-api",
            "wsgi:glance-api": "glance-api",
        },
        prefixes=("glance-",),
        tools=(
            "glance-manage",
            "glance-status",
            "glance-cache-manage",
            "glance-cache-cleaner",
            "glance-cache-prefetcher",
            "glance-cache-pruner",
            "glance-control",
            "glance-replicator",
            "glance-rootwrap",
        ),
    ),
    upkeep=Upkeep(
        configuration=Configured(
            names=("glance-image-import.conf", "glance-api.conf"),
            folder="/etc/glance",
            optional=("glance-image-import.conf",),
            words=False,
            programs={"glance-api": "glance-api"},  # after 2026.1
        ),
        schemas=(
            Schema(name="glance", section="database", migrations="glance/db/sqlalchemy/alembic_migrations/versions"),
        ),
        status="glance-status",
        pending=("glance-manage", "db", "check"),
        steps={3: "glance-manage db expand", 4: "glance-manage db migrate", 5: "glance-manage db contract"},
    ),
    health=(look_at_images,),
    sample=GlanceSample,
    look=look,
    offline=offline,
    belongings=(("/images?owner={}", "images"),),
)
