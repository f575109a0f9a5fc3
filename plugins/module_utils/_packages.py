# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which code a Python process imports, of which version it is, and whether it was changed after the process began.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Knows nothing of OpenStack. What lies in a container or another mount namespace is read through ``/proc/<pid>/root``, so
paths in the results are as that process sees them. Symbolic links are followed inside of it: the kernel would follow
an absolute one outside.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from ansible_collections.openstack.upgrade_test.plugins.module_utils._processes import (
    DELETED,
    PACKAGES,
    PROC,
    Process,
    UnreadableError,
    environments,
    interpreter,
    mapped_files,
)

_METADATA = re.compile(r"(.+?)-(\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info$")
_PYTHON = re.compile(r"python(\d\.\d+)$")
_SYSTEM = (
    "/usr/local/lib/python{0}/site-packages",
    "/usr/local/lib/python{0}/dist-packages",
    "/usr/lib/python3/dist-packages",
    "/usr/lib/python{0}/site-packages",
    "/usr/lib64/python{0}/site-packages",
)
_MOST_LINKS = 40
_AT_FDCWD, _STATX_BTIME, _BTIME, _STATX_SIZE = -100, 0x800, 80, 256


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed distribution, as its metadata tells it; ``installed``: when its metadata was put where it is.

    ``folder`` is where its code lies: beside the metadata, or in a working tree when it was installed as ``editable``.
    ``commit`` is the commit it was built from, as far as it says so. Metadata is ``true`` to the code unless a working
    tree was moved to another commit since.
    """

    version: str
    path: str
    installed: float
    folder: str
    editable: bool = False
    commit: str = ""
    true: bool = True


@dataclass(frozen=True, kw_only=True)
class Change:
    """The newest change of some code: when, and which file."""

    time: float
    file: str


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Files of packages that a process has mapped, and which of them were ``replaced`` since."""

    files: frozenset[str] = frozenset()
    replaced: tuple[str, ...] = ()


def loaded(process: Process, package: Package, proc: Path = PROC) -> Loaded:
    """Return what a process has mapped of the folder its package is in; of all folders when nothing of that one."""
    folders: dict[str, set[str]] = {}
    for path in mapped_files(process.pid, proc):
        if match := PACKAGES.match(path):
            folders.setdefault(match[1], set()).add(path)
    own = folders.get(str(PurePosixPath(package.path).parent))
    files = own if own is not None else {path for group in folders.values() for path in group}
    return Loaded(files=frozenset(files), replaced=tuple(sorted(path for path in files if path.endswith(DELETED))))


def newest_of(process: Process, mapped: Loaded, proc: Path = PROC) -> float:
    """Return when the newest of the files that a process has mapped came to where it is; 0 when it has none."""
    root = proc / str(process.pid) / "root"
    there = mapped.files - set(mapped.replaced)
    return max((put(inside(root, path)) for path in there), default=0.0)


def package_folders(process: Process, proc: Path = PROC) -> list[str]:
    """Return the package folders a process may import from, most telling first; raises UnreadableError.

    First those of its virtual environment, as its command names it, but only if files of it are mapped: behind a link
    that was moved since, there may be another one. Then where its mapped extension modules lie, most first; then what
    the command names although nothing of it is mapped, and at last where its interpreter looks by itself.
    """
    root = proc / str(process.pid) / "root"
    mapped = Counter(match[1] for path in mapped_files(process.pid, proc) if (match := PACKAGES.match(path)))
    named = [folder for venv in environments(process, proc) for folder in _folders_below(root, venv)]
    ordered = [folder for folder in named if folder in mapped]
    ordered += [folder for folder, _times in mapped.most_common()]
    return list(dict.fromkeys([*ordered, *named, *_system_folders(process, proc)]))


def _folders_below(root: Path, venv: str) -> list[str]:
    """Return the package folders of a virtual environment, links resolved; none when it is not one."""
    home = inside(root, venv)
    if not (home / "pyvenv.cfg").is_file():
        return []
    return sorted(f"/{path.relative_to(root)}" for path in home.glob("lib/python*/site-packages"))


def _system_folders(process: Process, proc: Path) -> list[str]:
    match = _PYTHON.search(interpreter(process.pid, proc).removesuffix(DELETED))
    return [folder.format(match[1]) for folder in _SYSTEM] if match else []


def inside(root: Path, path: str) -> Path:
    """Return where a path of a process lies, seen from outside; links on its way are followed as the process would."""
    done: list[str] = []
    ahead = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    links = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            done = done[:-1]
            continue
        try:
            target = PurePosixPath(os.readlink(root.joinpath(*done, part)))
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            break
        done = [] if target.is_absolute() else done
        ahead += [step for step in reversed(target.parts) if step.strip("/")]
    return root.joinpath(*done)


