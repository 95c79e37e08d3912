"""Containers by the kernel's control groups, version 1, version 2 and both; no Docker needed.

Called by the monitors and the sampling loop. The files and their units are those of the kernel's
documentation, cgroup-v2.rst and cgroup-v1/. A key that is not known is left aside, a file that
cannot be read leaves its numbers out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from .containers import ContainerReading
from .files import OpenFiles, number, numbers, read_text
from .host import net_counters
from .rates import Counters

CONTROLLERS: Final = {
    "cpu": ("cpu", "cpu,cpuacct"),
    "cpuacct": ("cpuacct", "cpu,cpuacct"),
    "memory": ("memory",),
    "blkio": ("blkio",),
    "pids": ("pids",),
}
"""The controllers of version 1 that are read, and under which names they are mounted."""

LIMITS_SECONDS: Final = 30.0
"""How long a limit that was read counts: they hardly change."""

UNLIMITED_BYTES: Final = 2**62
"""Version 1 tells the largest number of whole pages where there is no limit."""

_CPU_V2: Final = {
    "usage_usec": "cpu",
    "user_usec": "cpu_user",
    "system_usec": "cpu_system",
    "throttled_usec": "throttled",
}
_MEMORY_V2: Final = {
    "anon": "rss",
    "file": "cache",
    "shmem": "shared",
    "inactive_file": "inactive",
}
_MEMORY_V1: Final = {
    "total_rss": "rss",
    "total_cache": "cache",
    "total_shmem": "shared",
    "total_swap": "swap",
    "total_inactive_file": "inactive",
}
_LOOPBACK: Final = re.compile("lo$")
_PER_SECOND: Final = {"usec": 1e6, "nsec": 1e9}


@dataclass(frozen=True)
class Mounts:
    """Where the hierarchies are: ``v2`` the unified one, ``v1`` each controller's own."""

    v2: str | None
    v1: Mapping[str, str]

    @property
    def roots(self) -> tuple[str, ...]:
        """Every hierarchy once."""
        return tuple(dict.fromkeys([*self.v1.values(), *([self.v2] if self.v2 else [])]))


def find_mounts(root: Path | str = "/sys/fs/cgroup") -> Mounts:
    """What is mounted below ``root``. On a hybrid host, where version 1 has a controller counts."""
    base = Path(root)
    if (base / "cgroup.controllers").exists():
        return Mounts(str(base), {})
    v1 = {
        controller: str(base / name)
        for controller, names in CONTROLLERS.items()
        for name in reversed(names)
        if (base / name / "cgroup.procs").exists()
    }
    unified = base / "unified"
    has_v2 = bool((read_text(unified / "cgroup.controllers") or "").split())
    return Mounts(str(unified) if has_v2 else None, v1)


