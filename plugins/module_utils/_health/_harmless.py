# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors in logs that say nothing bad of a cloud, with the reason why; each was seen in a cloud that was well.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSION = "2026-11-21"  # of this list; goes into the evidence, so that a judgement can be understood later


@dataclass(frozen=True)
class Harmless:
    """Errors that fit ``pattern``, of one service or of any (empty)."""

    service: str
    pattern: re.Pattern[str]
    why: str


def _known(service: str, pattern: str, why: str) -> Harmless:
    return Harmless(service, re.compile(pattern), why)


HARMLESS: tuple[Harmless, ...] = (
    _known("", r"OSError: write error", "a client or a health check went away before its answer was written"),
    _known("", r"Received method \(60, 30\) during closing channel", "a connection to the queue was closed in order"),
    _known("", r"AMQP server .*[Tt]rying again in", "the connection to the queue is made anew"),
    _known("", r"Connection failed: .*\(retrying in", "the connection to the queue is made anew"),
    _known(
        "keystone",
        r"keystone\.exception\.(?:ForbiddenAction|Forbidden|Unauthorized|\w*NotFound|ValidationError|SchemaValidationError)",
        "a request was refused, which the client was told",
    ),
    _known("nova", r"resource provider generation conflict", "two wrote to placement at once, and it is tried again"),
    _known("neutron", r"Failed reporting state!", "an agent reports again; whether it does is looked at by itself"),
    _known("neutron", r"Error received from \[ovsdb-client monitor", "the agent's own monitor ended with the agent"),
    _known("cinder", r"LockCreationFailed: Coordinator uninitialized", "a message came while its service was stopping"),
)


def why_harmless(service: str, text: str) -> str:
    """Return why an error of a service is harmless; empty when it is not known to be."""
    fitting = (one for one in HARMLESS if one.service in ("", service) and one.pattern.search(text))
    return next((one.why for one in fitting), "")
