"""One reading of a node or a container, as the ring keeps it. Standard library only.

The fields of :class:`Sample` are the columns of ``monitor_samples_ring``. A field is None where
nothing is known; a number is never made up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

MIB = 1024 * 1024
"""Memory is told in mebibytes, as the ring's columns have it."""

MB = 1_000_000
"""Throughput is told in megabytes a second."""


@dataclass(frozen=True)
class Sample:
    """A row of the ring without its slot.

    ``sample_time`` is in whole seconds since 1970 in UTC; ``_pct`` are percentages from 0 to 100,
    ``_mb`` mebibytes, ``_mb_s`` megabytes (1,000,000 bytes) a second, ``_s`` and ``_iops`` a
    second. ``interval_seconds`` is the time that the rates are taken over. Only a node's row may be
    a master's, and a container's row names its container.
    """

    sample_time: int
    node_flag: bool
    node_name: str
    master_flag: bool = False
    container_name: str | None = None
    cpu_user_pct: float | None = None
    cpu_nice_pct: float | None = None
    cpu_system_pct: float | None = None
    cpu_idle_pct: float | None = None
    cpu_iowait_pct: float | None = None
    cpu_irq_pct: float | None = None
    cpu_softirq_pct: float | None = None
    cpu_steal_pct: float | None = None
    cpu_guest_pct: float | None = None
    cpu_guest_nice_pct: float | None = None
    cpu_total_pct: float | None = None
    load_1m: float | None = None
    load_5m: float | None = None
    load_15m: float | None = None
    ctx_switches_s: float | None = None
    interrupts_s: float | None = None
    procs_running: int | None = None
    procs_blocked: int | None = None
    mem_total_mb: int | None = None
    mem_free_mb: int | None = None
    mem_available_mb: int | None = None
    mem_buffers_mb: int | None = None
    mem_cached_mb: int | None = None
    swap_total_mb: int | None = None
    swap_free_mb: int | None = None
    swap_used_mb: int | None = None
    c_rss_mb: int | None = None
    c_vsz_mb: int | None = None
    c_shared_mb: int | None = None
    disk_read_mb_s: float | None = None
    disk_write_mb_s: float | None = None
    disk_read_iops: float | None = None
    disk_write_iops: float | None = None
    disk_util_pct: float | None = None
    net_rx_mb_s: float | None = None
    net_tx_mb_s: float | None = None
    net_rx_pkts_s: float | None = None
    net_tx_pkts_s: float | None = None
    net_rx_errs_s: float | None = None
    net_tx_errs_s: float | None = None
    net_rx_drops_s: float | None = None
    net_tx_drops_s: float | None = None
    temperature_c: float | None = None
    source: str = "psutil"
    interval_seconds: float | None = None

    def to_row(self) -> dict[str, Any]:
        """Every column by its name, in values that JSON can say and the columns can hold."""
        return {name: _held(getattr(self, name)) for name in COLUMNS}


COLUMNS = tuple(field.name for field in fields(Sample))
"""The columns of the ring but ``id`` and ``slot``."""

_LARGEST_REAL = 3.4e38
_LARGEST_INTEGER = 2**31 - 1


def _held(value: Any) -> Any:
    """None for what no column can hold; a number too large for one is not a measurement."""
    if type(value) is float:
        return round(value, 4) if math.isfinite(value) and abs(value) < _LARGEST_REAL else None
    if type(value) is str:
        return value.replace("\0", "")
    return value


def mib(value_bytes: float | None) -> int | None:
    """Bytes in whole mebibytes, rounded; None for None and for what no column can hold."""
    if value_bytes is None or value_bytes < 0:
        return None
    rounded = round(value_bytes / MIB)
    return rounded if rounded <= _LARGEST_INTEGER else None
