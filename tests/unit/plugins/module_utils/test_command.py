# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a command's output in one line."""

from __future__ import annotations

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._command import last_word

LOGGED = "2026-11-22 04:38:47.068 5709 ERROR tempest "
TRACEBACK = """Traceback (most recent call last):
  File "/lib/config_tempest/main.py", line 666, in main
    config_tempest(
  File "/lib/tempest/auth.py", line 574, in base_url
    raise exceptions.EndpointNotFound(msg % (
          ^^^^^^^^^^^^^^^^^^^^^^^^^^^
tempest.lib.exceptions.EndpointNotFound: Endpoint not found
Details: No matching service found in the catalog.
Catalog: [...]
"""


@pytest.mark.parametrize("prefix", ["", LOGGED, f"{LOGGED}[req-1 a b] "])
def test_the_exception_of_a_traceback_says_why(prefix: str) -> None:
    """Also where each line of it is one of a log, and details follow."""
    lines = [f"{prefix}{line}" for line in TRACEBACK.split("\n")]

    assert last_word(["begins", *lines]) == "tempest.lib.exceptions.EndpointNotFound: Endpoint not found"


def test_without_a_traceback_it_is_the_last_line() -> None:
    """Blank lines do not count; of a line of a log it is what it says."""
    assert last_word(["one", " two ", "", " "]) == "two"
    assert last_word([f"{LOGGED}no such image", LOGGED]) == "no such image"
    assert last_word(["no such image", LOGGED.replace("ERROR", "INFO") + "done"]) == "no such image"
    assert last_word(["", " "]) == last_word([]) == ""
