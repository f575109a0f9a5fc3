# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is expected here is what oslo.config itself does: both were given the same random files and commands."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.openstack.upgrade_test.plugins.module_utils._configured import (
    Configuration,
    Sources,
    assignments,
    configuration_of,
    options_of_variables,
    read_options,
    sources_of,
    value_of,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import UnreadableError
from ansible_collections.openstack.upgrade_test.plugins.module_utils._services._registry import chosen
from ansible_collections.openstack.upgrade_test.tests.unit.plugins._hosts import Start, Venv
from hypothesis import given
from hypothesis import strategies as st

APPLICATIONS = {
    "cinder": "cinder.wsgi.api",
    "glance": "glance.wsgi.api",
    "heat": "heat.wsgi.api",
    "keystone": "keystone.wsgi.api",
    "neutron": "neutron.wsgi.api",
    "nova": "nova.wsgi.osapi_compute",
    "placement": "placement.wsgi.api",
}


class Host:
    """A process that runs, and a root of its own for it, in which a test puts files, as a container has one."""

    def __init__(self, tmp_path: Path, venv: Venv, start: Start) -> None:
        self.root, self.proc, self.work = (tmp_path / name for name in ("root", "proc", "work"))
        for folder in (self.root, self.proc, self.work):
            folder.mkdir()
        self._venv, self._start = venv, start

    def put(self, *paths: str, text: str = "[DEFAULT]\n") -> None:
        for path in paths:
            file = self.root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def run(self, name: str, *words: str, **environment: str) -> int:
        """Start a command."""
        return self._apart(self._start(self._venv.script(name), *words, cwd=self.work, env=self._own(environment)))

    def serve(self, service: str, *words: str, **environment: str) -> int:
        """Start a uwsgi with the application of a service."""
        command = ("uwsgi", self._venv.script("any"), "--module", APPLICATIONS[service], *words)
        python = str(self._venv.path / "bin" / "python")
        return self._apart(self._start(*command, executable=python, cwd=self.work, env=self._own(environment)))

    def sources(self, pid: int, service: str, component: str = "") -> Sources:
        return sources_of(pid, chosen([service])[0], component or f"{service}-api", self.proc)

    def configuration(self, pid: int, service: str, component: str) -> Configuration | None:
        return configuration_of(pid, chosen([service])[0], component, self.proc)

    def _own(self, environment: dict[str, str]) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": "/home/me", **environment}

    def _apart(self, pid: int) -> int:
        """Have a process appear with its own root, and all else as it is."""
        (self.proc / str(pid)).mkdir()
        for name in ("cmdline", "environ", "stat", "status"):
            (self.proc / str(pid) / name).symlink_to(f"/proc/{pid}/{name}")
        for name in ("cwd", "exe"):
            (self.proc / str(pid) / name).symlink_to(os.readlink(f"/proc/{pid}/{name}"))
        (self.proc / str(pid) / "root").symlink_to(self.root)
        return pid


@pytest.fixture
def host(tmp_path: Path, venv: Venv, start: Start) -> Host:
    return Host(tmp_path, venv, start)


def test_a_command_reads_the_usual_files_and_their_drop_ins(host: Host) -> None:
    """Drop-ins are read after all files, in the order of their names; of two places the first one counts."""
    pid = host.run("nova-compute")
    host.put("/etc/nova/nova.conf", "/etc/nova.conf", "/home/me/.nova/nova-compute.conf")
    host.put(*(f"/etc/nova/nova.conf.d/{name}" for name in ("50-x.conf", "10-y.conf", ".50-z.conf", "60.txt")))
    host.put("/etc/nova.conf.d/0.conf", "/etc/nova-compute.conf.d/1.conf", "/etc/nova/nova-conductor.conf.d/2.conf")

    assert host.sources(pid, "nova", "nova-compute").files == (
        "/etc/nova/nova.conf",
        "/home/me/.nova/nova-compute.conf",
        "/etc/nova/nova.conf.d/10-y.conf",
        "/etc/nova/nova.conf.d/50-x.conf",
        "/etc/nova-compute.conf.d/1.conf",
    )