class CgroupReader:
    """Reads the containers below ``root``. ``close`` lets go of the files that are kept open."""

    def __init__(
        self,
        root: Path | str = "/sys/fs/cgroup",
        proc: Path | str = "/proc",
        *,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self.mounts = find_mounts(root)
        self._proc = str(proc)
        self._seconds = seconds
        self._groups: dict[str, _Group] = {}

    def exists(self, path: str) -> bool:
        """Whether there is a group of this path in any hierarchy."""
        return any(Path(f"{root}/{path}").is_dir() for root in self.mounts.roots)

    def paths(self, pattern: str) -> list[str]:
        """The groups whose path fits a pattern with ``*``, which stands for no ``/``."""
        found = {
            str(place.relative_to(root))
            for root in self.mounts.roots
            for place in Path(root).glob(pattern)
            if place.is_dir()
        }
        return sorted(found)

    def read(self, path: str) -> ContainerReading | None:
        """What the group at ``path``, relative to the hierarchies, has used; None if it is gone."""
        group = self._groups.get(path)
        run = self._run(path)
        if run is None:
            self.forget(path)
            return None
        if group is None or group.run != run:
            self.forget(path)
            group = self._groups[path] = _Group(self.mounts, path, run, self._proc)
        return group.read(self._seconds())

    def processes(self, path: str) -> list[int]:
        """The processes of the group at ``path`` and of those below it."""
        folder = next((f"{root}/{path}" for root in self.mounts.roots), "")
        texts = (read_text(f"{place}/cgroup.procs") or "" for place in _with_those_below(folder))
        return [int(pid) for text in texts for pid in text.split()]

    def forget(self, path: str) -> None:
        """Close the files of a group that is read no more."""
        group = self._groups.pop(path, None)
        if group is not None:
            group.close()

    def close(self) -> None:
        for path in list(self._groups):
            self.forget(path)

    def _run(self, path: str) -> str | None:
        """Tells a group from another one that has its path later: the number of its folder."""
        for root in self.mounts.roots:
            try:
                found = os.stat(f"{root}/{path}")  # noqa: PTH116 - a Path costs as much again
            except OSError:
                continue
            return str(found.st_ino)
        return None


class _Group:
    """The files of one container."""

    def __init__(self, mounts: Mounts, path: str, run: str, proc: str) -> None:
        self.run = run
        self._proc = proc
        self._v2 = OpenFiles(f"{mounts.v2}/{path}") if mounts.v2 else None
        self._v1 = {name: OpenFiles(f"{root}/{path}") for name, root in mounts.v1.items()}
        self._parents = _parents(mounts, path)
        self._folder = next((f"{root}/{path}" for root in mounts.roots), "")
        self._limits: tuple[float, float | None, float | None] | None = None
        self._netns_pid: str | None = None
        self._net: OpenFiles | None = None
        self._net_asked = -LIMITS_SECONDS

    def read(self, seconds: float) -> ContainerReading:
        counters: dict[str, float] = {}
        gauges: dict[str, float] = {}
        if self._v2 is not None:
            read_v2(self._v2, counters, gauges)
        if self._v1:
            read_v1(self._v1, counters, gauges)
        if self._limits is None or seconds - self._limits[0] > LIMITS_SECONDS:
            cores = [limit for at in self._parents if (limit := _cpu_limit(at)) is not None]
            memory = [limit for at in self._parents if (limit := _memory_limit(at)) is not None]
            self._limits = (seconds, min(cores, default=None), min(memory, default=None))
        return ContainerReading(
            seconds=seconds,
            run=self.run,
            counters=counters,
            nets=self._nets(seconds),
            gauges=gauges,
            cpu_limit_cores=self._limits[1],
            memory_limit_bytes=self._limits[2],
        )

    def _nets(self, seconds: float) -> Mapping[str, Counters]:
        """The interfaces of the container's own network; nothing where it has none of its own."""
        text = self._net.read("dev") if self._net is not None else None
        if not text and seconds - self._net_asked >= LIMITS_SECONDS:
            self._net_asked = seconds
            if self._net is not None:
                self._net.close()
            self._net = self._own_network()
            text = self._net.read("dev") if self._net is not None else None
        return dict(net_counters(text, skip=_LOOPBACK)) if text else {}

    def _own_network(self) -> OpenFiles | None:
        pid = first_process(self._folder)
        if pid is None:
            return None
        own, nodes = network_of(self._proc, pid), nodes_network(self._proc)
        if own is None or nodes is None or own == nodes:
            return None
        return OpenFiles(f"{self._proc}/{pid}/net")

    def close(self) -> None:
        for files in (self._v2, self._net, *self._v1.values()):
            if files is not None:
                files.close()


def read_v2(files: OpenFiles, counters: dict[str, float], gauges: dict[str, float]) -> None:
    """What the unified hierarchy tells of a group."""
    for name, value in numbers(files.read("cpu.stat"), _CPU_V2).items():
        counters[_CPU_V2[name]] = value / _PER_SECOND["usec"]
    current = number(files.read("memory.current"))
    if current is not None:
        stat = numbers(files.read("memory.stat"), _MEMORY_V2)
        gauges["memory"] = current
        gauges["working_set"] = max(current - stat.pop("inactive_file", 0), 0)
        for name, value in stat.items():
            gauges[_MEMORY_V2[name]] = value
    swap = number(files.read("memory.swap.current"))
    if swap is not None:
        gauges["swap"] = swap
    kills = numbers(files.read("memory.events"), ("oom_kill",)).get("oom_kill")
    if kills is not None:
        counters["oom_kills"] = kills
    counters.update(io_of_v2(files.read("io.stat")))
    for what in ("cpu", "memory", "io"):
        waited = pressure_seconds(files.read(f"{what}.pressure"))
        if waited is not None:
            counters[f"pressure_{what}"] = waited
    processes = number(files.read("pids.current"))
    if processes is not None:
        gauges["processes"] = processes


def io_of_v2(text: str | None) -> dict[str, float]:
    """``io.stat``: a line a device, ``8:0 rbytes=1 wbytes=2 rios=3 wios=4 …``, summed up."""
    if text is None:
        return {}
    wanted = {"rbytes": "read_bytes", "wbytes": "written_bytes", "rios": "reads", "wios": "writes"}
    summed = dict.fromkeys(wanted.values(), 0.0)
    for pair in text.split():
        key, _, value = pair.partition("=")
        amount = number(value) if key in wanted else None
        if amount is not None:
            summed[wanted[key]] += amount
    return summed


def pressure_seconds(text: str | None) -> float | None:
    """The total of the line ``some`` of a pressure file: how long something had to wait."""
    for line in (text or "").splitlines():
        if line.startswith("some "):
            total = number(line.rpartition("total=")[2])
            return None if total is None else total / _PER_SECOND["usec"]
    return None


def read_v1(
    files: Mapping[str, OpenFiles], counters: dict[str, float], gauges: dict[str, float]
) -> None:
    """What the hierarchies of version 1 tell of a group, with all groups below it."""
    if "cpuacct" in files:
        for name, what in (
            ("cpuacct.usage", "cpu"),
            ("cpuacct.usage_user", "cpu_user"),
            ("cpuacct.usage_sys", "cpu_system"),
        ):
            spent = number(files["cpuacct"].read(name))
            if spent is not None:
                counters[what] = spent / _PER_SECOND["nsec"]
    if "cpu" in files:
        throttled = numbers(files["cpu"].read("cpu.stat"), ("throttled_time",)).get(
            "throttled_time"
        )
        if throttled is not None:
            counters["throttled"] = throttled / _PER_SECOND["nsec"]
    if "memory" in files:
        _memory_v1(files["memory"], counters, gauges)
    if "blkio" in files:
        for name, read, written in (
            ("blkio.throttle.io_service_bytes_recursive", "read_bytes", "written_bytes"),
            ("blkio.throttle.io_serviced_recursive", "reads", "writes"),
        ):
            text = files["blkio"].read(name)
            # kernels from 6.10 on count nothing here until some limit is set, and tell of no device
            if text is not None and ":" in text:
                counters[read], counters[written] = io_of_v1(text)
    if "pids" in files:
        processes = number(files["pids"].read("pids.current"))
        if processes is not None:
            gauges["processes"] = processes


def _memory_v1(files: OpenFiles, counters: dict[str, float], gauges: dict[str, float]) -> None:
    usage = number(files.read("memory.usage_in_bytes"))
    if usage is None:
        return
    stat = numbers(files.read("memory.stat"), _MEMORY_V1)
    gauges["memory"] = usage
    gauges["working_set"] = max(usage - stat.pop("total_inactive_file", 0), 0)
    for name, value in stat.items():
        gauges[_MEMORY_V1[name]] = value
    kills = numbers(files.read("memory.oom_control"), ("oom_kill",)).get("oom_kill")
    if kills is not None:
        counters["oom_kills"] = kills


def io_of_v1(text: str) -> tuple[float, float]:
    """``8:0 Read 1`` and ``8:0 Write 2`` of all devices: what was read, and what was written."""
    read = written = 0.0
    for line in text.splitlines():
        parts = line.split()
        amount = number(parts[2]) if len(parts) == 3 else None
        if amount is not None and parts[1].lower() == "read":
            read += amount
        elif amount is not None and parts[1].lower() == "write":
            written += amount
    return read, written


def _parents(mounts: Mounts, path: str) -> tuple[Mapping[str, str], ...]:
    """The group and those above it, each as its folders by controller: all limits count."""
    found = []
    while path.strip("/"):
        folders = {name: f"{root}/{path}" for name, root in mounts.v1.items()}
        if mounts.v2:
            folders["v2"] = f"{mounts.v2}/{path}"
        found.append(folders)
        path = path.rpartition("/")[0]
    return tuple(found)


def _cpu_limit(folders: Mapping[str, str]) -> float | None:
    """How many cores a group may use; None without a quota."""
    if "cpu" in folders:
        quota = number(read_text(f"{folders['cpu']}/cpu.cfs_quota_us"))
        period = number(read_text(f"{folders['cpu']}/cpu.cfs_period_us"))
    else:
        told = (read_text(f"{folders.get('v2', '')}/cpu.max") or "").split()
        quota, period = (number(part) for part in told) if len(told) == 2 else (None, None)
    return quota / period if quota and period and quota > 0 else None


def _memory_limit(folders: Mapping[str, str]) -> float | None:
    if "memory" in folders:
        limit = number(read_text(f"{folders['memory']}/memory.limit_in_bytes"))
    else:
        limit = number(read_text(f"{folders.get('v2', '')}/memory.max"))
    return limit if limit is not None and limit < UNLIMITED_BYTES else None


def first_process(folder: str) -> str | None:
    """Some process of a group or of one below it; None if there is none."""
    for place in _with_those_below(folder):
        pids = (read_text(f"{place}/cgroup.procs") or "").split()
        if pids:
            return pids[0]
    return None


def network_of(proc: str, pid: str) -> str | None:
    """Tells the network of a process from others; None if it may not be seen."""
    try:
        return os.readlink(f"{proc}/{pid}/ns/net")  # noqa: PTH115
    except OSError:
        return None


def nodes_network(proc: str) -> str | None:
    """The network of the node's first process.

    Some machines hide that one even from root; then that of the kernel's own threads, which are in
    the same one.
    """
    first = network_of(proc, "1")
    if first is None and (read_text(f"{proc}/2/comm") or "").strip() == "kthreadd":
        return network_of(proc, "2")
    return first


def _with_those_below(folder: str) -> Iterator[str]:
    for place, folders, _ in os.walk(folder):
        folders.sort()
        yield place
