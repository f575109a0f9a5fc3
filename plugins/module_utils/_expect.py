# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users expect of the things that were discovered or returned, as JMESPath expressions.

An expression that finds nothing is as true of a cloud in which all is well as of data that do not have what it asks
for. So null is never good, and neither is an expression that names a field which occurs nowhere in the data.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Status

EMPTY, FILLED, TRUE, EQUAL = "empty", "filled", "true", "equal"
MUST_BE = (EMPTY, FILLED, TRUE, EQUAL)
MOST = 4000  # characters of what was found that are kept
_QUOTED = 400  # ... and that are quoted in the sentence


class ExpectationError(Exception):
    """What is wrong with an expectation, in one sentence for the operator."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One expression and what its result has to be; ``parsed`` is what jmespath made of ``query``."""

    name: str
    service: str
    query: str
    must_be: str
    value: Any
    parsed: Any

    def expected(self) -> Any:
        """Return what is expected, as the outcome says it."""
        return self.value if self.must_be == EQUAL else self.must_be


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What became of an expectation."""

    status: Status
    message: str
    found: Any = None


def read_expectations(given: Sequence[Mapping[str, Any]]) -> list[Expectation]:
    """Return the checked expectations; ExpectationError names the entry and what is wrong with it."""
    return [_read(entry, f"expectations[{number}]") for number, entry in enumerate(given)]


def _read(entry: Mapping[str, Any], where: str) -> Expectation:
    value, must_be = entry.get("value"), entry.get("must_be")
    must_be = must_be or (EMPTY if value is None else EQUAL)
    if must_be != EQUAL and value is not None:
        raise ExpectationError(f"{where}.value: goes with must_be: {EQUAL} only, not with {must_be}.")
    return Expectation(
        name=str(entry["name"]),
        service=str(entry["service"]),
        query=str(entry["query"]),
        must_be=must_be,
        value=value,
        parsed=_compiled(str(entry["query"]), f"{where}.query"),
    )


def _compiled(query: str, where: str) -> Any:
    try:
        import jmespath
        from jmespath.functions import Functions
    except ImportError:
        raise ExpectationError(
            "expectations: need the Python library jmespath where the playbook runs; pip install jmespath."
        ) from None
    try:
        parsed = jmespath.compile(query)
    except jmespath.exceptions.JMESPathError as problem:
        # The lines behind the first one only repeat the expression.
        text = str(problem).splitlines()[0].partition(", for expression")[0].rstrip(".:")
        text = text.removeprefix("Invalid jmespath expression: ")
        raise ExpectationError(f"{where}: {query!r} is no JMESPath expression: {text}.") from None
    for node in _nodes(parsed.parsed):
        if node["type"] == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE:
            raise ExpectationError(f"{where}: {query!r} calls {node['value']}(), which JMESPath does not have.")
    return parsed


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Yield all nodes of a parsed expression."""
    if isinstance(tree, Mapping) and "type" in tree:
        yield tree
        for child in tree.get("children", ()):
            yield from _nodes(child)


def judge(expectation: Expectation, data: Any) -> Judgement:
    """Say whether the data are as expected."""
    from jmespath import exceptions

    strange = _strange_field(expectation, data)
    if strange:
        return Judgement(status=Status.UNKNOWN, message=f"{expectation.name}: {strange}")
    try:
        found = expectation.parsed.search(data)
    except exceptions.JMESPathTypeError as problem:
        # What could not be seen is null, and functions do not take it.
        status = Status.UNKNOWN if str(problem.actual_type) == "null" else Status.ERROR
        return Judgement(status=status, message=f"{expectation.name}: {_one_line(problem)}")
    except exceptions.JMESPathError as problem:
        return Judgement(status=Status.ERROR, message=f"{expectation.name}: {_one_line(problem)}")
    status, what = _compare(expectation, found)
    return Judgement(status=status, message=f"{expectation.name}: {what}", found=brief(found))


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())


def _strange_field(expectation: Expectation, data: Any) -> str:
    """Say which field the expression names that nothing in the data has; empty when there is none."""
    nodes = list(_nodes(expectation.parsed.parsed))
    # What the expression itself makes, as in {host: binary}, may be named behind it.
    known = set(_keys(data)) | {node["value"] for node in nodes if node["type"] == "key_val_pair"}
    strange = [node["value"] for node in nodes if node["type"] == "field" and node["value"] not in known]
    if not strange:
        return ""
    near = difflib.get_close_matches(strange[0], sorted(known), n=1)
    hint = f"; did you mean {near[0]}?" if near else ", so there was nothing to look at."
    return f"nothing that was discovered has the field {strange[0]}{hint}"


def _keys(data: Any) -> Iterator[str]:
    """Yield every key of every dictionary in the data."""
    if isinstance(data, Mapping):
        yield from data
    values = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    for value in values:
        yield from _keys(value)


def _compare(expectation: Expectation, found: Any) -> tuple[Status, str]:
    said = quoted(found)
    if expectation.must_be == EQUAL:
        same = found == expectation.value and isinstance(found, bool) == isinstance(expectation.value, bool)
        return (Status.PASS, f"found {said}.") if same else _wrong(found, f"{said}, not {quoted(expectation.value)}")
    if expectation.must_be == TRUE:
        return (Status.PASS, "is true.") if found is True else _wrong(found, f"{said}, not true")
    if found is not None and not isinstance(found, (str, list, dict)):
        return Status.ERROR, f"gives {said}, which is neither empty nor filled: use must_be: equal with a value."
    if expectation.must_be == FILLED:
        return (Status.PASS, f"found {said}.") if found else _wrong(found, "nothing")
    return _wrong(found, f"{_number(found)}: {said}") if found or found is None else (Status.PASS, "nothing found.")


def _wrong(found: Any, what: str) -> tuple[Status, str]:
    if found is None:
        return Status.UNKNOWN, "what it asks for was not seen: the result is null."
    return Status.FAIL, f"found {what}."


def _number(found: Any) -> str:
    return str(len(found)) if isinstance(found, (list, dict)) else "a text"


def quoted(found: Any) -> str:
    """Return a value as JSON for a sentence; of a long list the entries that fit, and how many more there are."""
    shown = _json(_cut(found, _QUOTED))
    return shown if len(shown) <= _QUOTED else f"{shown[: _QUOTED - 3]}..."


def brief(found: Any) -> Any:
    """Return a value as it is, or of a long one as much as a record should hold."""
    shown = _cut(found, MOST)
    text = _json(shown)
    return shown if len(text) <= MOST else f"{text[:MOST]}..."


def _cut(found: Any, most: int) -> Any:
    """Return the entries of a list that fit into ``most`` characters, one at least; anything else as it is."""
    if not isinstance(found, list) or len(found) < 2 or len(_json(found)) <= most:
        return found
    kept = found[:1]
    while len(_json([*kept, found[len(kept)], _more(found, kept)])) <= most:
        kept.append(found[len(kept)])
    return [*kept, _more(found, kept)]


def _more(found: list[Any], kept: list[Any]) -> str:
    return f"and {len(found) - len(kept)} more"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
