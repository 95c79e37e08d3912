"""A file system of its own for a program under test, as a container or a unit of systemd has one.

It is this machine's, read-only, with files of the test's at whatever paths; nobody else sees it.
The program is started where file systems may be mounted, as whom and with what rights its manifest
says, by ``setpriv``. Nothing that manages services takes part.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from real_cgroups import RealGroup

_MACHINE = "machine"


class MountedRoot:
    """A root in ``folder`` in which everything of this machine is where it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mounts: list[tuple[Path, Path]] = []
        self._empty: list[Path] = []
        _link_all(folder, Path("/"))
        (folder / _MACHINE).mkdir()
        self._mounts.append((Path("/"), folder / _MACHINE))

    def place(self, path: str) -> Path:
        """Where what the program sees at ``path`` is to be written; its folder is there."""
        below = Path(path).relative_to("/")
        for parent in reversed(below.parents[:-1]):
            folder = self.folder / parent
            if folder.is_symlink():
                folder.unlink()
            if not folder.exists():
                _link_all(folder, Path("/") / parent)
        found = self.folder / below
        if found.is_symlink():
            found.unlink()
        return found

    def put(self, path: str, text: str, *, mode: int = 0o644, owner: int | None = None) -> None:
        """A file at ``path``."""
        place = self.place(path)
        place.write_text(text)
        place.chmod(mode)
        if owner is not None:
            os.chown(place, owner, owner)

    def mount(self, source: str, path: str) -> None:
        """A folder of this machine at ``path``, for reading, with what is mounted below it."""
        place = self.place(path)
        place.mkdir()
        self._mounts.append((Path(source), place))

    def empty(self, path: str) -> None:
        """A folder at ``path`` that may be written to, and that nobody sees afterwards."""
        place = self.place(path)
        place.mkdir()
        self._empty.append(place)

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        rights: Sequence[str],
        files: int | None = None,
        group: RealGroup | None = None,
    ) -> subprocess.Popen[str]:
        """The command, with ``rights`` as ``setpriv`` takes them.

        It may have so many ``files`` open, and runs in a control ``group``.
        """
        mount = program("mount")
        steps = [f"{mount} --bind {quoted(self.folder)} {quoted(self.folder)}"]
        for source, place in self._mounts:
            steps += [
                f"{mount} --rbind {quoted(source)} {quoted(place)}",
                f"{mount} -o remount,bind,ro {quoted(place)}",
            ]
        steps.append(f"{mount} -o remount,bind,ro {quoted(self.folder)}")
        steps += [f"{mount} -t tmpfs none {quoted(place)}" for place in self._empty]
        if files is not None:
            steps.append(f"ulimit -n {files}")
        run = [program("chroot"), str(self.folder), program("setpriv"), *rights, *command]
        steps.append(f"exec {shlex.join(run)}")
        return subprocess.Popen(
            [program("unshare"), "--mount", "/bin/sh", "-e", "-c", "\n".join(steps)],
            env=dict(environment),
            preexec_fn=group.join if group is not None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def at_most(names: Sequence[str]) -> list[str]:
    """No more than these capabilities (``CAP_SYS_PTRACE`` or ``SYS_PTRACE``), for ``setpriv``."""
    return [f"--bounding-set={_told(names)}"]


def ambient(names: Sequence[str]) -> list[str]:
    """These capabilities though it is not root that runs, for ``setpriv``."""
    return [f"--inh-caps={_told(names)}", f"--ambient-caps={_told(names)}"]


def _told(names: Sequence[str]) -> str:
    return ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names)])


def program(name: str) -> str:
    """Where a program of the system is, whatever the environment."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert found is not None
    return found


def this_package() -> dict[str, str]:
    """The variable by which a program finds the package under test, where it takes one."""
    return {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


def quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _link_all(folder: Path, shown: Path) -> None:
    """A folder in which all that is in ``shown`` is a link to where the machine's own root is."""
    folder.mkdir(exist_ok=True)
    names = os.listdir(shown) if shown.is_dir() else []  # noqa: PTH208 - names are all it takes
    for name in names:
        (folder / name).symlink_to(f"/{_MACHINE}{shown / name}")
