# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._cloud import Cloud
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._apis import (
    Offer,
    ask,
    judge_apis,
    newest,
    summary_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._release._verdict import Target
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB")
OLD, NEW = Target(releases=("2025.1",)), Target(releases=("2026.1",))
NOVA = '{"versions": [{"id": "v2.0", "status": "SUPPORTED"}, {"id": "v2.1", "status": "CURRENT", "version": "%s"}]}'


def offer(*versions: str, service: str = "nova", **more: Any) -> Offer:
    return Offer(service=service, via="public endpoint", url="http://api", versions=versions, **more)


def process(release: str, host: str = "control1", service: str = "nova") -> dict[str, Any]:
    return {"service": service, "component": "x-api", "instance": f"{host}/x-api", "release": release}


def judged(one: Offer, target: Target, *processes: dict[str, Any]) -> Outcome:
    """Return what is said of the API itself."""
    (outcome,) = [found for found in judge_apis([one], target, processes, "") if found.check == "release_api"]
    return outcome


@contextmanager
def balanced(*bodies: str) -> Iterator[str]:
    """Run a server that gives each new connection the next of these answers, as behind a load balancer."""
    answers, lock = cycle(bodies), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with lock:
                self.body = next(answers).encode()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.body)))
            self.end_headers()
            self.wfile.write(self.body)

        def log_message(self, *_words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(cloud: Cloud, url: str, times: int = 4) -> Offer:
    """Ask one instance of Nova."""
    instances = [{"service": "nova", "host": "control1", "url": url}]
    (found,) = [one for one in ask(cloud, chosen(["nova"]), instances, times) if one.via == "instance on control1"]
    return found


def test_instances_of_two_releases_behind_one_address_are_seen(cloud: Cloud) -> None:
    """Each question opens a connection of its own, so that the load balancer chooses anew."""
    with balanced(NOVA % "2.100", NOVA % "2.103") as url:
        found = asked(cloud, url)
    outcome = judged(found, NEW)

    assert sorted(found.versions) == ["2.100", "2.103"]
    assert outcome.status == "fail"
    assert "instances of different releases answer" in outcome.message
    assert judged(found, Target(releases=("2025.1", "2026.1"))).status == "pass"


def test_what_does_not_answer_is_not_good(cloud: Cloud) -> None:
    """An instance that cannot be reached from here is left out with its reason; a page that is none is unknown."""
    with balanced("hello") as url:
        page = asked(cloud, url)
    gone = judged(asked(cloud, url), NEW)

    assert judged(page, NEW).status == "unknown"
    assert (gone.status, "other networks" in gone.message) == ("skip", True)


@pytest.mark.parametrize(
    ("one", "target", "status", "verdict"),
    [
        (offer("2.103"), NEW, "pass", "consistent"),
        (offer("2.103"), OLD, "fail", "refuted"),
        (offer("2.100"), OLD, "pass", "consistent"),
        (offer("2.110"), NEW, "fail", "refuted"),
        (offer("2.110"), Target(releases=("master",)), "pass", "consistent"),
        (offer("2.103"), Target(), "pass", "consistent"),
        (offer("3.71", service="cinder"), NEW, "pass", "consistent"),
        (offer("2.37.4", service="swift"), NEW, "pass", "consistent"),
        (offer("2.35.1", service="swift"), NEW, "fail", "refuted"),
        (offer("", service="neutron"), NEW, "skip", "unknown"),
        (offer("v1.0", service="heat"), NEW, "skip", "unknown"),
        (offer(problem="no answer"), NEW, "unknown", "unknown"),
    ],
)
def test_an_api_refutes_or_fits_and_never_confirms(one: Offer, target: Target, status: str, verdict: str) -> None:
    """What an API offers can contradict a release; that it fits is never more than consistent."""
    outcome = judged(one, target)

    assert (str(outcome.status), outcome.evidence["verdict"]) == (status, verdict)


def test_without_any_host_nothing_is_proven_and_nothing_fails() -> None:
    """Where only the APIs can be asked, each service is unknown, with the reason."""
    outcomes = judge_apis([offer("2.103"), offer("", service="neutron")], NEW, [], "now")
    processes = [one for one in outcomes if one.check == "release"]

    assert {str(one.status) for one in outcomes} == {"pass", "skip", "unknown"}
    assert [(one.service, str(one.status)) for one in processes] == [("nova", "unknown"), ("neutron", "unknown")]
    assert all("no host access" in one.message for one in processes)


def test_an_api_that_does_not_fit_the_processes_is_found() -> None:
    """Somebody answers who is of another release than every process that was seen, such as a forgotten instance."""
    outcome = judged(offer("2.100"), Target(), process("2026.1"))

    assert outcome.status == "fail"
    assert "2.100 (2025.1 or 2025.2), which is not 2026.1" in outcome.message


def test_the_whole_of_a_service() -> None:
    """All evidence together: confirmed by its processes, refuted by anything, mixed when both releases run."""
    both = [process("2025.1"), process("2026.1", "control2"), process("", service="glance")]
    either = Target(releases=("2025.1", "2026.1"))
    outcomes = judge_apis([offer("2.103"), offer("v2.17", service="glance")], either, both, "")
    found = summary_of(outcomes, both, either)

    assert found["nova"] == {
        "verdict": "confirmed",
        "mixed": True,
        "releases": {"2025.1": ["control1/x-api"], "2026.1": ["control2/x-api"]},
    }
    assert found["glance"]["verdict"] == "consistent"
    assert summary_of([], both, NEW)["nova"]["verdict"] == "refuted"
    assert summary_of(judge_apis([offer("2.100")], NEW, [process("2026.1")], ""), [process("2026.1")], NEW)["nova"][
        "verdict"
    ] == ("refuted")


@pytest.mark.parametrize(
    ("service", "document", "version"),
    [
        ("keystone", {"version": {"id": "v3.14", "status": "stable"}}, "v3.14"),
        (
            "glance",
            {"versions": [{"id": "v2.17", "status": "CURRENT"}, {"id": "v2.16", "status": "SUPPORTED"}]},
            "v2.17",
        ),
        ("placement", {"versions": [{"id": "v1.0", "max_version": "1.39", "status": "CURRENT"}]}, "1.39"),
        ("cinder", {"versions": [{"id": "v3.0", "status": "CURRENT", "version": "3.71"}]}, "3.71"),
        ("swift", {"swift": {"version": "2.37.1"}}, "2.37.1"),
        ("nova", "nonsense", ""),
    ],
)
def test_version_documents_are_read(service: str, document: Any, version: str) -> None:
    """Each service tells its newest version in its own way."""
    assert newest(service, document) == version
