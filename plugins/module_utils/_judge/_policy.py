# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a run, and how strictly its records are read.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

CLAIMS = ("rolling", "zero_downtime", "zero_impact")
KNOWN_CLAIMS = ("upgrade", "accessible", *CLAIMS)


@dataclass(frozen=True, kw_only=True)
class Attestation:
    """What a person vouches for, as no run can show it; an empty ``service`` means every service."""

    requirement: str
    by: str
    url: str
    date: str = ""
    service: str = ""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The rules of judging; times in seconds. The defaults are the strict reading of the tags."""

    claims: tuple[str, ...] = CLAIMS
    attestations: tuple[Attestation, ...] = ()
    least_coverage: float = 0.999
    hole_intervals: float = 2.0
    slowest_interval: float = 0.2  # the published endpoints are to be asked at least five times a second
    unnoticed_factor: float = 1.2  # an answer that takes no longer than so many times what it took before, ...
    unnoticed_delay: float = 0.01  # ... or so much longer, is not felt as delayed
    slowest_factor: float = 2.0  # how many times as long as the slowest answer before a single answer may take
    late_start: float = 2.0  # an observer may begin so much after the upgrade phase without a hole
    same_cause: float = 5.0  # outages of one service nearer than this are one finding
    before_outage: float = 30.0
    after_outage: float = 10.0

    def attested(self, requirement: str, service: str) -> Attestation | None:
        """Return who vouches for this requirement of this service, if anybody does."""
        fitting = (one for one in self.attestations if one.requirement == requirement)
        return next((one for one in fitting if one.service in ("", service)), None)


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One line of a tag's checklist.

    ``kind``: ``measured`` (a run can show it), ``attested`` (only a person can vouch for it), ``derived`` (from another
    tag), ``note`` (told, but no part of the tag). ``also`` marks what the collection adds to the tag's own text.
    """

    id: str
    tag: str
    title: str
    kind: str = "measured"
    also: bool = False


@dataclass(frozen=True, kw_only=True)
class Tag:
    """One upgrade tag: its title, its official name, and the tags whose requirements it takes over."""

    id: str
    title: str
    name: str
    needs: tuple[str, ...] = ()
    question: str = field(default="")


TAGS: Mapping[str, Tag] = MappingProxyType(
    {
        tag.id: tag
        for tag in (
            Tag(
                id="upgrade",
                title="Upgrade",
                name="assert:supports-upgrade",
                question="Is the cloud on the new release, with everything kept?",
            ),
            Tag(
                id="accessible",
                title="Accessible upgrade",
                name="assert:supports-accessible-upgrade",
                needs=("upgrade",),
                question="Could the servers be reached all the time?",
            ),
            Tag(
                id="rolling",
                title="Rolling upgrade",
                name="assert:supports-rolling-upgrade",
                needs=("upgrade",),
                question="Did old and new code work side by side?",
            ),
            Tag(
                id="zero_downtime",
                title="Zero downtime",
                name="assert:supports-zero-downtime-upgrade",
                needs=("upgrade", "rolling"),
                question="Did every API answer all the time?",
            ),
            Tag(
                id="zero_impact",
                title="Zero impact",
                name="assert:supports-zero-impact-upgrade",
                needs=("upgrade", "rolling", "zero_downtime"),
                question="Did nobody notice anything?",
            ),
        )
    }
)

REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement(id="U0", tag="upgrade", title="The upgrade ran to its end", also=True),
    Requirement(id="U1", tag="upgrade", title="A long-lived service with an API"),
    Requirement(id="U2a", tag="upgrade", title="The configuration of the old release works with the new one"),
    Requirement(id="U2b", tag="upgrade", title="Sane defaults: no step by hand, the upgrade check passes"),
    Requirement(id="U3a", tag="upgrade", title="Database schema updates are stable and ordered"),
    Requirement(id="U3b", tag="upgrade", title="No data is lost, tried with actual data"),
    Requirement(id="U3c", tag="upgrade", title="Data migration is tested on every proposed commit", kind="attested"),
    Requirement(
        id="U4", tag="upgrade", title="The procedure is defined and stays from cycle to cycle", kind="attested"
    ),
    Requirement(id="U5", tag="upgrade", title="Release notes say what an upgrade asks of operators", kind="attested"),
    Requirement(id="U6", tag="upgrade", title="Controlled resources do not change their state"),
    Requirement(id="U7", tag="upgrade", title="From one stable release to the next, on all hosts"),
    Requirement(id="U8", tag="upgrade", title="As healthy after the upgrade as before", also=True),
    Requirement(id="C1", tag="accessible", title="Everything the upgrade tag asks for", kind="derived"),
    Requirement(id="C2", tag="accessible", title="Controlled resources can be reached all the time"),
    Requirement(id="C2b", tag="accessible", title="Limits of accessibility are documented", kind="attested"),
    Requirement(id="C3", tag="accessible", title="Accessibility was watched throughout the upgrade"),
    Requirement(id="C3b", tag="accessible", title="A gate job watches accessibility", kind="attested"),
    Requirement(id="R1", tag="rolling", title="Everything the upgrade tag asks for", kind="derived"),
    Requirement(id="R2", tag="rolling", title="New code goes to some instances first; both releases run and serve"),
    Requirement(id="R2b", tag="rolling", title="The plan names the supported configurations", kind="attested"),
    Requirement(id="R3", tag="rolling", title="Services of both releases work together"),
    Requirement(id="R3b", tag="rolling", title="Mixed releases are tested on every proposed commit", kind="attested"),
    Requirement(id="R4", tag="rolling", title="Nothing stays pinned to the old release", kind="note"),
    Requirement(id="Z1", tag="zero_downtime", title="Everything the upgrade and rolling tags ask for", kind="derived"),
    Requirement(id="Z2", tag="zero_downtime", title="The API has no downtime"),
    Requirement(id="Z3", tag="zero_downtime", title="No request fails that would have succeeded"),
    Requirement(id="Z4", tag="zero_downtime", title="Every accepted request is finished in the end"),
    Requirement(id="Z5", tag="zero_downtime", title="Requests succeed at the normal rate throughout"),
    Requirement(id="Z6", tag="zero_downtime", title="Both releases run at once while the API is watched"),
    Requirement(id="Z6b", tag="zero_downtime", title="A zero-downtime gate job", kind="attested"),
    Requirement(id="I1", tag="zero_impact", title="Everything the other tags ask for", kind="derived"),
    Requirement(id="I2", tag="zero_impact", title="No abnormally high load on any part of the cloud"),
    Requirement(id="I3", tag="zero_impact", title="No request is delayed, not even now and then"),
    Requirement(id="I4", tag="zero_impact", title="Normal performance under load while both releases run"),
    Requirement(id="I5", tag="zero_impact", title="No statistically significant outliers of response times"),
    Requirement(id="I5b", tag="zero_impact", title="A zero-impact gate job", kind="attested"),
)
