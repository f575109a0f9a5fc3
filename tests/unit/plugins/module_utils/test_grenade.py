# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The adapter for Grenade's plugins: what the shell library gives to scripts, and how they are ended and judged."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._extension import ExtensionError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._grenade import (
    Plugins,
    Settings,
    enabled_services,
    plugin_folders,
    project_of,
    reason,
    wrapper,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._memory import Memory
from ansible_collections.openstack.upgrade_test.plugins.module_utils._outcome import Outcome
from ansible_collections.openstack.upgrade_test.plugins.module_utils._run import RunDirectory

LIBRARY = Path(__file__).parents[4] / "roles/extensions/files"
LOGIN = {
    "OS_AUTH_URL": "http://127.0.0.1:9/v3",
    "OS_USERNAME": "root-of-all",
    "OS_PASSWORD": "dirty-secret",
    "OS_PROJECT_NAME": "the-project",
    "OS_USER_DOMAIN_ID": "default",
    "OS_PROJECT_DOMAIN_ID": "default",
}
BEGIN = "source $GRENADE_DIR/grenaderc\nsource $GRENADE_DIR/functions\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", services=["keystone", "nova", "glance"])


class Scripts:
    """Writes a script as somebody's plugin and runs it."""

    def __init__(self, run: RunDirectory, folder: Path) -> None:
        self.run, self.folder, self.timeout = run, folder, 30.0
        self.settings = "register_project_for_upgrade some"
        self.environment: dict[str, str] = {}
        self.commands: dict[str, list[str]] = {}

    def __call__(self, script: str, phase: str = "create", side: str = "") -> Outcome:
        outcome = self.run_phase(script, phase, side)
        assert outcome
        return outcome

    def run_phase(self, script: str, phase: str, side: str = "") -> Outcome | None:
        (self.folder / "settings").write_text(self.settings + "\n")
        (self.folder / "resources.sh").write_text(f"set -o errexit\n{BEGIN}{script}\n")
        settings = Settings(
            library=LIBRARY,
            credentials=LOGIN,
            environment=self.environment,
            commands=self.commands,
            timeout=self.timeout,
        )
        return Plugins(self.run, settings).phase(self.folder, phase, side, "before", name="some")

    def says(self, script: str) -> str:
        """Return the last line that a script prints."""
        outcome = self(script)
        log = (self.run.path / outcome.evidence["log"]).read_text()
        assert outcome.status == "pass", log
        return log.splitlines()[-1] if log else ""


@pytest.fixture
def scripts(run: RunDirectory, tmp_path: Path) -> Scripts:
    folder = tmp_path / "plugin"
    folder.mkdir()
    return Scripts(run, folder)


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("echo '| id | 7f |' | get_field 2", "7f"),
        ("echo '|  id  |  7f  | x |' | get_field -1", "x"),
        ("YES=yes; trueorfalse False YES", "True"),
        ("NO=0; trueorfalse True NO", "False"),
        ("ODD=maybe; trueorfalse True ODD", "True"),
        ("trueorfalse False MISSING", "False"),
        ("is_service_enabled nova && echo yes", "yes"),
        ("is_service_enabled q-svc n-api && echo yes", "yes"),
        ("is_service_enabled cinder c-api || echo no", "no"),
        ("is_service_enabled glance && is_service_enabled key && echo both", "both"),
        ("f=$(mktemp); printf '[a]\\nx = 1\\n[b]\\nx=2 3\\n' > $f; iniget $f b x", "2 3"),
        ("f=$(mktemp); printf '[a]\\nx = 1\\n' > $f; iniset $f a x '5 \\n'; iniset $f c y 9; cat $f | tr '\\n' ';'",
         "[a];x = 5 \\n;[c];y = 9;"),
        ("f=$(mktemp); printf '[a]\\n[b]\\nx=1\\n' > $f; iniset $f a x 2; cat $f | tr '\\n' ';'", "[a];x = 2;[b];x=1;"),
        ("f=$(mktemp); iniset $f a x 1; ini_has_option $f a x && ! ini_has_option $f a y && echo good", "good"),
        ("is_ipv4_address 10.0.0.1 && ! is_ipv4_address fe80::1 && echo good", "good"),
        ("function_exists create || echo none", "none"),
        ("echo $BASE_DEVSTACK_DIR $TARGET_DEVSTACK_DIR", f"{LIBRARY}/devstack {LIBRARY}/devstack"),
        ("source $TOP_DIR/inc/ini-config; source $TOP_DIR/functions; source $TOP_DIR/stackrc; echo good", "good"),
        ("devstack_localrc base enable_service x; enable_service x; worlddump some; echo good", "good"),
    ],
)  # fmt: skip
def test_the_library(scripts: Scripts, script: str, printed: str) -> None:
    """The functions and settings that resource scripts use do what those scripts rely on."""
    assert scripts.says(script) == printed


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("source $TOP_DIR/openrc admin admin; echo $OS_USERNAME $OS_PROJECT_NAME", "root-of-all the-project"),
        ("source $TOP_DIR/openrc admin demo; echo $OS_USERNAME $OS_PROJECT_NAME", "root-of-all demo"),
        ("source $TOP_DIR/openrc demo demo; echo $OS_USERNAME $OS_TENANT_NAME", "demo demo"),
        (
            "source $TOP_DIR/openrc admin admin; OS_USERNAME=x OS_PROJECT_ID=y; "
            "source_quiet $TOP_DIR/openrc admin admin; echo $OS_USERNAME ${OS_PROJECT_ID:-none}",
            "root-of-all none",
        ),
        ("export OS_VOLUME_API_VERSION=3; source $TOP_DIR/openrc admin admin; echo $OS_VOLUME_API_VERSION", "3"),
        ("source $TOP_DIR/openrc admin admin; env | grep -c ^OS_USERNAME=root", "1"),
    ],
)
def test_logging_in(scripts: Scripts, script: str, printed: str) -> None:
    """The administrator is who clouds.yaml says, others are who they are; what another login has left is gone."""
    assert scripts.says(script) == printed


