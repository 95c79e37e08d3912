"""What a node does, from ``/proc`` and ``/sys``. Called by the monitors and the sampling loop.

``HostReader`` takes the roots of both, so that a sampler in a container reads the node's own and
tests read fixture trees. psutil cannot be pointed at two roots and keeps sums of its own between
calls; it is asked only where there is no ``/proc``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from .files import read_text
from .rates import Counters, per_second, shares
from .samples import MB, Sample, mib
from .sensors import Sensors

CPU_FIELDS: Final = (
    "user",
    "nice",
    "system",
    "idle",
    "iowait",
    "irq",
    "softirq",
    "steal",
    "guest",
    "guest_nice",
)
"""The columns of the line ``cpu`` of ``/proc/stat``, in ticks (proc_stat(5))."""

GUEST: Final = {"guest": "user", "guest_nice": "nice"}
"""Time that is counted in another column too."""

SECTOR_BYTES: Final = 512
"""What ``/proc/diskstats`` counts in, whatever the disk's own sectors are."""

NET_FIELDS: Final = {"bytes": 0, "pkts": 1, "errs": 2, "drops": 3}
_NET_COLUMNS: Final = 8

_PART: Final = re.compile(r"((?:nvme\d+n\d+|mmcblk\d+|nbd\d+)p\d+|(?:[shv]|xv)d[a-z]+\d+)$")
_NO_DISK: Final = ("loop", "ram", "zram", "fd", "sr", "dm-", "md")
_NO_WIRE: Final = re.compile(
    r"(lo|veth.*|docker\d.*|br-.*|virbr.*|cni.*|flannel.*|cali.*|tunl.*|vxlan.*|lxc.*|cilium.*"
    r"|kube-.*|nodelocaldns|dummy.*|ifb.*|bond\d+|tap.*|tun.*|wg.*)$"
)


@dataclass(frozen=True)
class HostReading:
    """What the kernel had counted at one moment. ``seconds`` are those of a monotonic clock."""

    seconds: float
    cpu: Counters = field(default_factory=dict)
    counters: Counters = field(default_factory=dict)
    disks: Mapping[str, Counters] = field(default_factory=dict)
    nets: Mapping[str, Counters] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)


