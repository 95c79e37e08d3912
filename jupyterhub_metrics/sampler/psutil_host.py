"""What a node does where there is no ``/proc``, by psutil. Called by :mod:`.nodes`."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import psutil

from .host import HostReading


class PsutilReader:
    """Reads this machine with psutil; what psutil does not tell there is left out."""

    def __init__(self, *, seconds: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds

    def read(self) -> HostReading:
        """What is counted now."""
        memory, swap, stats = psutil.virtual_memory(), psutil.swap_memory(), psutil.cpu_stats()
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        nets = psutil.net_io_counters(pernic=True, nowrap=False) or {}
        gauges = {
            "mem_total": memory.total,
            "mem_free": memory.free,
            "mem_available": memory.available,
            "swap_total": swap.total,
            "swap_free": swap.free,
            "swap_used": swap.used,
            **dict(zip(("load_1m", "load_5m", "load_15m"), psutil.getloadavg(), strict=True)),
        }
        for name in ("buffers", "cached"):
            if hasattr(memory, name):
                gauges[f"mem_{name}"] = getattr(memory, name)
        return HostReading(
            seconds=self._seconds(),
            cpu=psutil.cpu_times()._asdict(),
            counters={"ctx_switches": stats.ctx_switches, "interrupts": stats.interrupts},
            disks={
                name: {
                    "reads": disk.read_count,
                    "read_bytes": disk.read_bytes,
                    "writes": disk.write_count,
                    "written_bytes": disk.write_bytes,
                }
                for name, disk in disks.items()
            },
            nets={
                name: {
                    "rx_bytes": net.bytes_recv,
                    "rx_pkts": net.packets_recv,
                    "rx_errs": net.errin,
                    "rx_drops": net.dropin,
                    "tx_bytes": net.bytes_sent,
                    "tx_pkts": net.packets_sent,
                    "tx_errs": net.errout,
                    "tx_drops": net.dropout,
                }
                for name, net in nets.items()
                if not name.startswith("lo")
            },
            gauges=gauges,
        )
