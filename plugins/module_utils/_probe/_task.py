# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An observer as a task: from checked options to the result of a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import report
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import MAX_BYTES, Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._options import (
    check_bytes,
    check_nice,
    check_positive,
    tls_context,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    read_observations,
)

ARGUMENTS: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "duration": {"type": "float", "default": 0.0},
    "timeout": {"type": "float", "default": 5.0},
    "slow_after": {"type": "float", "default": 1.0},
    "max_bytes": {"type": "int", "default": MAX_BYTES},
    "nice": {"type": "int", "default": 0},
    "realtime": {"type": "bool", "default": False},
}
"""What every observer that samples can be told; keep in step with doc_fragments/observer.py."""
TLS_ARGUMENTS: dict[str, Any] = {
    "validate_certs": {"type": "bool", "default": True},
    "ca_cert": {"type": "path"},
}
"""Those that ask over HTTPS, too; keep in step with the same file's TLS."""
MOST_OUTAGES = 50
"""Outages of one target in a result; the log keeps them all."""


def plan_of(params: Mapping[str, Any]) -> Plan:
    """What the options of a module say; raises ProbeError."""
    return Plan(
        directory=Path(params["directory"]),
        duration=check_positive(params["duration"], "duration", zero=True),
        timeout=check_positive(params["timeout"], "timeout"),
        slow_after=check_positive(params["slow_after"], "slow_after"),
        max_bytes=check_bytes(params["max_bytes"], "max_bytes"),
        nice=check_nice(params["nice"], "nice"),
        realtime=params["realtime"],
        # Those that have no such option ask whether a server answers, not whose certificate it shows.
        tls=tls_context(validate=params.get("validate_certs", False), ca_cert=params.get("ca_cert")),
    )


def run_task(plan: Plan, lanes: Sequence[LaneSpec], *, check: bool) -> dict[str, Any]:
    """Observe to the end and sum up; check only says what would be observed. Raises ProbeError."""
    if check:
        return {"observer": described(plan, lanes), "observations": []}
    observe(plan, lanes)
    observations = [short(observation) for observation in read_observations(plan.directory)]
    return {"observer": report(plan.directory), "observations": observations}


def described(plan: Plan, lanes: Sequence[LaneSpec]) -> dict[str, Any]:
    """What would be observed."""
    return {
        "state": "not started",
        "message": f"would send {sum(lane.rate for lane in lanes):g} probes per second to {len(lanes)} targets",
        "directory": str(plan.directory),
        "targets": [lane.as_record() for lane in lanes],
    }


def short(observation: Observation) -> dict[str, Any]:
    """An observation as part of a result."""
    record = observation.as_record()
    del record["gaps"]
    outages = record["outages"]
    return record | {"outages": list(outages[:MOST_OUTAGES]), "outages_total": len(outages)}
