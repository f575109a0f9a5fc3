# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The witness inside a guest: what it tells, and what follows from it.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

A guest that was cut off, one that was paused and one that was rebooted look the same from outside: silent. The witness
in the guest counts its own seconds, and tells them afterwards. Its boot id says whether it is the same boot; its
uptime, beside the seconds that passed outside, whether it stood still; its longest gap between two beats, whether it
ran but got nothing done. A guest that did none of these and was silent all the same was cut off from the network.

The witness also writes numbers, one after the other, and acknowledges each when it is on disk. Every number that was
acknowledged must be there afterwards, once, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import pairwise

SLACK = 2.0  # seconds by which two looks at a clock may differ without a reason
DRIFT = 0.002  # share by which the clock of an emulated guest may differ from the world's
BEAT_LIMIT = 15.0  # seconds without a beat after which a guest that ran was stalled; a busy host may take a few
SECTOR = 512  # bytes of a record on the volume
OFFSET = 1024 * 1024  # where the records begin; what lies before is the volume's content


class Silence(StrEnum):
    """What a guest went through."""

    NONE = "it was never silent"
    NETWORK = "it was cut off from the network, and ran on"
    PAUSED = "it stood still, as if paused"
    STALLED = "it ran and got nothing done"
    REBOOTED = "it rebooted"


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One look at the witness: ``seen`` by the clock outside, the rest by the guest's own; times in seconds."""

    seen: float
    boot_id: str
    number: int
    uptime: float
    longest_gap: float

    def as_facts(self) -> dict[str, float | int | str]:
        """Return the form in which it is journaled."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Testimony:
    """What two looks at the witness say together, ``lost`` being the seconds in which the guest stood still."""

    silence: Silence
    lost: float


def read_beat(text: str, seen: float) -> Beat | None:
    """Return what the page of the witness says: boot id, number, uptime, longest gap; None when it does not."""
    words = text.split()
    try:
        boot_id, number, uptime, gap = words[0], int(words[1]), float(words[2]), float(words[3])
    except (IndexError, ValueError):
        return None
    return Beat(seen=seen, boot_id=boot_id, number=number, uptime=uptime, longest_gap=gap)


def from_facts(facts: Mapping[str, float | int | str] | None) -> Beat | None:
    """Return a beat from its journaled form; None when there is none."""
    if not facts:
        return None
    return Beat(
        seen=float(facts["seen"]),
        boot_id=str(facts["boot_id"]),
        number=int(facts["number"]),
        uptime=float(facts["uptime"]),
        longest_gap=float(facts["longest_gap"]),
    )


def tell(before: Beat, now: Beat, silent: float = 0.0) -> Testimony:
    """Say what the guest went through between two looks, of which it was silent to the outside for some seconds."""
    if now.boot_id != before.boot_id or now.uptime < before.uptime:
        return Testimony(silence=Silence.REBOOTED, lost=0.0)
    outside, inside = now.seen - before.seen, now.uptime - before.uptime
    lost = outside - inside
    if lost > SLACK + DRIFT * outside:
        return Testimony(silence=Silence.PAUSED, lost=lost)
    if now.longest_gap > BEAT_LIMIT and now.longest_gap > before.longest_gap:
        return Testimony(silence=Silence.STALLED, lost=0.0)
    return Testimony(silence=Silence.NETWORK if silent > 0 else Silence.NONE, lost=0.0)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of numbers: those that are missing, there twice, or out of order, each named once."""

    last: int
    missing: tuple[int, ...]
    twice: tuple[int, ...]
    disordered: tuple[int, ...]

    @property
    def good(self) -> bool:
        """Whether each number is there, once, in order."""
        return not (self.missing or self.twice or self.disordered)

    def in_words(self) -> str:
        """Return it as half a sentence."""
        wrong = {"missing": self.missing, "there twice": self.twice, "out of order": self.disordered}
        words = [f"{_some(numbers)} {what}" for what, numbers in wrong.items() if numbers]
        return "; ".join(words) or f"1 to {self.last} are there, once and in order"


def _some(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return ", ".join(map(str, numbers[:5])) + more


def judge_numbers(found: Sequence[int], acknowledged: int) -> Written:
    """Compare the numbers that were found, in their order, with all from 1 to the last one acknowledged.

    A number above it was being written when somebody looked: it may be there or not.
    """
    seen: set[int] = set()
    twice = []
    for number in found:
        if number in seen:
            twice.append(number)
        seen.add(number)
    disordered = [after for before, after in pairwise(found) if after < before]
    missing = [number for number in range(1, acknowledged + 1) if number not in seen]
    return Written(last=acknowledged, missing=tuple(missing), twice=tuple(twice), disordered=tuple(disordered))


def runs_of(numbers: Sequence[int]) -> list[list[int]]:
    """Return numbers as runs that count up, each by its first and last one: short, and nothing is lost."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def numbers_in(runs: Sequence[Sequence[int]]) -> list[int]:
    """Return the numbers of runs."""
    return [number for first, last in runs for number in range(first, last + 1)]


def read_numbers(records: bytes) -> list[int]:
    """Return the numbers of the records on a volume; a sector that holds no record adds none."""
    sectors = (records[begin : begin + SECTOR] for begin in range(0, len(records), SECTOR))
    words = (sector.strip(b"\0 \n").split(maxsplit=1) for sector in sectors)
    return [int(word[0]) for word in words if word and word[0].isdigit()]
