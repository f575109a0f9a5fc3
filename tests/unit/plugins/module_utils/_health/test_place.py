# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._health._place import (
    CommandError,
    Inside,
    Place,
    find_places,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen
from ansible_collections.openstack.upgrade_test.tests.unit.plugins.module_utils._health.conftest import Installed

HERE = Inside(pid=os.getpid())


def test_a_service_is_found_with_its_commands_and_its_configuration(nova: Installed) -> None:
    """A running process tells where its packages, commands and configuration files are."""
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    nova.start("nova-scheduler", f"--config-file={nova.conf}")
    place = nova.place()

    assert place.components == ("nova-conductor", "nova-scheduler")
    assert place.commands == str(nova.bin)
    assert place.files == (str(nova.conf),)
    assert place.setting("DEFAULT", "debug") == "true"
    assert place.python == f"{nova.bin}/python"


@pytest.mark.parametrize(
    ("packages", "commands"),
    [
        ("/var/lib/kolla/venv/lib/python3.12/site-packages", "/var/lib/kolla/venv/bin"),
        ("/openstack/venvs/nova-33.0.1/lib/python3.11/site-packages", "/openstack/venvs/nova-33.0.1/bin"),
        ("/usr/lib/python3/dist-packages", "/usr/bin"),
        ("/usr/lib64/python3.9/site-packages", "/usr/bin"),
        ("/usr/local/lib/python3.12/dist-packages", "/usr/local/bin"),
        ("/somewhere/else", "/usr/bin"),
    ],
)
def test_commands_lie_beside_their_packages(packages: str, commands: str) -> None:
    """In a virtual environment, as Kolla and OpenStack-Ansible have it, and where distributions put them."""
    place = Place(service="nova", components=(), inside=HERE, packages=packages)

    assert place.commands == commands


def test_two_configurations_are_two_places(nova: Installed, tmp_path: Path) -> None:
    """What another configuration says must be looked at by itself."""
    other = tmp_path / "other.conf"
    other.write_text("[DEFAULT]\n")
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    nova.start("nova-compute", "--config-file", str(nova.conf), "--config-file", str(other))
    found = find_places(chosen(["nova"]), nova.proc())

    assert {one.components: one.files for one in found.places} == {
        ("nova-compute",): (str(nova.conf), str(other)),
        ("nova-conductor",): (str(nova.conf),),
    }


def test_a_command_gets_the_configuration_and_its_own_folder(nova: Installed) -> None:
    """A command of the service is run with the configuration of its process, and finds its neighbours."""
    nova.start("nova-conductor", "--config-file", str(nova.conf))
    nova.command("nova-status", "import os, sys\nprint(sys.argv[1:], os.environ['PATH'].split(':')[0])\nsys.exit(3)\n")
    done = nova.place().run("nova-status", "upgrade", "check")

    assert done.rc == 3
    assert done.out.strip() == f"['--config-file', '{nova.conf}', 'upgrade', 'check'] {nova.bin}"


def test_a_command_that_never_ends_or_is_not_there_is_half_a_sentence() -> None:
    """Neither hangs nor a traceback: what could not be run is told."""
    with pytest.raises(CommandError, match="sleep did not end within"):
        HERE.run(["sleep", "60"], timeout=0.2)
    with pytest.raises(CommandError, match="no-such-command is not there"):
        HERE.run(["no-such-command"])


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Inside]:
    """A process that sees a file which nobody else does, as in a container."""
    secret = tmp_path / "secret"
    secret.mkdir()
    script = f"mount -t tmpfs none {secret} && echo inside > {secret}/file && echo up && exec sleep 60"
    argv = ["unshare", "--mount", "--propagation=private", "sh", "-c", script]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "up\n":
        process.wait()
        pytest.skip("needs the right to make a mount namespace")
    yield Inside(pid=process.pid)
    process.kill()
    process.communicate()


def test_a_service_in_a_container_is_looked_at_from_within(apart: Inside, tmp_path: Path) -> None:
    """Its files are read, and commands are run, as its processes see them; outside they are not there."""
    file = tmp_path / "secret" / "file"

    assert not file.exists()
    assert (apart.is_apart(), HERE.is_apart()) == (True, False)
    assert apart.path(str(file)).read_text() == "inside\n"
    assert apart.run(["cat", str(file)]).out == "inside\n"
    assert apart.run(["sh", "-c", "id -u; cat"], feed="fed").out == f"{os.geteuid()}\nfed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_commands_are_run_as_the_user_of_the_service() -> None:
    """What they write belongs to him, so that his processes can write it too; only on demand it is root."""
    with subprocess.Popen(["sleep", "60"], user=65534, group=65534, extra_groups=[]) as process:
        theirs = Inside(pid=process.pid)
        found = theirs.run(["id", "-u"]).out, theirs.run(["id", "-u"], as_root=True).out
        process.kill()

    assert found == ("65534\n", "0\n")


def test_a_name_may_begin_where_the_process_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is named without a folder is found all the same."""
    (tmp_path / "here.conf").write_text("[DEFAULT]\na = 1\n")
    monkeypatch.chdir(tmp_path)

    assert HERE.path("here.conf").exists()
    assert HERE.path("here.conf").read_text() == "[DEFAULT]\na = 1\n"


def test_the_configuration_of_a_wsgi_server_is_found(nova: Installed) -> None:
    """It stands in the value of another option, in the environment, or in a folder."""
    for number, words in enumerate((f"--pyargv=--config-file {nova.conf} --debug", f"--config-dir={nova.folder}")):
        nova.start(f"nova-{number}", words)
    found = {one.components: one.files for one in find_places(chosen(["nova"]), nova.proc()).places}

    assert found == {("nova-0", "nova-1"): (str(nova.conf),)}


def test_settings_are_read_as_the_services_read_them(tmp_path: Path) -> None:
    """A later file goes before an earlier one, a variable before all; what the service would not read has nothing."""
    first, second, broken = (tmp_path / name for name in "abc")
    first.write_text("[DEFAULT]\nOne = 1\none = 2\n[database]\nconnection = x:%(y)s://u:p@h/d?a=b\nconnection = z\n")
    second.write_text("[DEFAULT]\nempty =\none = 3\n")
    broken.write_text("[DEFAULT]\none = 4\nno option\n")
    files = tuple(map(str, (first, second, broken, tmp_path / "none")))
    variables = (("OS_DEFAULT__NEW", "5"),)
    place = Place(service="nova", components=(), inside=HERE, packages="/p", files=files, variables=variables)

    assert place.settings() == {
        ("DEFAULT", "One"): "1",
        ("DEFAULT", "one"): "3",
        ("DEFAULT", "empty"): "",
        ("DEFAULT", "new"): "5",
        ("database", "connection"): "z",
    }
