# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._redact import Redactor, secrets_in_clouds_yaml
from hypothesis import given
from hypothesis import strategies as st

CANARY = "c4n4ry-S3cr3t"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"
FERNET = "gAAAAABmT0ken" + "x" * 120

LEAKS = [
    f"curl -H 'X-Auth-Token: {CANARY}' http://nova",
    f"X-Subject-Token: {CANARY}",
    f'{{"X-Auth-Token": "{CANARY}"}}',
    f"OS_PASSWORD={CANARY}",
    f"export OS_APPLICATION_CREDENTIAL_SECRET={CANARY}",
    f"application_credential_secret: {CANARY}",
    f"password: '{CANARY}'",
    f'"password": "{CANARY}"',
    f"{{'adminPass': '{CANARY}'}}",
    f"admin_pass = {CANARY}",
    f"mysql+pymysql://nova:{CANARY}@10.0.0.1/nova",
    f"rabbit://guest:{CANARY}@10.0.0.1:5672//",
    f"Set-Cookie: session={CANARY}; Path=/",
    f"https://swift/v1/x?temp_url_sig={CANARY}&temp_url_expires=1",
    f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\ncut off",
    f"Authorization: Bearer {CANARY}",
    f"authorization: Basic {base64.b64encode(CANARY.encode()).decode()}",
    f"openstack --os-password {CANARY} server list",
    f"curl -u admin:{CANARY} http://x",
    f"transport_url password={CANARY}, next=1",
    f"a token {JWT} in a sentence",
    f"a token {FERNET} in a sentence",
    f"auth_token={CANARY}{CANARY}",
]


@pytest.mark.parametrize("text", LEAKS)
def test_patterns_find_secrets_nobody_told(text: str) -> None:
    """A secret in one of the usual places goes, even when it is not known."""
    clean = Redactor().text(text)

    assert "[redacted:" in clean
    for secret in (CANARY, base64.b64encode(CANARY.encode()).decode(), JWT, FERNET):
        assert secret not in clean


@pytest.mark.parametrize("text", LEAKS)
def test_redacting_twice_changes_nothing(text: str) -> None:
    """What is clean stays as it is, so that records may pass through several writers."""
    once = Redactor().text(text)

    assert Redactor().text(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "Keystone issued a token in 0.2 s.",
        "nova-api on control1 runs 31.0.0 (2025.1).",
        "http://10.81.0.10:5000/v3",
        "No answer for 2.04 s over public, new connection; 20 failures: 20 http_5xx_haproxy",
        "samples/api_uptime/localhost",
    ],
)
def test_ordinary_text_is_kept(text: str) -> None:
    """Sentences of a report stay readable."""
    assert Redactor().text(text) == text


@given(st.text(min_size=6, max_size=40), st.text(max_size=30), st.text(max_size=30))
def test_known_secret_never_remains(secret: str, before: str, after: str) -> None:
    """Whatever a known secret is, it goes in every form in which it is usually written."""
    redactor = Redactor([secret])
    forms = [secret, quote(secret, safe=""), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()]

    for form in forms:
        assert redactor.known(f"{before}\n{form}\n{after}").count(form) <= f"{before}\n[redacted:known]\n{after}".count(
            form
        )


def test_structure_drops_secret_keys() -> None:
    """Values under the names of secrets go whole; numbers and empty ones say nothing and stay."""
    value = {
        "adminPass": CANARY,
        "user_data": {"any": CANARY},
        "list": [{"Password": CANARY}, ("x", f"token={CANARY}{CANARY}")],
        "token": "",
        "secret": 3,
        "name": "kept",
    }
    clean = Redactor().value(value)

    assert CANARY not in json.dumps(clean)
    assert (clean["name"], clean["token"], clean["secret"]) == ("kept", "", 3)


def test_short_secrets_are_left_out() -> None:
    """A secret of five characters would tear up every sentence."""
    assert Redactor(["admin"]).text("admin asks") == "admin asks"


def test_counts_what_was_redacted() -> None:
    """The report can say how much was removed."""
    redactor = Redactor([CANARY])
    redactor.text(f"{CANARY} and {CANARY}, password=other-one")

    assert redactor.counts == {"known": 2, "secret": 1}


def test_clouds_yaml_gives_its_secrets() -> None:
    """Secrets are found without a YAML library, with quotes and comments, and nothing else is."""
    text = f"""
clouds:
  upgrade_test:
    auth:
      auth_url: http://10.0.0.1:5000
      username: somebody
      password: "{CANARY}\\"x"
      application_credential_secret: {CANARY}2  # of last week
    other: {{}}
    passcode: '{CANARY}''3'
"""

    assert secrets_in_clouds_yaml(text) == {f'{CANARY}"x', f"{CANARY}2", f"{CANARY}'3"}