def test_a_file_that_the_command_names_overrides_drop_ins(host: Host) -> None:
    """Usual folders are read although the command names files, but before these; not if it names a folder, too."""
    host.put("/etc/nova/nova.conf.d/50-x.conf", text="[upgrade_levels]\ncompute = epoxy\n[DEFAULT]\na = drop-in\n")
    host.put("/etc/nova/my.conf", text="[DEFAULT]\na = named\n")
    host.put("/etc/nova/my.d/2.conf", "/etc/nova/my.d/1.conf")
    one = host.run("nova-conductor", "--config-file", "/etc/nova/my.conf")
    two = host.run("nova-conductor", "--config-file=/etc/nova/my.conf", "--config-dir", "/etc/nova/my.d")
    found = host.configuration(one, "nova", "nova-conductor")

    assert host.sources(one, "nova", "nova-conductor").files == ("/etc/nova/nova.conf.d/50-x.conf", "/etc/nova/my.conf")
    assert found is not None
    assert found.options == {("upgrade_levels", "compute"): "epoxy", ("DEFAULT", "a"): "named"}
    assert host.sources(two, "nova", "nova-conductor").files == (
        "/etc/nova/my.conf",
        "/etc/nova/my.d/1.conf",
        "/etc/nova/my.d/2.conf",
    )


def test_of_a_file_that_is_named_twice_the_last_time_counts(host: Host) -> None:
    """What stands in it goes before what was named between."""
    words = ("--config-file", "/a.conf", "--config-file=/b.conf", "--config-file", "/a.conf")

    assert host.sources(host.run("nova-conductor", *words), "nova", "nova-conductor").files == ("/b.conf", "/a.conf")


def test_names_begin_where_the_process_works_or_at_its_home(host: Host) -> None:
    """As the command line has them, they are of no use to another process."""
    pid = host.run("cinder-volume", "--config-file", "../x.conf", "--config-dir=~/d", HOME="/home/other")
    host.put("/home/other/d/y.conf")

    assert host.sources(pid, "cinder", "cinder-volume").files == (f"{host.work.parent}/x.conf", "/home/other/d/y.conf")


def test_a_process_without_a_variable_for_its_home_has_that_of_its_user(host: Host) -> None:
    """Under systemd a unit need not have one."""
    pid = host.run("heat-engine", HOME="")
    host.put("/etc/passwd", text=f"else:x:77777:0::/nowhere:/bin/sh\nme:x:{os.getuid()}:0:Me:/var/lib/me:/bin/sh\n")
    host.put("/var/lib/me/.heat/heat.conf", "/etc/heat/heat.conf")

    assert host.sources(pid, "heat", "heat-engine").files == ("/var/lib/me/.heat/heat.conf",)


@pytest.mark.parametrize(
    ("service", "environment", "files"),
    [
        ("nova", {}, ["/etc/nova/nova.conf"]),
        ("nova", {"DIR": "/n"}, ["/n/nova.conf"]),
        ("nova", {"FILES": "api-paste.ini;a.conf; /b.conf"}, ["/etc/nova/a.conf", "/b.conf"]),
        ("neutron", {}, ["/etc/neutron/neutron.conf", "/etc/neutron/plugins/ml2/ml2_conf.ini"]),
        ("neutron", {"DIR": "/n", "FILES": "neutron.conf;ml2.ini"}, ["/n/neutron.conf", "/n/ml2.ini"]),
        ("glance", {"DIR": "/g"}, ["/g/glance-api.conf"]),
        ("glance", {"FILES": "a.conf"}, ["/etc/glance/glance-image-import.conf", "/etc/glance/glance-api.conf"]),
        ("keystone", {}, ["/etc/keystone/keystone.conf"]),
        ("keystone", {"DIR": "/k"}, ["/k/keystone.conf"]),
        ("keystone", {"FILES": "/k/a.conf;/k/b.conf;"}, ["/k/a.conf", "/k/b.conf"]),
        ("placement", {"DIR": "/p", "FILES": "a.conf"}, ["/p/placement.conf"]),
        ("placement", {"FILES": "a.conf"}, ["/etc/placement/placement.conf"]),
        ("cinder", {"DIR": "/c", "FILES": "a.conf"}, ["/etc/cinder/cinder.conf"]),
        ("heat", {"DIR": "/h"}, ["/etc/heat/heat.conf", "/etc/heat/heat-api.conf"]),
    ],
)
def test_each_application_looks_in_its_own_way(
    host: Host, service: str, environment: dict[str, str], files: list[str]
) -> None:
    """Which variables count, and what is usual, is another thing with each service; drop-ins are read by all."""
    usual = [f"/etc/{name}/{name}.conf" for name in APPLICATIONS]
    host.put(*usual, "/etc/heat/heat-api.conf", "/etc/glance/glance-image-import.conf", "/etc/nova/nova-api.conf")
    host.put(f"/etc/{service}/{service}.conf.d/1.conf")
    pid = host.serve(service, **{f"OS_{service.upper()}_CONFIG_{name}": value for name, value in environment.items()})

    assert host.sources(pid, service).files == (*files, f"/etc/{service}/{service}.conf.d/1.conf")