class HostReader:
    """Reads one node. ``proc`` and ``sys`` are where its file systems of that name are."""

    def __init__(
        self,
        proc: Path | str = "/proc",
        sys: Path | str = "/sys",
        *,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._proc = Path(proc)
        self._sys = Path(sys)
        self._seconds = seconds
        self._sensors = Sensors(self._sys)

    @property
    def there(self) -> bool:
        """Whether there is something to read."""
        return (self._proc / "stat").exists()

    def read(self) -> HostReading:
        """What is counted now. What cannot be read is left out."""
        stat = dict(_stat_lines(read_text(self._proc / "stat")))
        gauges = {**_loads(read_text(self._proc / "loadavg")), **self._memory()}
        for name in ("procs_running", "procs_blocked"):
            if name in stat:
                gauges[name] = stat[name][0]
        temperature = self._sensors.temperature_celsius()
        if temperature is not None:
            gauges["temperature"] = temperature
        counted = {"ctxt": "ctx_switches", "intr": "interrupts"}
        return HostReading(
            seconds=self._seconds(),
            cpu=dict(zip(CPU_FIELDS, stat.get("cpu", ()), strict=False)),
            counters={to: stat[name][0] for name, to in counted.items() if name in stat},
            disks=dict(self._disks()),
            nets=dict(self._nets()),
            gauges=gauges,
        )

    def _memory(self) -> dict[str, float]:
        """Of ``/proc/meminfo``, in bytes."""
        found = {
            name: 1024 * float(rest.split()[0])
            for name, _, rest in (
                line.partition(":")
                for line in (read_text(self._proc / "meminfo") or "").splitlines()
            )
            if rest.split()[:1] and rest.split()[0].isdecimal()
        }
        wanted = {
            "mem_total": "MemTotal",
            "mem_free": "MemFree",
            "mem_available": "MemAvailable",
            "mem_buffers": "Buffers",
            "mem_cached": "Cached",
            "swap_total": "SwapTotal",
            "swap_free": "SwapFree",
        }
        memory = {name: found[key] for name, key in wanted.items() if key in found}
        if "mem_cached" in memory:
            # what the kernel gives back under pressure, as free(1) and psutil count it
            memory["mem_cached"] += found.get("SReclaimable", 0)
        if "swap_total" in memory and "swap_free" in memory:
            memory["swap_used"] = memory["swap_total"] - memory["swap_free"]
        return memory

    def _disks(self) -> Iterator[tuple[str, Counters]]:
        """Whole disks, so that nothing counts twice: no partitions, nothing stacked on others."""
        known = self._sys / "block"
        look = known.is_dir()
        for line in (read_text(self._proc / "diskstats") or "").splitlines():
            parts = line.split()
            if len(parts) < 13 or parts[2].startswith(_NO_DISK):
                continue
            if not (known / parts[2]).exists() if look else _PART.match(parts[2]):
                continue
            values = [float(part) for part in parts[3:14]]
            yield (
                parts[2],
                {
                    "reads": values[0],
                    "read_bytes": values[2] * SECTOR_BYTES,
                    "writes": values[4],
                    "written_bytes": values[6] * SECTOR_BYTES,
                    "busy_ms": values[9],
                },
            )

    def _nets(self) -> Iterator[tuple[str, Counters]]:
        """Interfaces to the outside; those between containers of the node count nothing twice."""
        # /proc/net is of whoever reads it: the node's own is that of its first process
        text = read_text(self._proc / "1" / "net" / "dev")
        if text is None:
            text = read_text(self._proc / "net" / "dev")
        yield from net_counters(text, skip=_NO_WIRE)


def _stat_lines(text: str | None) -> Iterator[tuple[str, list[float]]]:
    for line in (text or "").splitlines():
        name, *rest = line.split(maxsplit=len(CPU_FIELDS) + 1)
        if name == "cpu" or not name.startswith("cpu"):
            try:
                # of the interrupts only the first number, which is the sum
                yield name, [float(part) for part in rest[: 1 if name == "intr" else None]]
            except ValueError:
                continue


def _loads(text: str | None) -> dict[str, float]:
    try:
        loads = [float(part) for part in (text or "").split()[:3]]
    except ValueError:
        return {}
    return dict(zip(("load_1m", "load_5m", "load_15m"), loads, strict=False))


def net_counters(
    text: str | None, *, skip: re.Pattern[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """The interfaces of a ``net/dev`` but those whose name ``skip`` matches."""
    for line in (text or "").splitlines()[2:]:
        name, _, rest = line.partition(":")
        values = rest.split()
        if skip.match(name.strip()) or len(values) < 2 * _NET_COLUMNS:
            continue
        yield (
            name.strip(),
            {
                f"{way}_{what}": float(values[place + offset])
                for way, offset in (("rx", 0), ("tx", _NET_COLUMNS))
                for what, place in NET_FIELDS.items()
            },
        )


def node_sample(
    before: HostReading,
    after: HostReading,
    *,
    sample_time: int,
    node_name: str,
    master: bool,
    source: str,
) -> Sample:
    """The node's row for the time between two readings. Pure."""
    seconds = after.seconds - before.seconds
    whole = {name: value for name, value in after.cpu.items() if name not in GUEST}
    cpu = shares(before.cpu, whole)
    if cpu:
        ticks = sum(max(whole[name] - before.cpu[name], 0) for name in cpu)
        for name in GUEST:
            if name in after.cpu and name in before.cpu:
                cpu[name] = 100 * max(after.cpu[name] - before.cpu[name], 0) / ticks
    gauges = after.gauges
    percent: dict[str, Any] = {f"cpu_{name}_pct": cpu.get(name) for name in CPU_FIELDS}
    loads: dict[str, Any] = {f"load_{over}m": gauges.get(f"load_{over}m") for over in (1, 5, 15)}
    memory: dict[str, Any] = {f"{name}_mb": mib(gauges.get(name)) for name in _MEMORY}
    return Sample(
        sample_time=sample_time,
        node_flag=True,
        node_name=node_name,
        master_flag=master,
        **percent,
        cpu_total_pct=100 - cpu["idle"] - cpu.get("iowait", 0.0) if "idle" in cpu else None,
        **loads,
        ctx_switches_s=_rate(before.counters, after.counters, "ctx_switches", seconds),
        interrupts_s=_rate(before.counters, after.counters, "interrupts", seconds),
        procs_running=_whole(gauges.get("procs_running")),
        procs_blocked=_whole(gauges.get("procs_blocked")),
        **memory,
        **disk_rates(before.disks, after.disks, seconds),
        **net_rates(before.nets, after.nets, seconds),
        temperature_c=gauges.get("temperature"),
        source=source,
        interval_seconds=seconds,
    )


_MEMORY: Final = (
    "mem_total",
    "mem_free",
    "mem_available",
    "mem_buffers",
    "mem_cached",
    "swap_total",
    "swap_free",
    "swap_used",
)


def disk_rates(
    before: Mapping[str, Counters], after: Mapping[str, Counters], seconds: float
) -> dict[str, Any]:
    """The disks' columns: sums over all, and how busy the busiest one was."""
    read = total_rate(before, after, "read_bytes", seconds)
    written = total_rate(before, after, "written_bytes", seconds)
    busy = [
        rate
        for name, counters in after.items()
        if (rate := _rate(before.get(name, {}), counters, "busy_ms", seconds)) is not None
    ]
    return {
        "disk_read_mb_s": None if read is None else read / MB,
        "disk_write_mb_s": None if written is None else written / MB,
        "disk_read_iops": total_rate(before, after, "reads", seconds),
        "disk_write_iops": total_rate(before, after, "writes", seconds),
        # milliseconds a second; the kernel rounds each stretch up
        "disk_util_pct": min(max(busy) / 10, 100.0) if busy else None,
    }


def net_rates(
    before: Mapping[str, Counters], after: Mapping[str, Counters], seconds: float
) -> dict[str, Any]:
    """The network's columns: sums over all interfaces."""
    rates: dict[str, Any] = {}
    if not after:
        return rates
    for way in ("rx", "tx"):
        moved = total_rate(before, after, f"{way}_bytes", seconds)
        rates[f"net_{way}_mb_s"] = None if moved is None else moved / MB
        for what in ("pkts", "errs", "drops"):
            rates[f"net_{way}_{what}_s"] = total_rate(before, after, f"{way}_{what}", seconds)
    return rates


def total_rate(
    before: Mapping[str, Counters], after: Mapping[str, Counters], counter: str, seconds: float
) -> float | None:
    """The sum of a counter's rates over all devices that were there both times.

    None if there is no device, or if one of them was reset meanwhile.
    """
    rates = [
        _rate(before[name], counters, counter, seconds)
        for name, counters in after.items()
        if name in before
    ]
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known and len(known) == len(rates) else None


def _rate(before: Counters, after: Counters, name: str, seconds: float) -> float | None:
    return per_second(before.get(name), after.get(name), seconds, wraps=True)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
