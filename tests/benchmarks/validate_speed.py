# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long playbook validate takes at depth quick, beside the same questions asked with the command openstack.

Needs a cloud, an administrator and an ordinary user of it in clouds.yaml, and the command openstack with its plugins
for the services of the cloud. Nothing is made or changed.

Both are done in turns, in one run; times are of the clock, medians of the rounds. validate_s is the playbook without
Ansible's own start, which is what a playbook with one task that does nothing takes. cli_s is the sum of all commands.
ratio_vs_cli is validate_s by cli_s. cli_failed counts commands that the cloud or a missing plugin refused, and whose
time does not count.

Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TREE = next(path.parent for path in Path(__file__).absolute().parents if path.name == "ansible_collections")
EMPTY = "- hosts: localhost\n  gather_facts: false\n  tasks: [{name: Do nothing, ansible.builtin.meta: noop}]\n"
ADMIN: dict[str, list[str]] = {
    "identity": ["token issue", "catalog list", "endpoint list", "service list", "project list --my-projects"],
    "compute": ["server list --limit 5", "compute service list", "hypervisor list", "flavor list"],
    "network": ["network list", "network agent list"],
    "image": ["image list --limit 5"],
    "placement": ["resource provider list"],
    "block-storage": ["volume list --limit 5", "volume service list"],
    "object-store": ["container list --limit 5"],
    "orchestration": ["stack list --limit 5", "orchestration service list"],
}
USER: dict[str, list[str]] = {
    "identity": ["token issue", "project list --my-projects"],
    "compute": ["server list --limit 1"],
    "network": ["network list"],
    "image": ["image list --limit 1"],
    "block-storage": ["volume list --limit 1"],
    "object-store": ["container list --limit 1"],
    "orchestration": ["stack list --limit 1"],
}
"""What the playbook asks of a service, as administrator and as ordinary user, by the type in the catalogue."""
VERSIONS = "versions show --all-interfaces"
ALIASES = {"volumev3": "block-storage", "volume": "block-storage"}


def timed(command: Sequence[str], environment: dict[str, str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a command; return the seconds that it took, and what became of it."""
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    return time.perf_counter() - begin, done


class Bench:
    """One cloud and the commands that ask it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        quiet = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
        self.environment = {"ANSIBLE_COLLECTIONS_PATH": str(TREE), **os.environ, **quiet}
        if options.clouds_yaml:
            self.environment["OS_CLIENT_CONFIG_FILE"] = str(Path(options.clouds_yaml).absolute())
        self.failed: set[str] = set()

    def playbook(self, name: str, *more: str) -> float:
        """Return how long a playbook takes; the benchmark ends when it fails."""
        inventory = ["-i", self.options.inventory] if self.options.inventory else []
        seconds, done = timed([self.options.playbook, *inventory, name, *more], self.environment)
        if done.returncode:
            sys.exit(f"{name} ended with exit code {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return seconds

    def validate(self) -> float:
        """Return how long playbook validate takes."""
        variables = {
            "upgrade_test_cloud": self.options.cloud,
            "upgrade_test_depth": "quick",
            "upgrade_test_stage": "now",
            **({"upgrade_test_user_cloud": self.options.user_cloud} if self.options.user_cloud else {}),
            **(
                {"upgrade_test_clouds_yaml": self.environment["OS_CLIENT_CONFIG_FILE"]}
                if self.options.clouds_yaml
                else {}
            ),
        }
        return self.playbook("openstack.upgrade_test.validate", "-e", json.dumps(variables))

    def catalogue(self) -> list[str]:
        """Return the types of services in the catalogue."""
        argv = [self.options.openstack, "--os-cloud", self.options.cloud, "catalog", "list", "-f", "json"]
        _seconds, done = timed(argv, self.environment)
        if done.returncode:
            sys.exit(f"{' '.join(argv)} failed: {done.stderr.strip()[-500:]}")
        types = [str(entry["Type"]) for entry in json.loads(done.stdout)]
        return list(dict.fromkeys(ALIASES.get(one, one) for one in types))

    def questions(self) -> list[tuple[str, str]]:
        """Return what to ask, as which cloud."""
        there = self.catalogue()
        asked = [(self.options.cloud, VERSIONS)]
        asked += [(self.options.cloud, question) for one in there for question in ADMIN.get(one, ())]
        if self.options.user_cloud:
            asked += [(self.options.user_cloud, question) for one in there for question in USER.get(one, ())]
        return asked

    def ask(self, questions: Sequence[tuple[str, str]]) -> float:
        """Return how long all commands take, one after the other."""
        total = 0.0
        for cloud, question in questions:
            argv = [self.options.openstack, "--os-cloud", cloud, *question.split(), "-f", "json"]
            seconds, done = timed(argv, self.environment)
            if done.returncode:
                self.failed.add(f"{cloud} {question}")
            else:
                total += seconds
        return total


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cloud", default=os.environ.get("OS_CLOUD"), help="the administrator's cloud in clouds.yaml")
    parser.add_argument("--user-cloud", help="the ordinary user's cloud in clouds.yaml")
    parser.add_argument("--clouds-yaml", help="the clouds.yaml to read; by default where openstacksdk looks for it")
    parser.add_argument("--inventory", help="an inventory with the hosts; by default none")
    parser.add_argument("--openstack", default=shutil.which("openstack"), help="the command openstack")
    parser.add_argument("--playbook", default=shutil.which("ansible-playbook"), help="the command ansible-playbook")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    for name in ("cloud", "openstack", "playbook"):
        if not getattr(options, name):
            parser.error(f"--{name} is needed")
    return options


def main() -> None:
    """Measure in turns and print the result."""
    bench = Bench(parse())
    questions = bench.questions()
    starts, validations, commands = list[float](), list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="upgrade-test-") as folder:
        empty = Path(folder) / "empty.yml"
        empty.write_text(EMPTY)
        for _round in range(bench.options.rounds):
            starts.append(bench.playbook(str(empty)))
            validations.append(bench.validate())
            commands.append(bench.ask(questions))
    for one in sorted(bench.failed):
        print(f"not counted, as it failed: {one}", file=sys.stderr)
    start, whole, cli = (statistics.median(times) for times in (starts, validations, commands))
    result = {
        "benchmark": "validate_speed",
        "validate_s": round(whole - start, 2),
        "ansible_start_s": round(start, 2),
        "cli_s": round(cli, 2),
        "cli_commands": len(questions) - len(bench.failed),
        "cli_failed": len(bench.failed),
        "ratio_vs_cli": round((whole - start) / cli, 4) if cli else 0,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