def test_variables_for_applications_are_nothing_to_commands(host: Host) -> None:
    """Those of Neutron's server alone look as the application does."""
    host.put("/etc/nova/nova.conf", "/etc/neutron/neutron.conf")
    variables = {"OS_NOVA_CONFIG_DIR": "/n", "OS_NEUTRON_CONFIG_DIR": "/n"}
    names = ("nova-compute", "neutron-l3-agent", "neutron-rpc-server")
    found = [host.sources(host.run(name, **variables), name.partition("-")[0], name).files for name in names]

    assert found == [
        ("/etc/nova/nova.conf",),
        ("/etc/neutron/neutron.conf",),
        ("/n/neutron.conf", "/n/plugins/ml2/ml2_conf.ini"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--pyargv=--config-file /a.conf --config-file=/b.conf --debug"],
        ["--pyargv", "--config-file=/a.conf --config-file /b.conf"],
    ],
)
def test_a_uwsgi_hands_words_on(host: Host, words: list[str]) -> None:
    """They stand in the value of its own option; some applications do not look at them."""
    host.put("/etc/placement/placement.conf")

    assert host.sources(host.serve("neutron", *words), "neutron").files == ("/a.conf", "/b.conf")
    assert host.sources(host.serve("placement", *words), "placement").files == ("/etc/placement/placement.conf",)


def test_a_uwsgi_is_configured_by_a_file(host: Host) -> None:
    """What it hands on, and the environment that it makes, may stand there and nowhere else."""
    host.put("/etc/w.ini", text="[uwsgi]\nenv = OS_NOVA_CONFIG_DIR=/n\nenv=OS_NOVA_CONFIG_FILES=a.conf;b.conf\n")
    host.put("/etc/v.ini", text="[uwsgi]\npyargv = --config-file /c.conf --config-dir /d\n")
    host.put("/d/e.conf")

    assert host.sources(host.serve("nova", "--ini", "/etc/w.ini"), "nova").files == ("/n/a.conf", "/n/b.conf")
    assert host.sources(host.serve("nova", "--ini=/etc/v.ini"), "nova").files == ("/c.conf", "/d/e.conf")
    assert host.sources(host.serve("nova", "--env", "OS_NOVA_CONFIG_DIR=/m"), "nova").files == ("/m/nova.conf",)


def test_variables_set_options_before_all_files(host: Host) -> None:
    """They go before what stands in files, and are not told with the sources, as they may be secret."""
    host.put("/etc/nova/nova.conf", text="[database]\nconnection = one\nmax_retries = 3\n")
    pid = host.run("nova-conductor", OS_DATABASE__CONNECTION="two-secret", OS_DEFAULT__DEBUG="1", OS_CLOUD="x")
    found = host.configuration(pid, "nova", "nova-conductor")
    expected = {("database", "connection"): "two-secret", ("database", "max_retries"): "3", ("DEFAULT", "debug"): "1"}

    assert found is not None
    assert found.options == expected
    assert "two-secret" not in f"{found}{host.sources(pid, 'nova', 'nova-conductor')}"
    assert options_of_variables([("OS_A__B__C", "d"), ("OS_A_B", "e")]) == {("a", "b__c"): "d"}


def test_what_cannot_be_read_is_told(host: Host) -> None:
    """A file that is gone, or broken, may have set anything; of no file at all there is nothing to tell."""
    host.put("/a.conf", text="[DEFAULT]\nx = 1\n")
    host.put("/b.conf", text="[DEFAULT]\npassword secret-word\n")
    words = [f"--config-file=/{name}.conf" for name in "abc"]
    some, none = host.run("nova-conductor", *words), host.run("nova-conductor", *words[1:])
    found = host.configuration(some, "nova", "nova-conductor")

    assert found is not None
    assert found.options == {("DEFAULT", "x"): "1"}
    assert found.unread == (
        "/b.conf: line 2 is neither an option with a value nor a section nor a comment",
        "/c.conf: it cannot be read (No such file or directory)",
    )
    assert host.configuration(none, "nova", "nova-conductor") is None


def test_a_drop_in_that_was_taken_away_leaves_a_trace(host: Host) -> None:
    """A process holds what stood in it; its folder tells when it was changed."""
    host.put("/etc/nova/nova.conf", "/etc/nova/nova.conf.d/50-x.conf")
    pid = host.run("nova-conductor")
    before = time.time() - 600
    for path in ("nova.conf", "nova.conf.d"):
        os.utime(host.root / "etc/nova" / path, (before, before))
    (host.root / "etc/nova/nova.conf.d/50-x.conf").unlink()
    found = host.configuration(pid, "nova", "nova-conductor")

    assert found is not None
    assert found.file == "/etc/nova/nova.conf.d"
    assert found.changed > before + 300


