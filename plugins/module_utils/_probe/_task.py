# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An observer as a task: from checked options to the result of a module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._control import report
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import LaneSpec
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._observer import Plan, observe
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._reader import (
    Observation,
    read_observations,
)

MOST_OUTAGES = 50
"""Outages of one target in a result; the log keeps them all."""


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
