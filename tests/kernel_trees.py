"""Trees of files as the kernel shows them, written from its documentation, for readers to read.

``/proc`` and ``/sys`` as in proc(5), Documentation/admin-guide/iostats.rst and hwmon's sysfs
interface; control groups as in Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

STAT = """\
cpu  {user} {nice} {system} {idle} {iowait} {irq} {softirq} {steal} {guest} {guest_nice}
cpu0 1 0 1 1 0 0 0 0 0 0
intr {intr} 0 9 0 0 0 0 0 0 0 0 0 0 156 0 0
ctxt {ctxt}
btime 1700000000
processes 26442
procs_running 3
procs_blocked 1
softirq 10 1 2 3 4 5 6 7 8 9 10
some_key_of_a_later_kernel 1 2 three
"""

MEMINFO = """\
MemTotal:        8388608 kB
MemFree:         1048576 kB
MemAvailable:    4194304 kB
Buffers:          102400 kB
Cached:          2048000 kB
SReclaimable:      51200 kB
SwapTotal:       2097152 kB
SwapFree:        1572864 kB
HugePages_Total:       0
"""

DISKSTATS = """\
   7       0 loop0 9 0 9 0 0 0 0 0 0 9 9
 259       0 nvme0n1 {reads} 0 {sectors_read} 10 {writes} 0 {sectors_written} 20 0 {busy} 30 0 0 0 0
 259       1 nvme0n1p1 {reads} 0 {sectors_read} 10 {writes} 0 {sectors_written} 20 0 {busy} 30 0 0
 253       0 dm-0 {reads} 0 {sectors_read} 10 {writes} 0 {sectors_written} 20 0 {busy} 30 0 0 0 0
   8       0 sda 1 0 8 1 0 0 0 0 0 1 1
   8      16 short 1
"""

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo: 500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0
  eth0: {rx} {rx_pkts} 1 {rx_drops} 0 0 0 0 {tx} {tx_pkts} 0 2 0 0 0 0
vethab12@if2: 999 9 9 9 0 0 0 0 999 9 9 9 0 0 0 0
docker0: 999 9 9 9 0 0 0 0 999 9 9 9 0 0 0 0
"""

TICKS = {
    "user": 1000, "nice": 100, "system": 500, "idle": 8000, "iowait": 200, "irq": 10,
    "softirq": 40, "steal": 50, "guest": 300, "guest_nice": 20,
}  # fmt: skip


def write_tree(root: Path, files: Mapping[str, str]) -> None:
    """Each file by its path below ``root``; what is there is overwritten in place."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_proc(
    root: Path,
    *,
    ticks: Mapping[str, int] | None = None,
    ctxt: int = 10_000,
    intr: int = 20_000,
    disk: Mapping[str, int] | None = None,
    net: Mapping[str, int] | None = None,
) -> None:
    """A ``/proc`` and the ``/sys`` beside it; what is given differs from the usual."""
    disk = {
        "reads": 100, "sectors_read": 2000, "writes": 50, "sectors_written": 4000, "busy": 700,
    } | dict(disk or {})  # fmt: skip
    net = {
        "rx": 1_000_000, "rx_pkts": 1000, "rx_drops": 3, "tx": 500_000, "tx_pkts": 900,
    } | dict(net or {})  # fmt: skip
    write_tree(
        root / "proc",
        {
            "stat": STAT.format(ctxt=ctxt, intr=intr, **(TICKS | dict(ticks or {}))),
            "meminfo": MEMINFO,
            "loadavg": "0.50 1.25 2.00 3/512 12345\n",
            "diskstats": DISKSTATS.format(**disk),
            "1/net/dev": NET_DEV.format(**net),
            "net/dev": NET_DEV.format(**{**net, "rx": 1}),
        },
    )
    for name in ("nvme0n1", "sda", "dm-0", "loop0"):
        (root / "sys" / "block" / name).mkdir(parents=True, exist_ok=True)


V2_STAT = """\
anon 104857600
file 52428800
kernel 1048576
shmem 10485760
inactive_file 20971520
active_file 31457280
workingset_refault_anon 0
a_key_of_a_later_kernel 7
"""


def write_v2(
    root: Path,
    path: str,
    *,
    usage_usec: int = 1_000_000,
    throttled_usec: int = 0,
    current: int = 209_715_200,
    cpu_max: str = "50000 100000",
    memory_max: str = "max",
    rbytes: int = 1_000_000,
    oom_kill: int = 0,
) -> None:
    """A group of the unified hierarchy at ``path`` below ``root``."""
    folder = root / path
    write_tree(
        folder,
        {
            "cpu.stat": f"usage_usec {usage_usec}\nuser_usec {usage_usec * 3 // 4}\n"
            f"system_usec {usage_usec // 4}\nnr_periods 10\nnr_throttled 2\n"
            f"throttled_usec {throttled_usec}\nnr_bursts 0\n",
            "cpu.max": f"{cpu_max}\n",
            "memory.current": f"{current}\n",
            "memory.max": f"{memory_max}\n",
            "memory.stat": V2_STAT,
            "memory.swap.current": "4096\n",
            "memory.events": f"low 0\nhigh 0\nmax 0\noom 0\noom_kill {oom_kill}\n",
            "io.stat": f"8:0 rbytes={rbytes} wbytes=200 rios=30 wios=4 dbytes=0 dios=0\n"
            "253:1 rbytes=50 wbytes=0 rios=1 wios=0 cost.usage=5\n",
            "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n"
            "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n",
            "pids.current": "12\n",
            "cgroup.procs": "",
        },
    )


def write_v1(root: Path, path: str, *, usage_ns: int = 1_000_000_000, cfs_quota: int = -1) -> None:
    """A group of each controller's own hierarchy of version 1."""
    write_tree(
        root,
        {
            **{f"{name}/cgroup.procs": "" for name in ("cpu,cpuacct", "memory", "blkio", "pids")},
            f"cpu,cpuacct/{path}/cpuacct.usage": f"{usage_ns}\n",
            f"cpu,cpuacct/{path}/cpuacct.usage_user": f"{usage_ns // 2}\n",
            f"cpu,cpuacct/{path}/cpuacct.usage_sys": f"{usage_ns // 2}\n",
            f"cpu,cpuacct/{path}/cpu.stat": "nr_periods 5\nthrottled_time 9000000\n",
            f"cpu,cpuacct/{path}/cpu.cfs_quota_us": f"{cfs_quota}\n",
            f"cpu,cpuacct/{path}/cpu.cfs_period_us": "100000\n",
            f"memory/{path}/memory.usage_in_bytes": "104857600\n",
            f"memory/{path}/memory.limit_in_bytes": "9223372036854771712\n",
            f"memory/{path}/memory.stat": "cache 1\nrss 2\ntotal_cache 31457280\n"
            "total_rss 73400320\ntotal_shmem 2097152\ntotal_inactive_file 20971520\n",
            f"memory/{path}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            f"blkio/{path}/blkio.throttle.io_service_bytes_recursive": "8:0 Read 1000\n"
            "8:0 Write 2000\n8:0 Sync 3000\n8:0 Total 3000\nTotal 3000\n",
            f"blkio/{path}/blkio.throttle.io_serviced_recursive": "8:0 Read 10\n8:0 Write 20\n",
            f"pids/{path}/pids.current": "3\n",
        },
    )