def test_no_password_is_traced_or_kept(scripts: Scripts, run: RunDirectory) -> None:
    """Logging in with a trace does not print the password, and a script that prints it does not get it into the log."""
    text = scripts("set -o xtrace; source $TOP_DIR/openrc admin admin; echo $OS_PASSWORD; false").evidence["last_lines"]

    assert "[redacted:known]" in text
    assert not [path for path in run.path.rglob("*") if path.is_file() and "dirty-secret" in path.read_text()]


def test_no_password_is_an_argument(scripts: Scripts) -> None:
    """While a script runs, no process on the machine has the password in its command line."""
    look = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'dirty[-]secret' || true"
    script = f"source $TOP_DIR/openrc admin admin; resource_save some key value; {look}"

    assert scripts.says(script) == "0"


def test_the_memory_is_the_runs(scripts: Scripts, run: RunDirectory) -> None:
    """What a script saves is there for tasks, as it was, and what a task has saved is there for scripts."""
    Memory(run).save("network", {"net_id": "7f"})

    assert scripts.says("resource_save nova 'server name' \"two  words's\"; resource_get network net_id") == "7f"
    assert Memory(run).get("nova", "server name") == "two  words's"
    assert (
        scripts(  # what was never saved is an empty word, which scripts ask for
            '[[ -z "$(resource_get network other)" ]]', "verify", "pre-upgrade"
        ).status
        == "pass"
    )


def test_a_secret_cannot_be_saved(scripts: Scripts) -> None:
    """A value that the run directory may not keep ends the script, which says why."""
    outcome = scripts("resource_save some key dirty-secret")

    assert outcome.status == "fail"
    assert "the value has a secret in it" in " ".join(outcome.evidence["last_lines"])


def test_settings_that_register_nothing(scripts: Scripts, run: RunDirectory) -> None:
    """A plugin for a service that the cloud does not have is left out, and nothing is left of it."""
    scripts.settings = "if is_service_enabled swift; then register_project_for_upgrade swift; fi"
    outcome = scripts("exit 1")

    assert (outcome.status, "not in this cloud" in outcome.message) == ("skip", True)
    assert "some" not in run.document["services"]
    assert scripts.run_phase("exit 1", "verify", "post-upgrade") is None
    assert scripts.run_phase("exit 1", "destroy") is None


def test_a_plugin_that_could_not_make_its_resources(scripts: Scripts) -> None:
    """What was begun and failed is not found to be well later."""
    assert scripts("exit 1").status == "fail"

    assert scripts("exit 0", "verify", "post-upgrade").status == "unknown"


def test_waiting_for_an_address(scripts: Scripts) -> None:
    """One that answers is waited for, and one that does not is told; so is the opposite."""
    assert scripts.says("ping_check_public 127.0.0.1 5 > /dev/null; echo there") == "there"
    outcome = scripts("ping_check_public 127.0.0.1 1 False", "destroy")
    assert "127.0.0.1 still answers after 1 s" in outcome.message


def test_settings_without_a_script(scripts: Scripts, tmp_path: Path, run: RunDirectory) -> None:
    """Settings alone, as Grenade has them for glance, make nothing that could survive."""
    (tmp_path / "plugin/settings").write_text("register_project_for_upgrade glance\n")
    plugins = Plugins(run, Settings(library=LIBRARY, credentials=LOGIN))
    outcome = plugins.phase(tmp_path / "plugin", "create", "", "before", name="glance")

    assert outcome
    assert (outcome.status, outcome.message) == (
        "skip",
        "glance has no resources.sh, so there is nothing that could survive.",
    )


