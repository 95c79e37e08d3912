"""Real control groups of this machine for tests and benchmarks: version 1, version 2 or both."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from jupyterhub_metrics.sampler.cgroups import find_mounts

ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> dict[str, str]:
    """The folders of all hierarchies, by controller; ``v2`` is the unified one."""
    mounts = find_mounts(ROOT)
    return {**mounts.v1, **({"v2": mounts.v2} if mounts.v2 else {})}


@lru_cache(maxsize=1)
def may_make_groups() -> bool:
    """Whether this account may make control groups whose processor time and memory count."""
    found = hierarchies()
    if not {"cpuacct", "memory"} <= set(found) and "v2" not in found:
        return False
    try:
        with RealGroup() as group:
            return group.counts()
    except OSError:
        return False


class RealGroup:
    """A control group at ``path`` in every hierarchy, removed at the end."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path or f"jhm-test-{secrets.token_hex(4)}"
        self.folders = {name: Path(root) / self.path for name, root in hierarchies().items()}

    def __enter__(self) -> RealGroup:
        for folder in set(self.folders.values()):
            folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + 10
        for folder in set(self.folders.values()):
            while folder.exists():
                # its last process may still be on its way out
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    break
                assert time.monotonic() < deadline, f"{folder} stays"
                time.sleep(0.02)

    def counts(self) -> bool:
        """Whether the kernel counts here what the tests compare."""
        one_of = ("cpuacct", "cpuacct.usage"), ("v2", "memory.current")
        return any(
            name in self.folders and (self.folders[name] / file).exists() for name, file in one_of
        )

    def join(self) -> None:
        """Put the calling process in; for ``preexec_fn``."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    @contextlib.contextmanager
    def running(self, command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """A command in the group, ended at the end."""
        with subprocess.Popen(
            command,
            preexec_fn=self.join,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait(10)

    def cpu_seconds(self) -> float:
        """What the kernel has counted, read without the code under test."""
        if "cpuacct" in self.folders:
            return int((self.folders["cpuacct"] / "cpuacct.usage").read_text()) / 1e9
        lines = (self.folders["v2"] / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6

    def memory_bytes(self) -> int:
        """What the kernel counts as used, page cache included."""
        if "memory" in self.folders:
            return int((self.folders["memory"] / "memory.usage_in_bytes").read_text())
        return int((self.folders["v2"] / "memory.current").read_text())

    def limit_cpu(self, cores: float) -> None:
        if "cpu" in self.folders:
            (self.folders["cpu"] / "cpu.cfs_period_us").write_text("100000")
            (self.folders["cpu"] / "cpu.cfs_quota_us").write_text(str(int(cores * 100_000)))
        else:
            (self.folders["v2"] / "cpu.max").write_text(f"{int(cores * 100_000)} 100000")

    def count_io(self, place: Path) -> None:
        """Have the kernel count what goes to the disk below ``place``: by a limit far away."""
        number = place.stat().st_dev
        line = f"{os.major(number)}:{os.minor(number)} {2**40}"
        if "blkio" in self.folders:
            (self.folders["blkio"] / "blkio.throttle.write_bps_device").write_text(line)

    def limit_memory(self, size_bytes: int) -> None:
        if "memory" in self.folders:
            (self.folders["memory"] / "memory.limit_in_bytes").write_text(str(size_bytes))
        else:
            (self.folders["v2"] / "memory.max").write_text(str(size_bytes))
