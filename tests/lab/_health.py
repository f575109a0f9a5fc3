# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What validate finds of a lab's health, and a queue that nobody reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.openstack.upgrade_test.tests.lab._lab import NEW, Lab

RABBIT = """
import os, pathlib, subprocess, sys
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if b"beam.smp" in (entry / "cmdline").read_bytes():
            own = dict(pair.split("=", 1) for pair in (entry / "environ").read_text().split(chr(0)) if "=" in pair)
    except OSError:
        continue
done = subprocess.run(["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", *sys.argv[1:]], env=own)
raise SystemExit(done.returncode)
"""
SQL = """
import subprocess, sys
subprocess.run(["mariadb", "--user=root", "--socket=" + sys.argv[1], "--execute=" + sys.argv[2]], check=True)
"""


def failed(lab: Lab, depth: str, *services: str, **more: Any) -> list[dict[str, Any]]:
    """Look at some services now; the checks that failed."""
    variables = {
        "upgrade_test_stage": "now",
        "upgrade_test_depth": depth,
        "upgrade_test_services": list(services),
        "upgrade_test_from_release": NEW,
        "upgrade_test_agent_wait": 45,
        **more,
    }
    file = lab.workplace / "health.json"
    playbook = str(Path(__file__).with_name("health.yml"))
    played = lab.play(playbook, {**variables, "outcomes_file": str(file)}, timeout=600)
    assert played.rc == 0
    return [one for one in json.loads(file.read_text(encoding="utf-8")) if one["status"] == "fail"]


def quoted(word: str) -> str:
    """A word that the shell on the other side leaves alone."""
    return "'" + word.replace("'", "'\\''") + "'"


@contextmanager
def unread_queue(lab: Lab, name: str) -> Iterator[None]:
    """A queue of this name, in a corner of the message queue where nobody reads it."""
    declare = (
        f'rabbit_amqqueue:declare({{resource, <<"ghost">>, queue, <<"{name}">>}}, true, false, [], none, <<"x">>).'
    )
    try:
        lab.ssh("infra", RABBIT, "add_vhost", "ghost")
        lab.ssh("infra", RABBIT, "eval", quoted(declare))
        yield
    finally:
        lab.ssh("infra", RABBIT, "delete_vhost", "ghost")


def sql(lab: Lab, statement: str) -> None:
    """Run a statement in the database server."""
    lab.ssh("infra", SQL, f"{lab.root}/hosts/infra/var/mysql/mysql.sock", statement)


@contextmanager
def planted(lab: Lab, plant: str, undo: str) -> Iterator[None]:
    """Plant a fault by a statement, and take it back by another."""
    sql(lab, quoted(plant))
    try:
        yield
    finally:
        sql(lab, quoted(undo))
