# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write every form of the report from the results that lie in a run directory.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import EVENTS, RunDirectory
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._html import html
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._junit import junit
from ansible_collections.openstack.upgrade_test.plugins.plugin_utils._report._markdown import markdown

RESULTS = "results.json"


def write_report(run: RunDirectory) -> None:
    """Write verdict.txt, junit.xml, summary.md and report.html; what is written is redacted once more."""
    results = run.redactor.value(run.read_json(RESULTS))
    run.write_text("verdict.txt", f"{results['verdict']}\n")
    run.write_text("junit.xml", junit(results), rendered=True)
    run.write_text("summary.md", markdown(results), rendered=True)
    run.write_text("report.html", html(results, run.read(EVENTS)), rendered=True)
