# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a cloud within a run: take the fingerprint, compare it with an earlier one, keep it.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._compare import (
    Allowance,
    Comparison,
    compare,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._kinds import Kind
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._model import Fingerprint
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._step import in_step
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._take import take
from ansible_collections.openstack.upgrade_test.plugins.module_utils._fingerprint._tell import (
    VALIDATOR,
    told_of_comparison,
    told_of_look,
    told_of_steps,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome, Status
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._wait import becomes_true

FOLDER = "evidence"
PAUSE = 2.0  # seconds between two looks at what has not come to rest


class Look:
    """One look at a cloud, and what it is compared with."""

    def __init__(self, cloud: Cloud, run: RunDirectory, kinds: Sequence[Kind], *, phase: str = "") -> None:
        """Look at these kinds of things."""
        self.cloud, self.run, self.kinds, self.phase = cloud, run, kinds, phase
        self.fingerprint = self._take(kinds)

    def _take(self, kinds: Sequence[Kind]) -> Fingerprint:
        """Take a fingerprint in the form in which it is kept, so that both of a comparison have the same."""
        document = take(self.cloud, kinds).as_document()
        return Fingerprint.from_document(self.run.redactor.value(document))

    def told(self, name: str, earlier: str | None, allowances: Sequence[Allowance], settle: float) -> list[Outcome]:
        """Return the outcomes, after the differences have had their time to go away."""
        if not earlier:
            becomes_true(self._is_whole, settle, step=PAUSE)
            return [
                *told_of_look(self.fingerprint, self.phase),
                *told_of_steps(in_step(self.fingerprint), self.phase),
            ]
        document = self.run.read_json(_file(earlier))
        if not document:
            return [*told_of_look(self.fingerprint, self.phase), self._nothing_to_compare_with(name, earlier)]
        before = Fingerprint.from_document(document)
        before = replace(
            before, parts={kind.name: before.parts[kind.name] for kind in self.kinds if kind.name in before.parts}
        )
        becomes_true(lambda: self._at_rest(before, allowances), settle, step=PAUSE)
        return [
            *told_of_comparison(compare(before, self.fingerprint, allowances), self.phase, before.taken),
            *told_of_steps(in_step(self.fingerprint), self.phase),
        ]

    def _is_whole(self) -> bool:
        """Whether everything was seen; if not, look again at what was not."""
        unseen = {kind for kind, part in self.fingerprint.parts.items() if part.trouble}
        return not unseen or self._look_again(unseen)

    def _look_again(self, names: set[str]) -> bool:
        """Look at some kinds once more; always false, so that it is asked again whether all is well."""
        again = self._take([kind for kind in self.kinds if kind.name in names])
        self.fingerprint = replace(self.fingerprint, parts={**self.fingerprint.parts, **again.parts})
        return False

    def _at_rest(self, before: Fingerprint, allowances: Sequence[Allowance]) -> bool:
        """Whether nothing is apart any more; if something is, look at those kinds again for the next time."""
        apart = {one.kind for one in compare(before, self.fingerprint, allowances) if _restless(one)}
        torn = {kind for one in in_step(self.fingerprint) if one.faults for kind in one.step.kinds}
        return not (apart or torn) or self._look_again(apart | torn)

    def _nothing_to_compare_with(self, name: str, earlier: str) -> Outcome:
        return Outcome(
            validator=VALIDATOR,
            check="compared",
            service="",
            subject=name,
            status=Status.UNKNOWN,
            message=f"There is no fingerprint {earlier!r} in this run, so it is not known what has changed since.",
            phase=self.phase,
        )

    def keep(self, name: str) -> Path:
        """Write the fingerprint into the run directory; return its path."""
        (self.run.path / FOLDER).mkdir(mode=0o700, exist_ok=True)
        return self.run.write_json(_file(name), self.fingerprint.as_document())


def _restless(one: Comparison) -> bool:
    return bool(one.apart or one.unknown)


def _file(name: str) -> str:
    return f"{FOLDER}/fingerprint-{name}.json"
