# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Glance.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import HttpError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Health
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import Kind, Sample, SampleError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Operation,
    Probe,
    Service,
)

SIZE = 512 * 1024  # bytes of the sample image: enough for several chunks, quick to move
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
]


def health(health: Health) -> None:
    """Glance lists images."""
    body = health.ask("lists_images", "image list", "/images", limit=5)
    if body is not None:
        health.record("lists_images", "image list", Status.PASS, "Glance lists images.", found=len(body["images"]))


class GlanceSample(Sample):
    """A small private image of random bytes, whose content must come back the same."""

    @property
    def kind(self) -> Kind:
        """Private images of the project."""
        scope = {"owner": self.cloud.project_id, "visibility": "private", "limit": 1000}
        return Kind(type="image", path="/images", one="", many="images", scope=scope)

    def create(self) -> dict[str, Any]:
        """Make the image, upload it, and note what Glance says of it."""
        facts = {
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "private",
            "upgrade_test_run": self.shop.journal.run.run_id,
        }
        item = self.ensure(self.kind, "image", facts)
        if not item.facts and self._status(item.id) != "queued":  # a run that was cut short uploaded unknown bytes
            self.remove()
            item = self.ensure(self.kind, "image", facts)
        if not item.facts:
            digest = self._upload(item.id)
            image = self.kind.get(self.api, item.id)
            self.note(item, **image_facts(image), sha256=digest)
        return self.told()

    def told(self) -> dict[str, Any]:
        """Tell of the image."""
        item = self.item("image")
        return {"image": {"id": item.id, "name": item.name, "sha256": item.facts.get("sha256")}} if item else {}

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

    def _download(self, id_: str) -> bytes:
        return self.api.request("GET", f"/images/{id_}/file").content

    def verify(self) -> None:
        """The image is unchanged, is listed, and its content is the one uploaded."""
        item = self.made("image")
        self.compare(self.kind, lambda image: {**image_facts(image), "sha256": item.facts.get("sha256")})
        self._verify_content()
        self._verify_list()

    def _verify_content(self) -> None:
        item, check = self.made("image"), "image_content"
        expected = str(item.facts.get("sha256"))
        try:
            content = self._download(item.id)
        except HttpError as problem:
            self.judge(check, item.name, good=False, message=f"image {item.name} cannot be downloaded: {problem}")
            return
        found = hashlib.sha256(content).hexdigest()
        same = found == expected
        word = "unchanged" if same else "not the one uploaded"
        message = f"The content of image {item.name} is {word} ({len(content)} bytes)."
        self.judge(check, item.name, good=same, message=message, expected=expected, found=found)

    def _verify_list(self) -> None:
        item = self.made("image")
        there = any(image["id"] == item.id for image in self.kind.all(self.api, self.shop.prefix))
        message = f"image {item.name} is {'' if there else 'not '}in the list of the project's images."
        self.judge("image_listed", item.name, good=there, message=message)

    def remove(self) -> None:
        """Delete the image."""
        self.sweep(self.kind)


def image_facts(image: Any) -> dict[str, Any]:
    """Return what must not change of an image."""
    return {field: image.get(field) for field in _FIELDS}


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
    health=health,
    sample=GlanceSample,
)
