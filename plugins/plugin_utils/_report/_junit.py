# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as JUnit XML: one suite for each upgrade tag, one test case for each requirement of each service.

Note that this plugin util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

# Everything that XML 1.0 does not allow, such as the escapes of coloured logs.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: object) -> str:
    """Return a text that XML can hold."""
    return FORBIDDEN.sub("\ufffd", str(text))


def junit(results: Mapping[str, Any]) -> str:
    """Return the XML document."""
    root = ElementTree.Element("testsuites", name="openstack.upgrade_test")
    for claim in results["claims"]:
        cases = [one for one in results["requirements"] if one["tag"] == claim["id"]]
        root.append(_suite(claim, cases, results))
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key) or 0) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(claim: Mapping[str, Any], cases: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Any:
    suite = ElementTree.Element("testsuite", name=clean(claim["tag"]))
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("run_id", "cloud", "driver", "from_release", "to_release", "state"):
        ElementTree.SubElement(properties, "property", name=name, value=clean(results["run"].get(name) or ""))
    ElementTree.SubElement(properties, "property", name="verdict", value=clean(claim["verdict"]))
    suite.extend(_case(one, asked=claim["asked"]) for one in cases)
    suite.set("tests", str(len(cases)))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(len(suite.findall(f"testcase/{tag}"))))
    started = results["run"].get("started")
    if isinstance(started, (int, float)):
        suite.set("timestamp", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(started)))
    return suite


def _case(one: Mapping[str, Any], *, asked: bool) -> Any:
    """Write one requirement: FAIL is a failure; NOT PROVEN an error of a claim that was asked, and else skipped.

    What only a person can vouch for is skipped when nobody does: no run can change it.
    """
    name = clean(f"{one['id']} {one['title']}")
    case = ElementTree.Element(
        "testcase", classname=clean(f"upgrade.{one['tag']}.{one['service']}"), name=name, time="0"
    )
    sentence, body = clean(one["sentence"]), clean("\n".join([one["sentence"], *one["evidence"]]))
    if one["result"] == "FAIL" and asked:
        ElementTree.SubElement(case, "failure", message=sentence, type=one["id"]).text = body
    elif one["result"] == "NOT PROVEN" and asked and one["kind"] in ("measured", "derived"):
        ElementTree.SubElement(case, "error", message=f"NOT PROVEN: {sentence}", type="not_proven").text = body
    elif one["result"] in ("PASS", "ATTESTED"):
        ElementTree.SubElement(case, "system-out").text = body
    else:
        ElementTree.SubElement(case, "skipped", message=clean(f"{one['result']}: {one['sentence']}"))
    return case
