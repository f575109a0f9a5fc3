# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keystone.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import secrets
import time as clock
from datetime import datetime
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError, HttpError, RefusedError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import CLOUDS
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._health import Health
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import Item, Kind, Sample
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._service import (
    Components,
    Operation,
    Probe,
    Service,
)

APPLICATION_CLOUD = "upgrade_test_application"
TOKEN_CLOUD = "upgrade_test_token"  # noqa: S105 - the name of a cloud, not a token
_CREDENTIAL = "application_credential"
_ROLE_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds
_TOKEN = "token"  # noqa: S105 - a type in the journal, not a token


def health(health: Health) -> None:
    """Keystone validates the token that it has just given out."""
    token = health.cloud.token
    headers = {"X-Subject-Token": token}
    try:
        body = health.service.api(health.cloud).request("GET", "/auth/tokens", headers=headers).body["token"]
    except CloudError as problem:
        health.record("token_validates", "token", Status.FAIL, f"Keystone does not validate its own token: {problem}")
        return
    same = body["user"]["id"] == health.cloud.user_id
    message = "Keystone authenticates and validates the token that it gave out."
    wrong = "Keystone validates the token, but for another user."
    health.record("token_validates", "token", Status.PASS if same else Status.FAIL, message if same else wrong)


class KeystoneSample(Sample):
    """An application credential that must authenticate later, and a token that must stay valid for its lifetime."""

    @property
    def kind(self) -> Kind:
        """Application credentials of the user."""
        path = f"/users/{self.cloud.user_id}/application_credentials"
        return Kind(type=_CREDENTIAL, path=path, one=_CREDENTIAL, many="application_credentials")

    def create(self) -> dict[str, Any]:
        """Make the credential and get a token of its own, whose secrets go to clouds.yaml only."""
        if not (item := self.item(_CREDENTIAL)) or not item.facts:
            self._make_credential()
        if not self.item(_TOKEN):
            self._issue_token()
        return self.told()

    def told(self) -> dict[str, Any]:
        """Tell of the credential."""
        item = self.item(_CREDENTIAL)
        return {_CREDENTIAL: {"id": item.id, "name": item.name}} if item else {}

    def _make_credential(self) -> None:
        """Make the credential; its secret is ours, so that one whose creation was cut short can be used too."""
        secret = self._stored(APPLICATION_CLOUD).get("application_credential_secret") or secrets.token_urlsafe(32)
        item = self._ensure_credential({"secret": secret, "description": "Made by openstack.upgrade_test."})
        found = self.kind.get(self.api, item.id)
        self._store(
            APPLICATION_CLOUD,
            "v3applicationcredential",
            {"application_credential_id": item.id, "application_credential_secret": secret},
        )
        self.note(item, **credential_facts(found))

    def _ensure_credential(self, wanted: dict[str, Any]) -> Item:
        """Make the credential; Keystone now and then needs a moment before it sees the role that was just given."""
        for pause in _ROLE_PAUSES:
            try:
                return self.ensure(self.kind, "credential", wanted)
            except HttpError as problem:
                if problem.status != 400:
                    raise
                clock.sleep(pause)
        return self.ensure(self.kind, "credential", wanted)

    def _issue_token(self) -> None:
        answer = self._authenticate(self._stored(APPLICATION_CLOUD))
        token, body = answer.headers["x-subject-token"], answer.body["token"]
        self._store(TOKEN_CLOUD, "v3token", {"token": token})
        name = f"{self.shop.prefix}token"
        item = Item(
            service=self.service.name, type=_TOKEN, name=name, id=hashlib.sha256(token.encode()).hexdigest()[:16]
        )
        self.note(item, **grant_facts(body), expires_at=body["expires_at"])

    def _authenticate(self, auth: dict[str, str]) -> Any:
        """Get a token with an application credential; raises an HttpError."""
        credential = {"id": auth["application_credential_id"], "secret": auth["application_credential_secret"]}
        identity = {"methods": [_CREDENTIAL], _CREDENTIAL: credential}
        return self.api.request("POST", "/auth/tokens", json={"auth": {"identity": identity}}, authenticated=False)

    def _stored(self, cloud: str) -> dict[str, str]:
        """Return the ``auth`` of a cloud in the run's clouds.yaml; empty when there is none."""
        return dict(self._clouds().get("clouds", {}).get(cloud, {}).get("auth", {}))

    def _clouds(self) -> dict[str, Any]:
        import yaml

        try:
            return yaml.safe_load((self.shop.journal.run.path / CLOUDS).read_text()) or {}
        except OSError:
            return {}

    def _store(self, cloud: str, auth_type: str, auth: dict[str, str]) -> None:
        """Add a cloud to the run's clouds.yaml, which only its owner may read and which ends with the run."""
        import yaml

        document = self._clouds()
        entry = {"auth_type": auth_type, "auth": {"auth_url": self.cloud.auth_url, **auth}}
        document.setdefault("clouds", {})[cloud] = entry
        self.shop.journal.run.write_credentials(yaml.safe_dump(document, sort_keys=False))

    def verify(self) -> None:
        """The credential is unchanged and authenticates, a wrong secret does not, the old token is valid."""
        self.compare(self.kind, credential_facts)
        self._verify_authentication()
        self._verify_refusal()
        self._verify_token()

    def _verify_authentication(self) -> None:
        item, check = self.made(_CREDENTIAL), "credential_authenticates"
        auth = self._stored(APPLICATION_CLOUD)
        if not auth:
            message = f"The secret of {item.name} is not in the run's clouds.yaml, so it cannot be tried."
            self.record(check, item.name, Status.UNKNOWN, message)
            return
        try:
            body = self._authenticate(auth).body["token"]
        except HttpError as problem:
            self.judge(check, item.name, good=False, message=f"{item.name} does not authenticate any more: {problem}")
            return
        same = body["project"]["id"] == self.cloud.project_id and body["user"]["id"] == self.cloud.user_id
        message = f"{item.name} authenticates" + (
            " as before." if same else ", but as another user or in another project."
        )
        self.judge(check, item.name, good=same, message=message)

    def _verify_refusal(self) -> None:
        """A wrong secret must be refused; tried on the credential, as the user itself could be locked out."""
        item = self.made(_CREDENTIAL)
        check, wrong = "wrong_secret_refused", secrets.token_urlsafe(32)
        try:
            self._authenticate({"application_credential_id": item.id, "application_credential_secret": wrong})
        except RefusedError as problem:
            message = "Keystone refuses a wrong secret."
            self.judge(check, item.name, good=True, message=message, expected=401, found=problem.status)
            return
        message = f"Keystone let {item.name} in with a wrong secret."
        self.judge(check, item.name, good=False, message=message, expected=401, found=201)

    def _verify_token(self) -> None:
        item, check = self.made(_TOKEN), "old_token_valid"
        token, ends = self._stored(TOKEN_CLOUD).get("token", ""), str(item.facts["expires_at"])
        if not token:
            self.record(
                check, item.name, Status.UNKNOWN, "The token is not in the run's clouds.yaml, so it cannot be tried."
            )
            return
        if expired(ends):
            message = f"The token that was issued before ended at {ends}, as it had to."
            self.record(check, item.name, Status.SKIP, message, evidence={"expires_at": ends})
            return
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        try:
            body = self.api.request("GET", "/auth/tokens", headers=headers, authenticated=False).body["token"]
        except HttpError as problem:
            self.judge(
                check, item.name, good=False, message=f"The token that was issued before is not valid: {problem}"
            )
            return
        now = grant_facts(body)
        same = all(item.facts[key] == value for key, value in now.items())
        message = "The token that was issued before is valid" + (
            " and unchanged." if same else ", but means something else."
        )
        self.judge(check, item.name, good=same, message=message, evidence={"expires_at": ends})

    def remove(self) -> None:
        """Delete the credential; the token ends with it."""
        self.sweep(self.kind)
        token = self.shop.journal.find(self.service.name, _TOKEN)
        if token:
            self.shop.journal.write("deleted", token)


