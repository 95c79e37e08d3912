"""What a container has used, whoever told it, and the row that follows. Pure.

Called by the readers of cgroups, Docker and processes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .host import net_rates
from .rates import Counters, per_second
from .samples import MB, Sample, mib

CPU_COUNT: Final = os.cpu_count() or 1


@dataclass(frozen=True)
class ContainerReading:
    """What was counted of a container at one moment.

    ``seconds`` are those of a monotonic clock. ``run`` differs after a restart, when every counter
    begins anew. ``counters`` are ``cpu``, ``cpu_user``, ``cpu_system`` and ``throttled`` in
    seconds, ``read_bytes``, ``written_bytes``, ``reads``, ``writes``, ``oom_kills``, and
    ``pressure_cpu``, ``pressure_memory`` and ``pressure_io`` in seconds during which something
    waited. ``gauges`` are ``memory``, ``rss``, ``shared``, ``cache``, ``swap`` and
    ``working_set`` in bytes, ``processes``. A limit is None where there is none or it is not
    known; ``cpu_count`` is how many processors there are. ``told`` are rates that whoever was asked
    knows by itself.
    """

    seconds: float
    run: str
    counters: Counters = field(default_factory=dict)
    nets: Mapping[str, Counters] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    told: Mapping[str, float] = field(default_factory=dict)
    cpu_limit_cores: float | None = None
    memory_limit_bytes: float | None = None
    cpu_count: int = CPU_COUNT

    @property
    def working_set_bytes(self) -> float | None:
        """What the kernel cannot simply drop, which is what counts against the limit."""
        return self.gauges.get("working_set")


@dataclass(frozen=True)
class ContainerUse:
    """How much a container used between two readings; None where it is not known.

    Cores and ``throttled`` are seconds a second, ``pressure_…`` too; ``oom_kills`` is a number.
    """

    seconds: float
    cpu_cores: float | None = None
    cpu_user_cores: float | None = None
    cpu_system_cores: float | None = None
    throttled: float | None = None
    memory_bytes: float | None = None
    oom_kills: float | None = None
    pressure_cpu: float | None = None
    pressure_memory: float | None = None
    pressure_io: float | None = None


_CORES: Final = {"cpu_cores": "cpu", "cpu_user_cores": "cpu_user", "cpu_system_cores": "cpu_system"}


def use_between(before: ContainerReading, after: ContainerReading) -> ContainerUse:
    """What follows from two readings; without rates if the container restarted between them."""
    seconds = after.seconds - before.seconds
    known = before.counters if before.run == after.run else {}

    def rate(name: str) -> float | None:
        return per_second(known.get(name), after.counters.get(name), seconds)

    kills = rate("oom_kills")
    cores = {name: after.told.get(name, rate(counter)) for name, counter in _CORES.items()}
    return ContainerUse(
        seconds=seconds,
        **cores,
        throttled=rate("throttled"),
        memory_bytes=after.working_set_bytes,
        oom_kills=None if kills is None else round(kills * seconds),
        pressure_cpu=rate("pressure_cpu"),
        pressure_memory=rate("pressure_memory"),
        pressure_io=rate("pressure_io"),
    )


def container_sample(
    before: ContainerReading,
    after: ContainerReading,
    *,
    sample_time: int,
    node_name: str,
    container_name: str,
    source: str,
) -> Sample:
    """The container's row for the time between two readings.

    Its processor's percentages are of its quota, of all processors where it has none.
    ``c_rss_mb`` is its anonymous memory, ``c_shared_mb`` its shared memory, and ``c_vsz_mb`` how
    much memory it may have.
    """
    use = use_between(before, after)
    same = before.run == after.run
    known = before.counters if same else {}
    limit = after.cpu_limit_cores or after.cpu_count

    def percent(cores: float | None) -> float | None:
        return None if cores is None else 100 * cores / limit

    def rate(name: str) -> float | None:
        return per_second(known.get(name), after.counters.get(name), use.seconds)

    read, written = rate("read_bytes"), rate("written_bytes")
    return Sample(
        sample_time=sample_time,
        node_flag=False,
        node_name=node_name,
        container_name=container_name,
        cpu_user_pct=percent(use.cpu_user_cores),
        cpu_system_pct=percent(use.cpu_system_cores),
        cpu_total_pct=percent(use.cpu_cores),
        c_rss_mb=mib(after.gauges.get("rss")),
        c_vsz_mb=mib(after.memory_limit_bytes),
        c_shared_mb=mib(after.gauges.get("shared")),
        disk_read_mb_s=None if read is None else read / MB,
        disk_write_mb_s=None if written is None else written / MB,
        disk_read_iops=rate("reads"),
        disk_write_iops=rate("writes"),
        **net_rates(before.nets if same else {}, after.nets, use.seconds),
        source=source,
        interval_seconds=use.seconds,
    )