def find_package(process: Process, distribution: str, proc: Path = PROC) -> Package:
    """Return the distribution that a process runs; raises UnreadableError."""
    root = proc / str(process.pid) / "root"
    folders = package_folders(process, proc)
    for folder in folders:
        package = package_in(root, folder, distribution)
        if package:
            return package
    where = ", ".join(folders) or "no package folder"
    raise UnreadableError(f"the metadata of {distribution} was not found in {where}")


def package_in(root: Path, folder: str, distribution: str) -> Package | None:
    """Return the newest metadata of a distribution in one folder; an unreadable folder has none."""
    wanted = _normal(distribution)
    try:
        entries = os.listdir(inside(root, folder))
    except OSError:
        return None
    matches = [match for entry in entries if (match := _METADATA.match(entry)) and _normal(match[1]) == wanted]
    packages = [_read_package(root, folder, match[0], match[2]) for match in matches]
    return max(packages, key=lambda package: package.installed, default=None)


def _read_package(root: Path, folder: str, name: str, version: str) -> Package:
    """Read one metadata folder; the version inside it goes before the one in its name."""
    place = inside(root, f"{folder}/{name}")
    origin = _json(place / "direct_url.json")
    tree = _tree(origin)
    files = [place, *(place / file for file in ("METADATA", "PKG-INFO"))]
    text = next((found for file in files[1:] if (found := _text(file))), "")
    match = re.search(r"^Version:\s*(\S+)", text, re.M)
    built = _built_from(place, origin)
    commit = _git_commit(root, tree) if tree else built
    return Package(
        version=match[1] if match else version,
        path=f"{folder}/{name}",
        installed=max((put(file) for file in files), default=0.0),
        folder=tree or folder,
        editable=bool(tree),
        commit=commit,
        true=not tree or bool(built and commit.startswith(built)),
    )


def _tree(origin: dict[str, Any]) -> str:
    """Return the working tree that an editable distribution takes its code from; empty for any other."""
    url = str(origin.get("url", ""))
    editable = _part(origin, "dir_info").get("editable") is True
    return unquote(url.removeprefix("file://")) if editable and url.startswith("file:///") else ""


def _built_from(place: Path, origin: dict[str, Any]) -> str:
    stated = _part(origin, "vcs_info").get("commit_id")
    return str(stated or _json(place / "pbr.json").get("git_version") or "")


def _git_commit(root: Path, tree: str) -> str:
    """Return the commit that is checked out in a working tree; empty when that cannot be read."""
    git = inside(root, f"{tree}/.git")
    head = _text(git / "HEAD").strip()
    if not head.startswith("ref: "):
        return head
    reference = head.removeprefix("ref: ")
    packed = re.search(rf"^([0-9a-f]+) {re.escape(reference)}$", _text(git / "packed-refs"), re.M)
    return _text(git / reference).strip() or (packed[1] if packed else "")


def _part(document: dict[str, Any], key: str) -> dict[str, Any]:
    part = document.get(key)
    return part if isinstance(part, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def newest_change(root: Path, package: Package, module: str) -> Change | None:
    """Return the newest change of a package's Python files; None when there are none that can be read.

    ``module`` is the folder of its code. Of its first file also the birth counts, as in ``put``.
    """
    base = inside(root, f"{package.folder}/{module}")
    first = str(base / "__init__.py")
    found = [(put(Path(first)), first), *_changes(str(base))]
    when, file = max(found)
    return Change(time=when, file=os.path.relpath(file, base.parent)) if when else None


def _changes(base: str) -> Iterator[tuple[float, str]]:
    for folder, folders, files in os.walk(base):
        folders[:] = [name for name in folders if name not in ("__pycache__", "tests")]
        for file in files:
            path = f"{folder}/{file}"
            if file.endswith(".py"):
                with suppress(OSError):
                    yield os.stat(path).st_mtime, path


def put(path: Path) -> float:
    """Return when a file came to where it is, or was last written, whichever is later; 0 when it is not there.

    Package managers give files the times they had when the package was built. Their birth cannot be set; so it tells
    a file that was put in another's place from one that only had its owner changed, which a change time would not.
    """
    try:
        return max(path.stat().st_mtime, born(path) or 0.0)
    except OSError:
        return 0.0


def born(path: Path) -> float | None:
    """Return when a file was made, or None where the system does not tell."""
    call = _statx()
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    if call is None or call(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return None
    mask = int.from_bytes(buffer.raw[0:4], "little")
    if not mask & _STATX_BTIME:
        return None
    seconds, nanoseconds = ctypes.c_int64.from_buffer(buffer, _BTIME), ctypes.c_uint32.from_buffer(buffer, _BTIME + 8)
    return seconds.value + nanoseconds.value / 1e9


def _statx() -> Callable[..., int] | None:
    """Return the C library's own call, which Python has no other way to; None where it has none."""
    try:
        return ctypes.CDLL(None).statx
    except (AttributeError, OSError):
        return None