def credential_facts(found: Any) -> dict[str, Any]:
    """Return what must not change of an application credential."""
    roles = sorted(role["name"] for role in found.get("roles", []))
    return {
        **{key: found.get(key) for key in ("id", "name", "project_id", "expires_at", "unrestricted")},
        "roles": roles,
    }


def grant_facts(token: Any) -> dict[str, Any]:
    """Return what a token grants."""
    roles = sorted(role["name"] for role in token["roles"])
    return {"user_id": token["user"]["id"], "project_id": token["project"]["id"], "roles": roles}


def expired(moment: str, now: float | None = None) -> bool:
    """Whether a moment such as ``2026-11-20T10:00:00.000000Z`` has passed."""
    ends = datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
    return ends <= (clock.time() if now is None else now)


SERVICE = Service(
    name="keystone",
    types=("identity",),
    prefix="/v3",
    probe=Probe(path="/v3", body='"v3.'),
    operations=(Operation(name="list projects", path="/auth/projects", body='"projects"'),),
    components=Components(
        wsgi={
            "keystone.wsgi.api": "keystone-api",
            "keystone.server.wsgi": "keystone-api",
            "keystone-wsgi-public": "keystone-api",
            "keystone-wsgi-admin": "keystone-api",
            "keystone-uwsgi-public": "keystone-api",
            "keystone": "keystone-api",
            "wsgi:keystone": "keystone-api",
            "wsgi:keystone-public": "keystone-api",
            "wsgi:keystone-main": "keystone-api",
            "wsgi:keystone-admin": "keystone-api",
        },
        prefixes=("keystone-",),
        tools=("keystone-manage", "keystone-status"),
    ),
    health=health,
    sample=KeystoneSample,
)