def test_links_are_followed_as_the_process_would(host: Host) -> None:
    """An absolute link leads to a place in the root of the process, not in ours."""
    host.put("/opt/all/50-x.conf", text="[DEFAULT]\nx = 1\n")
    (host.root / "etc/nova").mkdir(parents=True)
    (host.root / "etc/nova/nova.conf.d").symlink_to("/opt/all")
    found = host.configuration(host.run("nova-conductor"), "nova", "nova-conductor")

    assert found is not None
    assert found.options == {("DEFAULT", "x"): "1"}


def test_what_is_no_service_of_oslo_config_has_no_such_configuration(host: Host) -> None:
    """Swift reads its files in its own way."""
    host.put("/etc/swift/swift.conf")

    assert host.sources(host.run("swift-proxy-server"), "swift", "swift-proxy-server") == Sources()


WORD = st.text(st.characters(codec="utf-8", categories=["L", "N"], include_characters="_-./$%é"), min_size=1)
NAME = st.text(st.sampled_from("abcXYZ_-09"), min_size=1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["DEFAULT", "a", "A", "b c"]), NAME, st.lists(WORD, min_size=1, max_size=3), st.booleans()
        )
    )
)
def test_what_is_written_is_read(written: list[tuple[str, str, list[str], bool]]) -> None:
    """Each assignment with all its lines, in order; what stands between, or how it is written, changes nothing."""
    lines = []
    for section, name, values, plain in written:
        first = f"{name} = {values[0]}" if plain else f"{name}:'{values[0]}'  "
        lines += [f"[{section}]", "# x = 1", "", first, *(f"\t {value}" for value in values[1:]), ""]
    expected = [
        (section if section == "DEFAULT" else section.lower(), name, "\n".join(values))
        for section, name, values, _plain in written
    ]

    assert list(assignments("\n".join(lines))) == expected


def test_the_last_value_counts_and_the_others_are_there(tmp_path: Path) -> None:
    """An option that takes several values has all of them; the names of sections have no case but for DEFAULT's."""
    text = '[pci]\nalias = 1\nalias = 2\n[PCI]\nalias = 3\n 4\n\n[default]\nx: a=b\n[DEFAULT]\nx=a:b\ny =\nz = "\'"\n'
    (tmp_path / "x.conf").write_text(text)

    assert [value for section, _name, value in assignments(text) if section == "pci"] == ["1", "2", "3\n4"]
    assert read_options(tmp_path / "x.conf") == {
        ("pci", "alias"): "3\n4",
        ("default", "x"): "a=b",
        ("DEFAULT", "x"): "a:b",
        ("DEFAULT", "y"): "",
        ("DEFAULT", "z"): "'",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("s3cret = 1\n", "line 1 sets an option outside of any section"),
        ("[DEFAULT]\n\n s3cret\n", "line 3 goes on with a value where there is none"),
        ("[DEFAULT]\na = 1\n# c\n s3cret\n", "line 4 goes on with a value where there is none"),
        ("[DEFAULT]\ns3cret\n", "line 2 is neither an option with a value nor a section nor a comment"),
        ("[DEFAULT]\n= s3cret\n", "line 2 is neither an option with a value nor a section nor a comment"),
        ("[s3cret\n", "line 1 begins with [ and is no section"),
        ("[]\n", "line 1 begins with [ and is no section"),
        ("[DEFAULT] # s3cret\n", "line 1 begins with [ and is no section"),
    ],
)
def test_what_a_service_would_not_read_is_told_without_a_word_of_it(text: str, problem: str) -> None:
    """The line is named, what stands there is not: it may be a secret."""
    with pytest.raises(UnreadableError) as told:
        list(assignments(text))

    assert str(told.value) == problem


def test_a_value_may_refer_to_another() -> None:
    """A password with a dollar is written with two; what only the code knows stays as it is, and nothing goes round."""
    options = {
        ("database", "connection"): "mysql://$user:pa$$ss\\$1@${DEFAULT.host}/${nova.name}$other",
        ("database", "user"): "u",
        ("DEFAULT", "user"): "v",
        ("DEFAULT", "host"): "h$user",
        ("nova", "name"): "n",
        ("a", "round"): "$round",
    }

    assert value_of(options, "database", "connection") == "mysql://u:pa$ss$1@hv/n$other"
    assert value_of(options, "a", "round") == "$round"
    assert value_of(options, "a", "none") is None
