# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove secrets from what is about to be written: known values, patterns of text, and keys of structures.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST_SECRET = 6  # shorter values are words of any text; replacing them would destroy the text and hide nothing

_SECRET_KEYS = frozenset(
    {
        "adminpass",
        "adminpassword",
        "admin_pass",
        "admin_password",
        "access_token",
        "api_key",
        "apikey",
        "application_credential_secret",
        "auth_token",
        "authorization",
        "bearer_token",
        "client_secret",
        "cookie",
        "currentpassword",
        "newpassword",
        "original_password",
        "passcode",
        "passphrase",
        "passwd",
        "password",
        "personality",
        "private_key",
        "refresh_token",
        "secret",
        "secret_key",
        "set_cookie",
        "token",
        "user_data",
        "userdata",
        "user_password",
        "x_auth_token",
        "x_service_token",
        "x_storage_token",
        "x_subject_token",
    }
)
_NAME = r"[\w.\-]*(?:passw(?:or)?d|passphrase|passcode|admin_?pass|secret(?:_?key)?|api_?key|private_?key|access_?key)"
# The value of a pair: quoted (with escaped quotes inside), or up to the next blank or separator.
_VALUE = r"""(?:\\?"(?:[^"\\]|\\[^"]|\\.(?!$))*?\\?"|'[^']*'|[^\s,;&'"\\}\]]+)"""
_PATTERNS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "private_key",
        re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        "",
    ),
    (
        "token",
        re.compile(r"(X-(?:Auth|Subject|Service|Storage)-Token['\"\\]*\s*[:=]\s*)['\"\\]*[^\s'\",;\\]+", re.IGNORECASE),
        r"\1",
    ),
    (
        "authorization",
        re.compile(r"(Authorization['\"\\]*\s*[:=]\s*['\"\\]*)(?:[A-Za-z0-9]+ +)?[^\s'\",\\]+", re.IGNORECASE),
        r"\1",
    ),
    ("authorization", re.compile(r"(\b(?:Bearer|Basic) +)[A-Za-z0-9+/_.~=\-]{8,}"), r"\1"),
    ("cookie", re.compile(r"(\b(?:Set-)?Cookie['\"\\]*\s*[:=]\s*['\"\\]*)[^\r\n'\"]+", re.IGNORECASE), r"\1"),
    ("url_password", re.compile(r"(\b[a-z][a-z0-9+.\-]*://[^\s/:@'\"]*:)[^\s/@'\"]+(?=@)", re.IGNORECASE), r"\1"),
    (
        "signature",
        re.compile(r"(\b(?:temp_url_sig|temp_url_key|X-Amz-Signature|signature)=)[^\s&'\"]+", re.IGNORECASE),
        r"\1",
    ),
    ("token", re.compile(r"\bgAAAAA[A-Za-z0-9_\-]{16,}(?:={0,2}|(?:%3D){0,2})"), ""),
    ("token", re.compile(r"\beyJ[A-Za-z0-9_\-]+\.eyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*"), ""),
    ("token", re.compile(r"(\b[\w.\-]*token['\"\\]*\s*[:=]\s*['\"\\]*)[A-Za-z0-9_\-.]{16,}", re.IGNORECASE), r"\1"),
    ("secret", re.compile(rf"((?:\A|[^\w.\-]){_NAME}\\?['\"]?\s*[:=]\s*){_VALUE}", re.IGNORECASE), r"\1"),
    ("secret", re.compile(rf"(--{_NAME}[ =]){_VALUE}", re.IGNORECASE), r"\1"),
    ("secret", re.compile(r"(\bcurl\b[^\r\n]*?\s(?:-u|--user)[ =]?)[^\s]+"), r"\1"),
)


def _mark(kind: str) -> str:
    """Return what is written in place of a secret of this kind."""
    return f"[redacted:{kind}]"


def _normal(key: object) -> str:
    """Return a key in the form in which the table of secret keys is written."""
    return str(key).strip().lower().replace("-", "_")


def _forms(secret: str) -> set[str]:
    """Return the ways in which one secret may stand in a text."""
    raw = secret.encode()
    escaped = json.dumps(secret)[1:-1]
    forms = {secret, quote(secret, safe=""), quote_plus(secret), escaped, json.dumps(secret, ensure_ascii=False)[1:-1]}
    return forms | {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}


def secrets_in_clouds_yaml(text: str) -> set[str]:
    """Return the values of secret keys in a clouds.yaml; read line by line, as hosts need not have a YAML library."""
    found = set()
    for line in text.splitlines():
        match = re.match(r"""\s*-?\s*["']?([\w\-]+)["']?\s*:\s*(.*\S)\s*$""", line)
        if match and (_normal(match[1]) in _SECRET_KEYS or re.fullmatch(_NAME, match[1], re.IGNORECASE)):
            found.add(_scalar(match[2]))
    return {secret for secret in found if secret}


def _scalar(text: str) -> str:
    """Return the value of a one-line YAML scalar, without its quotes or comment."""
    if text.startswith('"'):
        try:
            return str(json.loads(text[: text.rindex('"') + 1]))
        except ValueError:
            return text.strip('"')
    if text.startswith("'"):
        return text[1 : text.rindex("'")].replace("''", "'") if text.count("'") > 1 else text[1:]
    return re.split(r"\s+#", text, maxsplit=1)[0]


class Redactor:
    """Replace secrets by ``[redacted:kind]`` and count what was replaced, per kind, in ``counts``."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Know these secrets from the start; those shorter than six characters are left out."""
        self.counts: dict[str, int] = {}
        self._known: re.Pattern[str] | None = None
        self._forms: set[str] = set()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know these secrets too, in all forms in which they may be written."""
        for secret in secrets:
            if secret and len(secret) >= SHORTEST_SECRET:
                self._forms |= _forms(secret)
        ordered = sorted(self._forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """Return the text without secrets; applying it twice changes nothing more."""
        text = self.known(text)
        for kind, pattern, keep in _PATTERNS:
            text = self._apply(kind, pattern, keep, text)
        return text

    def known(self, text: str) -> str:
        """Return the text without the known secrets only: for markup, which patterns would break."""
        if self._known:
            text, count = self._known.subn(_mark("known"), text)
            self._count("known", count)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value without secrets: texts cleaned, values of secret keys replaced."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._member(key, item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(item) for item in value]
        return value

    def _apply(self, kind: str, pattern: re.Pattern[str], keep: str, text: str) -> str:
        def replace(match: re.Match[str]) -> str:
            if "[redacted:" in match[0]:
                return match[0]
            self._count(kind, 1)
            return (match[1] if keep else "") + _mark(kind)

        return pattern.sub(replace, text)

    def _member(self, key: object, item: Any) -> Any:
        if _normal(key) in _SECRET_KEYS and item not in (None, "", [], {}) and not isinstance(item, (bool, int, float)):
            self._count("key", 1)
            return item if isinstance(item, str) and item.startswith("[redacted:") else _mark("key")
        return self.value(item)

    def _count(self, kind: str, count: int) -> None:
        if count:
            self.counts[kind] = self.counts.get(kind, 0) + count
