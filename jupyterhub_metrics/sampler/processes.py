"""A server without a container of its own: all its processes, added up. Standard library only.

Called by the sidecar, in the user's own server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from .containers import ContainerReading
from .files import number, read_text

_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_PARENT, _USER, _SYSTEM, _STARTED, _RESIDENT = 1, 11, 12, 19, 21
"""Places in ``/proc/PID/stat`` after the name, counted from 0 (proc_pid_stat(5))."""


_ENDED: Final = ("Z", "X", "x")


@dataclass(frozen=True)
class _Spent:
    """What a process and those of its children that have ended spent, in seconds."""

    user: float = 0.0
    system: float = 0.0
    parent: str | None = None


_NOTHING: Final = _Spent()


def _key(pid: int, fields: list[str]) -> str:
    """Tells a process from a later one of the same number."""
    return f"{pid} {fields[_STARTED]}"


class ProcessTree:
    """The process ``root`` and all that descends from it; with ``root`` None all that can be seen,
    which in a pod that shares its process namespace is the pod.

    ``without`` are processes that do not count, with all below them: the sampler's own.
    """

    source = "processes"

    def __init__(
        self,
        root: int | None,
        *,
        without: Iterable[int] = (),
        proc: Path | str = "/proc",
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._root = root
        self._without = frozenset(without)
        self._proc = str(proc)
        self._seconds = seconds
        self._spent: dict[str, _Spent] = {}
        self._user = self._system = 0.0

    def read(self) -> ContainerReading | None:
        """What the processes have used since the first reading; None if there are none any more.

        Time of processes that ended counts on, once their parent has waited for them in full.
        """
        stats = self._stats()
        members = self._members(stats)
        if all(stats[pid][0] in _ENDED for pid in members):
            return None
        self._add_up({pid: stats[pid] for pid in members})
        memory = [self._memory_bytes(pid, stats[pid]) for pid in members]
        gauges = {"working_set": sum(memory), "rss": sum(memory), "processes": float(len(members))}
        root = self._root if self._root is not None else min(members)
        return ContainerReading(
            seconds=self._seconds(),
            run=f"{root} {stats[root][_STARTED]}" if self._root is not None else "all",
            counters={
                "cpu": self._user + self._system,
                "cpu_user": self._user,
                "cpu_system": self._system,
            },
            gauges=gauges,
        )

    def _stats(self) -> dict[int, list[str]]:
        found = {}
        for name in os.listdir(self._proc):  # noqa: PTH208 - names are all that is wanted
            if name.isdecimal():
                text = read_text(f"{self._proc}/{name}/stat")
                # a process' name may hold spaces and brackets
                fields = (text or "").rpartition(")")[2].split()
                if len(fields) > _RESIDENT:
                    found[int(name)] = fields
        return found

    def _members(self, stats: dict[int, list[str]]) -> list[int]:
        children: dict[int, list[int]] = {}
        for pid, fields in stats.items():
            children.setdefault(int(fields[_PARENT]), []).append(pid)
        if self._root is None:
            front = [pid for pid, fields in stats.items() if int(fields[_PARENT]) not in stats]
        else:
            front = [self._root] if self._root in stats else []
        members = []
        while front:
            pid = front.pop()
            if pid not in self._without:
                members.append(pid)
                front.extend(children.get(pid, ()))
        return sorted(members)

    def _add_up(self, stats: dict[int, list[str]]) -> None:
        """Adds what each process spent since the last reading, and its ended children with it."""
        spent = {}
        for pid, fields in stats.items():
            own = [float(fields[place]) / _TICKS for place in range(_USER, _USER + 4)]
            parent = stats.get(int(fields[_PARENT]))
            spent[_key(pid, fields)] = _Spent(
                user=own[0] + own[2],
                system=own[1] + own[3],
                parent=None if parent is None else _key(int(fields[_PARENT]), parent),
            )
        for key, now in spent.items():
            before = self._spent.get(key, _NOTHING)
            self._user += now.user - before.user
            self._system += now.system - before.system
        for key, gone in self._spent.items():
            # what its parent has waited for is in the parent's account now, all of it
            if key not in spent and gone.parent in spent:
                self._user -= gone.user
                self._system -= gone.system
        self._spent = spent

    def _memory_bytes(self, pid: int, fields: list[str]) -> float:
        """The process' part of what it shares with others; all of it where that is not told."""
        for line in (read_text(f"{self._proc}/{pid}/smaps_rollup") or "").splitlines():
            if line.startswith("Pss:"):
                kibibytes = number(line.split()[1])
                if kibibytes is not None:
                    return 1024 * kibibytes
        return float(fields[_RESIDENT]) * _PAGE_BYTES