def test_databases_of_the_settings_are_told(scripts: Scripts) -> None:
    """What a plugin wants saved is in the evidence."""
    scripts.settings += "\nregister_db_to_save nova nova-api"

    assert scripts("true").evidence["databases"] == ["nova", "nova-api"]


def test_what_settings_export_reaches_the_script(scripts: Scripts) -> None:
    """Heat's settings decide so whether its integration tests run; the operator's word wins."""
    scripts.settings += "\nexport RUN_TESTS=$(trueorfalse True RUN_TESTS)"
    scripts.environment = {"RUN_TESTS": "False"}

    assert scripts.says("echo $RUN_TESTS") == "False"


def test_a_script_that_does_not_end_is_ended(scripts: Scripts) -> None:
    """With all that it has started, and it is told."""
    scripts.timeout = 1.0
    began = time.monotonic()
    outcome = scripts("sleep 4711 & sleep 4711")

    assert (outcome.status, outcome.message) == ("fail", "some, create: did not end within 1 s.")
    assert time.monotonic() - began < 20
    alive = ["pgrep", "-f", "^sleep 4711$"]
    while subprocess.run(alive, check=False, capture_output=True).returncode == 0:
        assert time.monotonic() - began < 30  # what was killed takes a moment to be gone
        time.sleep(0.05)


def test_a_failed_destroy_goes_on_by_force(scripts: Scripts, run: RunDirectory) -> None:
    """What can be removed is, and it still counts as left, as nobody knows what is."""
    scripts("true")
    outcome = scripts(
        'case $1 in destroy) die $LINENO "gone";; force_destroy) touch $SAVE_DIR/forced;; esac', "destroy"
    )

    assert outcome.message == (
        "some, destroy: ended with exit code 1: [ERROR] resources.sh:4 gone Then force_destroy was run, which does not "
        "tell what is left."
    )
    assert (run.path / "grenade/save/forced").exists()


def test_commands_that_live_elsewhere(scripts: Scripts) -> None:
    """A script finds them as if they were here, with its arguments behind those of the operator."""
    scripts.commands = {"nova-manage": ["echo", "on control1:", "nova-manage"]}

    assert scripts.says("nova-manage cell_v2 verify_instance --uuid 'a b'") == (
        "on control1: nova-manage cell_v2 verify_instance --uuid a b"
    )


def test_arguments_survive_ssh() -> None:
    """SSH makes one line of its arguments, so they are quoted once more for the shell on the other side."""
    assert wrapper(["ssh", "control1", "nova-manage"]).splitlines()[1] == 'exec ssh control1 nova-manage "${@@Q}"'
    assert wrapper(["/usr/bin/env", "x"]).splitlines()[1] == 'exec /usr/bin/env x "$@"'


def make(path: Path, *files: str) -> None:
    for file in files:
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).touch()


def test_where_plugins_lie(tmp_path: Path) -> None:
    """A folder, a project's tree and Grenade's tree are told apart; the latter keeps its order."""
    make(tmp_path / "heat", "devstack/upgrade/settings", "devstack/upgrade/resources.sh")
    make(tmp_path / "grenade", "projects/60_nova/settings", "projects/10_keystone/settings", "projects/x/other")

    assert [project_of(one) for one in plugin_folders(tmp_path / "heat")] == ["heat"]
    assert [project_of(one) for one in plugin_folders(tmp_path / "grenade")] == ["keystone", "nova"]
    assert plugin_folders(tmp_path / "grenade", ["nova"]) == [tmp_path / "grenade/projects/60_nova"]
    assert plugin_folders(tmp_path / "heat/devstack/upgrade") == [tmp_path / "heat/devstack/upgrade"]
    with pytest.raises(ExtensionError, match=r"projects: cinder is not in .*; there are keystone, nova\."):
        plugin_folders(tmp_path / "grenade", ["cinder"])


def test_names_of_devstack() -> None:
    """Services are told as DevStack names their parts; one that is not known keeps its name."""
    assert enabled_services(["glance", "octavia"]) == "mysql,rabbit,g-api,octavia"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["+ openstack x", "No such thing", "+ exit 1", "Ended with exit code 1; called from:", "9 x"],
            "No such thing",
        ),
        (["[ERROR] r.sh:3 gone", "more", "Ended with exit code 1; called from:"], "[ERROR] r.sh:3 gone"),
        (["++ trace only"], "no output"),
        ([], "no output"),
    ],
)
def test_the_line_that_says_why(lines: list[str], told: str) -> None:
    """It is the script's own error, else its last words, but never its trace."""
    assert reason(lines) == told
