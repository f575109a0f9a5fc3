# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services import _witness
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._witness import (
    SECTOR,
    Beat,
    Silence,
    from_facts,
    judge_numbers,
    read_beat,
    read_numbers,
    tell,
)
from hypothesis import given
from hypothesis import strategies as st

WITNESS = Path(__file__).parents[5] / "roles/lab/files/guest/witness"
BEFORE = Beat(seen=1000.0, boot_id="b", number=50, uptime=60.0, longest_gap=1.1)
NOW = replace(BEFORE, seen=1600.0, number=640, uptime=660.0)


@pytest.mark.parametrize(
    ("now", "silent", "expected"),
    [
        (NOW, 0, Silence.NONE),
        (NOW, 30, Silence.NETWORK),
        (replace(NOW, uptime=630.0), 30, Silence.PAUSED),
        (replace(NOW, longest_gap=31.0), 30, Silence.STALLED),
        (replace(NOW, boot_id="c", uptime=20.0), 30, Silence.REBOOTED),
        (replace(NOW, boot_id="c"), 0, Silence.REBOOTED),
        (replace(NOW, uptime=20.0), 0, Silence.REBOOTED),
    ],
)
def test_silences_are_told_apart(now: Beat, silent: float, expected: Silence) -> None:
    """From outside a cut, a pause, a stall and a reboot are the same silence; the witness tells them apart."""
    assert tell(BEFORE, now, silent).silence is expected


def test_a_pause_has_its_length() -> None:
    """What the guest's clock lacks is how long it stood still."""
    assert tell(BEFORE, replace(NOW, uptime=630.0)).lost == pytest.approx(30)


def test_an_old_stall_is_no_new_one() -> None:
    """A gap that was there at the first look did not happen since."""
    assert tell(replace(BEFORE, longest_gap=40.0), replace(NOW, longest_gap=40.0)).silence is Silence.NONE


def test_a_beat_survives_the_journal() -> None:
    """What is journaled is read back as it was."""
    assert from_facts(BEFORE.as_facts()) == BEFORE
    assert from_facts(None) is None


@pytest.mark.parametrize("text", ["", "<html>", "boot 1 2", "boot one 2.0 3.0"])
def test_another_page_is_no_witness(text: str) -> None:
    """What is no witness's page tells nothing."""
    assert read_beat(text, 0.0) is None


@given(st.integers(0, 60), st.integers(0, 3))
def test_all_acknowledged_numbers_in_order_are_good(acknowledged: int, more: int) -> None:
    """Each number once and in order is good, whether the last one was acknowledged in time or not."""
    assert judge_numbers(range(1, acknowledged + more + 1), acknowledged).good


@given(st.integers(2, 60), st.data())
def test_every_loss_is_named(acknowledged: int, data: st.DataObject) -> None:
    """A number that is missing, twice there or out of order is never good, and is named."""
    numbers = list(range(1, acknowledged + 1))
    place = data.draw(st.integers(0, acknowledged - 2))
    lost = judge_numbers(numbers[:place] + numbers[place + 1 :], acknowledged)
    twice = judge_numbers(numbers[: place + 1] + numbers[place:], acknowledged)
    swapped = judge_numbers([*numbers[:place], place + 2, place + 1, *numbers[place + 2 :]], acknowledged)

    assert (lost.missing, lost.good) == ((place + 1,), False)
    assert (twice.twice, twice.good) == ((place + 1,), False)
    assert (swapped.disordered, swapped.good) == ((place + 1,), False)
    assert str(place + 1) in lost.in_words()


def test_records_on_a_volume_are_read() -> None:
    """Each sector begins with its number; one that was never written or overwritten has none."""
    sectors = [f"{number} boot\n".encode().ljust(SECTOR, b" ") for number in (1, 2, 3)]

    assert read_numbers(b"".join(sectors) + bytes(SECTOR)) == [1, 2, 3]
    assert read_numbers(sectors[0] + bytes(SECTOR) + sectors[2]) == [1, 3]
    assert read_numbers(sectors[0] + b"\xff" * SECTOR + sectors[2]) == [1, 3]


class Store(BaseHTTPRequestHandler):
    """Takes objects, but not the first time that it is asked for the second one."""

    taken: ClassVar[list[tuple[str, str]]] = []
    refused: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        first_time = self.path.partition("?")[0].endswith("-2") and not self.refused
        if first_time:
            self.refused.append(self.path)
        else:
            self.taken.append((self.path, body))
        self.send_response(503 if first_time else 201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.mark.skipif(not shutil.which("busybox"), reason="the witness runs in busybox")
def test_the_witness_stores_each_number_and_acknowledges_what_was_taken(tmp_path: Path) -> None:
    """An object that was refused is stored again, and no number is acknowledged before it is there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    folder = tmp_path / "www"
    target = f"127.0.0.1:{server.server_address[1]}/v1/AUTH_p/c/number-&sig=1&end=2"
    (tmp_path / "www.objects").write_text(target)
    process = subprocess.Popen(["busybox", "sh", str(WITNESS), "run", str(folder)], start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not ((folder / "stored").exists() and (folder / "stored").read_text().strip() == "2"):
            assert time.monotonic() < deadline, Store.taken
            time.sleep(0.05)
    finally:
        subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)
        process.wait()
        server.shutdown()
        server.server_close()

    assert [path for path, _body in Store.taken] == [f"/v1/AUTH_p/c/number-{n}?sig=1&end=2" for n in (1, 2)]
    assert [body.split()[0] for _path, body in Store.taken] == ["1", "2"]
    assert len(Store.refused) == 1


@pytest.mark.skipif(not shutil.which("busybox"), reason="the witness runs in busybox")
def test_the_witness_itself_beats_and_notices_a_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real script counts seconds, and a time in which it could not run is its longest gap."""
    monkeypatch.setattr(_witness, "BEAT_LIMIT", 2.5)
    process = subprocess.Popen(["busybox", "sh", str(WITNESS), "run", str(tmp_path)], start_new_session=True)

    def look(number: int) -> Beat:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            page = tmp_path / "beat"
            beat = read_beat(page.read_text(), time.time()) if page.exists() else None
            if beat and beat.number >= number:
                return beat
            time.sleep(0.05)
        raise AssertionError(f"no beat {number} in {tmp_path}")

    try:
        before = look(2)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        process.send_signal(signal.SIGCONT)
        now = look(before.number + 2)
    finally:
        subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)
        process.wait()

    assert tell(before, now).silence is Silence.STALLED
