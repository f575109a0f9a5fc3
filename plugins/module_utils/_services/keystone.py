# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keystone.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time as clock
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import CloudError, HttpError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import CLOUDS
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
    digest_of,
    owner_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._offline import (
    Held,
    Offline,
    judge_equal,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._sample import (
    CLOUD,
    STRANGER,
    Checks,
    Kind,
    Sample,
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

APPLICATION_CLOUD = "upgrade_test_application"
TOKEN_CLOUD = "upgrade_test_token"  # noqa: S105 - the name of a cloud, not a token
REVOKED_CLOUD = "upgrade_test_revoked"
_CREDENTIAL = "application_credential"
_TOKEN = "token"  # noqa: S105 - a type in the journal, not a token


def look_at_token(health: Health) -> None:
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


def look_at_registered(health: Health) -> None:
    """See that each registered endpoint is in the catalogue: one whose URL cannot be filled in is left out silently."""
    services = health.ask("endpoints_in_catalogue", "registered services", "/services")
    endpoints = health.ask("endpoints_in_catalogue", "registered endpoints", "/endpoints") if services else None
    if services is None or endpoints is None:
        return
    missing = left_out(services["services"], endpoints["endpoints"], health.cloud.catalog)
    words = "; ".join(f"{one['interface']} {one['type']} in region {one['region']} ({one['url']})" for one in missing)
    message = f"Left out of the catalogue, though registered: {words}."
    status = Status.PASS
    if missing:
        # Without a place to fill in, it may be left out on purpose, by a filter for the project.
        status = Status.FAIL if any("(" in one["url"] for one in missing) else Status.UNKNOWN
    good = f"All {len(endpoints['endpoints'])} registered endpoints that are enabled are in the catalogue."
    health.record("endpoints_in_catalogue", "registered endpoints", status, message if missing else good, found=missing)


def left_out(
    services: Sequence[Mapping[str, Any]],
    endpoints: Sequence[Mapping[str, Any]],
    catalogue: Sequence[Mapping[str, Any]],
) -> list[dict[str, str]]:
    """Return the endpoints that are registered and enabled and not in a catalogue."""
    types = {one["id"]: one["type"] for one in services if one.get("enabled", True)}
    there = {point["id"] for entry in catalogue for point in entry["endpoints"] if "id" in point}
    return [
        {
            "type": str(types[one["service_id"]]),
            "interface": str(one["interface"]),
            "region": str(one.get("region_id") or one.get("region") or ""),
            "url": str(one["url"]),
        }
        for one in endpoints
        if one.get("enabled", True) and one["service_id"] in types and one["id"] not in there
    ]


class KeystoneSample(Sample):
    """What a user keeps in Keystone: credentials, a trust, tokens, his roles and the catalogue."""

    @property
    def applications(self) -> Kind:
        """Application credentials of the user."""
        path = f"/users/{self.cloud.user_id}/application_credentials"
        return Kind(type=_CREDENTIAL, path=path, one=_CREDENTIAL, many="application_credentials")

    @property
    def blobs(self) -> Kind:
        """Secrets that Keystone encrypts for the user; their type is free, and so can name them."""
        scopes = ({"user_id": self.cloud.user_id},)
        return Kind(
            type="credential", path="/credentials", one="credential", many="credentials", named="type", scopes=scopes
        )

    @property
    def trusts(self) -> Kind:
        """Trusts that the user has given; they have no names."""
        scopes = ({"trustor_user_id": self.cloud.user_id},)
        return Kind(type="trust", path="/OS-TRUST/trusts", one="trust", many="trusts", named="", scopes=scopes)

    def kinds(self) -> Sequence[Kind]:
        """Return the types that it makes."""
        return (self.applications, self.blobs, self.trusts)

    def create(self) -> None:
        """Make credentials, trust and tokens, whose secrets go to clouds.yaml only."""
        if not (item := self.item("application-credential")) or not item.facts:
            self._make_application()
        if not self.item("token"):
            self._issue_token()
        if not self.item("revoked-token"):
            self._revoke_token()
        self._make_blob()
        if STRANGER in self._clouds().get("clouds", {}):
            roles = [{"name": name} for name in self.cloud.roles]
            self.keep(self.trusts, "trust", {**self._trust(), "roles": roles}, trust_facts)
        if not self.item("grant") and self._stored(CLOUD):
            item = Item(service=self.service.name, type="grant", name=self.name("grant"), id=self.cloud.user_id)
            self.note(item, **self._grant())

    def _make_application(self) -> None:
        """Make the credential; its secret is ours, so that one whose creation was cut short can be used too."""
        secret = self._stored(APPLICATION_CLOUD).get("application_credential_secret") or secrets.token_urlsafe(32)
        wanted = {"secret": secret, "description": "Made by openstack.upgrade_test."}
        item = self.ensure(self.applications, "application-credential", wanted)
        found = self.applications.get(self.api, item.id)
        self._store(
            APPLICATION_CLOUD,
            "v3applicationcredential",
            {"application_credential_id": item.id, "application_credential_secret": secret},
        )
        self.note(item, **credential_facts(found))

    def _make_blob(self) -> None:
        body = {
            "user_id": self.cloud.user_id,
            "project_id": self.cloud.project_id,
            "blob": json.dumps({"sample": secrets.token_urlsafe(32)}),
        }
        self.keep(self.blobs, "credential", body, blob_facts)

    def _trust(self) -> dict[str, Any]:
        return {
            "trustor_user_id": self.cloud.user_id,
            "trustee_user_id": self._stored(STRANGER)["user_id"],
            "project_id": self.cloud.project_id,
            "impersonation": False,
        }

    def _issue_token(self) -> None:
        answer = self._use_application(self._stored(APPLICATION_CLOUD))
        token, body = answer.headers["x-subject-token"], answer.body["token"]
        self._store(TOKEN_CLOUD, "v3token", {"token": token})
        self._note_token("token", token, {**grant_facts(body), "expires_at": body["expires_at"]})

    def _revoke_token(self) -> None:
        answer = self._use_application(self._stored(APPLICATION_CLOUD))
        token = answer.headers["x-subject-token"]
        self._store(REVOKED_CLOUD, "v3token", {"token": token})
        self.api.request("DELETE", "/auth/tokens", headers={"X-Subject-Token": token})
        self._note_token("revoked-token", token, {"expires_at": answer.body["token"]["expires_at"]})

    def _note_token(self, suffix: str, token: str, facts: dict[str, Any]) -> None:
        digest = hashlib.sha256(token.encode()).hexdigest()[:16]
        self.note(Item(service=self.service.name, type=_TOKEN, name=self.name(suffix), id=digest), **facts)

    def _use_application(self, auth: Mapping[str, str]) -> Any:
        """Get a token with an application credential; raises an HttpError."""
        credential = {"id": auth["application_credential_id"], "secret": auth["application_credential_secret"]}
        return self._authenticate({"methods": [_CREDENTIAL], _CREDENTIAL: credential})

    def _use_password(self, auth: Mapping[str, str], scope: Mapping[str, Any]) -> Any:
        """Get a token with a user's password; raises an HttpError."""
        user = {"id": auth["user_id"], "password": auth["password"]}
        return self._authenticate({"methods": ["password"], "password": {"user": user}}, scope)

    def _authenticate(self, identity: Mapping[str, Any], scope: Mapping[str, Any] | None = None) -> Any:
        wanted = {"identity": identity, **({"scope": scope} if scope else {})}
        return self.api.request("POST", "/auth/tokens", json={"auth": wanted}, authenticated=False)

    def _grant(self) -> dict[str, Any]:
        """Return what a new login of the user brings."""
        token = self._use_password(self._stored(CLOUD), {"project": {"id": self.cloud.project_id}}).body["token"]
        return {**grant_facts(token), "catalogue": catalogue_facts(token["catalog"])}

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

    def checks(self) -> Checks:
        """Return the checks: what was given is as it was, works as it did, and nothing more is let in."""
        own = f"/users/{self.cloud.user_id}/application_credentials/"
        return {
            "application_credential_unchanged": lambda: self.same(
                self.applications, "application-credential", credential_facts
            ),
            "credential_authenticates": self._application_works,
            "restricted_credential_refused": self._application_restricted,
            "wrong_secret_refused": self._wrong_secret,
            "wrong_password_refused": self._wrong_password,
            "credential_unchanged": lambda: self.same(self.blobs, "credential", blob_facts),
            **self._trust_checks(),
            "old_token_valid": self._old_token,
            "revoked_token_refused": self._revoked_token,
            "grant_unchanged": self._same_grant,
            "resources_listed": lambda: self.listed(*((kind, self.api) for kind in self.kinds() if kind.named)),
            "stranger_refused": lambda: self.stranger_refused(own + self.made("application-credential").id),
            "anonymous_refused": lambda: self.anonymous_refused(own + self.made("application-credential").id),
        }

    def _trust_checks(self) -> Checks:
        if not self._stored(STRANGER):
            return {"trust_authenticates": lambda: unseen("trust", "The run has no other user to trust.")}
        return {
            "trust_unchanged": lambda: self.same(self.trusts, "trust", trust_facts),
            "trust_authenticates": self._trust_works,
        }

    def _application_works(self) -> Finding:
        item, auth = self.made("application-credential"), self._stored(APPLICATION_CLOUD)
        if not auth:
            return _untried(item, f"secret of {item.name}")
        try:
            body = self._use_application(auth).body["token"]
        except HttpError as problem:
            return finding(item.name, False, f"{item.name} does not authenticate any more: {problem}")
        same = body["project"]["id"] == self.cloud.project_id and body["user"]["id"] == self.cloud.user_id
        word = "as before" if same else "but as another user or in another project"
        return finding(item.name, same, f"{item.name} authenticates {word}.")

    def _application_restricted(self) -> Finding:
        """A restricted credential must not make another one."""
        item, auth = self.made("application-credential"), self._stored(APPLICATION_CLOUD)
        if not auth:
            return _untried(item, f"secret of {item.name}")
        token = self._use_application(auth).headers["x-subject-token"]
        body = {_CREDENTIAL: {"name": self.name("forbidden")}}
        headers = {"X-Auth-Token": token}

        def ask() -> None:
            path = self.applications.path
            self.api.request("POST", path, json=body, headers=headers, authenticated=False)

        return self.refused(item.name, "Making another credential with a restricted one", ask, 403)

    def _wrong_secret(self) -> Finding:
        item = self.made("application-credential")
        auth = {"application_credential_id": item.id, "application_credential_secret": secrets.token_urlsafe(32)}
        return self.refused(item.name, "A wrong secret", lambda: self._use_application(auth), 401)

    def _wrong_password(self) -> Finding:
        """Tried on the stranger, whom nobody misses if he is locked out; his next login takes the failure back."""
        auth = self._stored(STRANGER)
        if not auth:
            return unseen("password", "The run has no user of another project whose password could be tried.")
        wrong = {**auth, "password": secrets.token_urlsafe(32)}
        scope = {"project": {"id": auth["project_id"]}}
        found = self.refused("password", "A wrong password", lambda: self._use_password(wrong, scope), 401)
        self._use_password(auth, scope)
        return found

    def _trust_works(self) -> Finding:
        """The other user gets the roles that he was trusted with, in the project that he was trusted with."""
        item = self.made("trust")
        try:
            token = self._use_password(self._stored(STRANGER), {"OS-TRUST:trust": {"id": item.id}}).body["token"]
        except HttpError as problem:
            return finding(item.name, False, f"{item.name} does not authenticate any more: {problem}")
        now = {"project_id": token["project"]["id"], "roles": sorted(role["name"] for role in token["roles"])}
        before = {key: item.facts.get(key) for key in now}
        return unchanged("What trust", f"{item.name} grants", before, now)

    def _old_token(self) -> Finding:
        item, token = self.made("token"), self._stored(TOKEN_CLOUD).get("token", "")
        ends = str(item.facts["expires_at"])
        if not token:
            return _untried(item, "token")
        if expired(ends):
            return skipped(item.name, f"The token that was issued before ended at {ends}, as it had to.")
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        try:
            body = self.api.request("GET", "/auth/tokens", headers=headers, authenticated=False).body["token"]
        except HttpError as problem:
            return finding(item.name, False, f"The token that was issued before is not valid: {problem}")
        now = grant_facts(body)
        same = all(item.facts[key] == value for key, value in now.items())
        word = " and unchanged." if same else ", but means something else."
        message = f"The token that was issued before is valid{word}"
        return finding(item.name, same, message, evidence={"expires_at": ends})

    def _revoked_token(self) -> Finding:
        item, token = self.made("revoked-token"), self._stored(REVOKED_CLOUD).get("token", "")
        if not token:
            return _untried(item, "revoked token")
        headers = {"X-Subject-Token": token}
        return self.refused(
            item.name, "A revoked token", lambda: self.api.request("GET", "/auth/tokens", headers=headers), 404
        )

    def _same_grant(self) -> Finding:
        """A new login brings the same roles and the same catalogue."""
        if not self._stored(CLOUD):
            return unseen("user", f"There is no user {CLOUD} in the run's clouds.yaml, so nobody can log in.")
        item = self.made("grant")
        return unchanged("The grant", item.name, item.facts, self._grant())

    def exercises(self) -> Checks:
        """Return what a user does: a new credential, used and deleted."""
        return {"new_credential": self._new_application}

    def cycles(self) -> Checks:
        """Return what needs nothing else: the same."""
        return {"credential": self._new_application}

    def _new_application(self) -> Finding:
        secret = secrets.token_urlsafe(32)
        item = self.ensure(self.applications, "exercise", {"secret": secret})
        auth = {"application_credential_id": item.id, "application_credential_secret": secret}
        self._use_application(auth)
        self.drop(self.applications, item)
        gone = self.refused(item.name, "A deleted credential", lambda: self._use_application(auth), 401, 404)
        word = "works, and no more once it is deleted" if gone.status is Status.PASS else "is let in after its deletion"
        return finding(item.name, gone.status is Status.PASS, f"A new application credential {word}.")

    def remove(self) -> None:
        """Delete what there is; the tokens end with the credential."""
        super().remove()
        for item in self.shop.journal.items(self.service.name):
            if item.type in (_TOKEN, "grant"):
                self.shop.journal.write("deleted", item)


def _untried(item: Item, what: str) -> Finding:
    return unseen(item.name, f"The {what} is not in the run's clouds.yaml, so it cannot be tried.")


def look(look: Look) -> dict[str, Any]:
    """Find the keys that tokens and credentials are encrypted with; of each, its digest."""
    repositories: dict[str, dict[str, str]] = {}
    for folder in look.folders("keystone_keys"):
        keys = {path.name: digest_of(path) for path in sorted(folder.iterdir()) if path.name.isdigit()}
        name = folder.name if folder.name != "_data" else folder.parent.name
        repositories[name] = {**keys, "owner": owner_of(folder)}
    return {"repositories": repositories}


def offline(case: Offline) -> None:
    """The keys are the same on all hosts, and what was encrypted before can still be read."""
    before, now = case.held("repositories", case.before), case.held("repositories")
    if not now:
        case.record("keys_equal", case.seen(judge_equal("The set of keys of keystone", {})))
    for name, held in now.items():
        word = name.replace("-", "_").replace("_keys", "")
        case.record(f"{word}_keys_equal", judge_equal(f"The key repository {name}", held))
        if name in before:
            case.record(f"{word}_keys_kept", judge_keys(name, before[name], held))


def judge_keys(name: str, before: Held, now: Held) -> Finding:
    """Say whether each host still has a key that it had: keys rotate, but what all of them wrote must stay readable."""
    gone = [host for host in sorted(before.keys() & now.keys()) if not _digests(before[host]) & _digests(now[host])]
    words = f"has no key on {', '.join(gone)} that it had: what they encrypted is lost" if gone else "kept its keys"
    return finding(name, not gone, f"The key repository {name} {words}.")


def _digests(keys: Mapping[str, str]) -> set[str]:
    return {digest for name, digest in keys.items() if name.isdigit()}


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


def blob_facts(found: Any) -> dict[str, Any]:
    """Return what must not change of an encrypted credential; of its content, the digest."""
    digest = hashlib.sha256(str(found.get("blob")).encode()).hexdigest()
    return {**{key: found.get(key) for key in ("id", "type", "user_id", "project_id")}, "sha256": digest}


def trust_facts(found: Any) -> dict[str, Any]:
    """Return what must not change of a trust."""
    fields = ("id", "trustor_user_id", "trustee_user_id", "project_id", "impersonation", "expires_at", "remaining_uses")
    roles = sorted(role["name"] for role in found.get("roles", []))
    return {**{key: found.get(key) for key in fields}, "roles": roles}


def catalogue_facts(catalogue: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the endpoints of a catalogue, one a line."""
    return sorted(
        f"{service.get('type')} {point.get('interface')} {point.get('region_id')} {point.get('url')}"
        for service in catalogue
        for point in service.get("endpoints", [])
    )


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
    upkeep=Upkeep(
        configuration=Configured(names=("keystone.conf",), listed=True),
        schemas=(Schema(name="keystone", section="database", migrations="keystone/common/sql/migrations/versions"),),
        status="keystone-status",
        # It loads what makes tokens first, which ends it where there are no keys.
        early=(("token", "provider"), ("fernet_tokens", "key_repository"), ("fernet_receipts", "key_repository")),
    ),
    health=(look_at_token, look_at_registered),
    sample=KeystoneSample,
    look=look,
    offline=offline,
)
