"""A node by its /proc and /sys, against trees whose numbers are known, and against psutil."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import psutil
import pytest
from kernel_trees import TICKS, write_proc, write_tree

from jupyterhub_metrics.sampler.host import HostReader, HostReading, node_sample
from jupyterhub_metrics.sampler.psutil_host import PsutilReader
from jupyterhub_metrics.sampler.samples import COLUMNS, Sample


class Steps:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def sample_of(before: HostReading, after: HostReading) -> Sample:
    return node_sample(
        before, after, sample_time=1_700_000_000, node_name="n1", master=True, source="psutil"
    )


def reader(root: Path, clock: Steps) -> HostReader:
    return HostReader(root / "proc", root / "sys", seconds=clock)


def test_every_column_of_a_node_is_filled(tmp_path: Path) -> None:
    clock = Steps()
    write_proc(tmp_path)
    write_tree(
        tmp_path / "sys",
        {
            "class/hwmon/hwmon0/name": "nvme\n",
            "class/hwmon/hwmon0/temp1_input": "85000\n",
            "class/hwmon/hwmon1/name": "coretemp\n",
            "class/hwmon/hwmon1/temp1_input": "51500\n",
            "class/hwmon/hwmon1/temp2_input": "48000\n",
            "class/thermal/thermal_zone0/type": "acpitz\n",
            "class/thermal/thermal_zone0/temp": "27800\n",
        },
    )
    host = reader(tmp_path, clock)
    before = host.read()
    clock.seconds += 2
    ticks = {name: TICKS[name] + 10 for name in ("user", "system", "guest")}
    write_proc(
        tmp_path,
        ticks={**ticks, "idle": TICKS["idle"] + 60, "iowait": TICKS["iowait"] + 20},
        ctxt=10_500,
        intr=20_100,
        disk={"reads": 120, "sectors_read": 6000, "sectors_written": 4100, "busy": 1700},
        net={"rx": 3_000_000, "rx_pkts": 1500, "rx_drops": 5, "tx": 600_000},
    )
    row = sample_of(before, host.read()).to_row()
    assert set(row) == set(COLUMNS)
    containers_only = {"container_name", "c_rss_mb", "c_vsz_mb", "c_shared_mb"}
    assert {name for name, value in row.items() if value is None} == containers_only
    expected = {
        "sample_time": 1_700_000_000,
        "node_flag": True,
        "master_flag": True,
        "interval_seconds": 2.0,
        "cpu_user_pct": 10.0,
        "cpu_system_pct": 10.0,
        "cpu_idle_pct": 60.0,
        "cpu_iowait_pct": 20.0,
        "cpu_guest_pct": 10.0,
        "cpu_nice_pct": 0.0,
        "cpu_total_pct": 20.0,
        "load_1m": 0.5,
        "load_15m": 2.0,
        "ctx_switches_s": 250.0,
        "interrupts_s": 50.0,
        "procs_running": 3,
        "procs_blocked": 1,
        "mem_total_mb": 8192,
        "mem_available_mb": 4096,
        "mem_buffers_mb": 100,
        "mem_cached_mb": 2050,
        "swap_used_mb": 512,
        # one disk and one interface count, nothing twice
        "disk_read_mb_s": 1.024,
        "disk_write_mb_s": 0.0256,
        "disk_read_iops": 10.0,
        "disk_write_iops": 0.0,
        "disk_util_pct": 50.0,
        "net_rx_mb_s": 1.0,
        "net_tx_mb_s": 0.05,
        "net_rx_pkts_s": 250.0,
        "net_rx_drops_s": 1.0,
        "net_rx_errs_s": 0.0,
        "temperature_c": 51.5,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_a_suspended_machine_does_not_dilute_its_rates(tmp_path: Path) -> None:
    """Eight hours asleep: the monotonic clock and the counters stood still, the wall clock not."""
    clock = Steps()
    write_proc(tmp_path)
    host = reader(tmp_path, clock)
    before = host.read()
    clock.seconds += 1
    write_proc(tmp_path, ctxt=10_300)
    sample = sample_of(before, host.read())
    assert (sample.ctx_switches_s, sample.interval_seconds) == (300, 1)


def test_a_wrapped_counter_goes_on_and_a_reset_one_is_unknown(tmp_path: Path) -> None:
    clock = Steps()
    write_proc(tmp_path, net={"rx": 2**32 - 1_000_000}, disk={"busy": 2**32 - 100})
    host = reader(tmp_path, clock)
    before = host.read()
    clock.seconds += 1
    write_proc(tmp_path, net={"rx": 1_000_000, "tx": 3}, disk={"busy": 100, "reads": 1}, ctxt=5)
    sample = sample_of(before, host.read())
    assert sample.net_rx_mb_s == pytest.approx(2.0)
    assert sample.disk_util_pct == pytest.approx(20.0)
    assert (sample.net_tx_mb_s, sample.disk_read_iops, sample.ctx_switches_s) == (None, None, None)


@pytest.mark.parametrize(
    "lost", ["stat", "meminfo", "loadavg", "diskstats", "1", "net", "everything"]
)
def test_what_cannot_be_read_is_unknown_and_stops_nothing(tmp_path: Path, lost: str) -> None:
    clock = Steps()
    write_proc(tmp_path)
    (tmp_path / "proc" / "loadavg").write_text("a lot\n")
    host = reader(tmp_path, clock)
    before = host.read()
    clock.seconds += 1
    if lost == "everything":
        shutil.rmtree(tmp_path / "proc")
    else:
        path = tmp_path / "proc" / lost
        shutil.rmtree(path) if path.is_dir() else path.write_bytes(b"\xff\0 x -1\ncpu a b\n")
    row = sample_of(before, host.read()).to_row()
    assert row["load_1m"] is None
    assert row["node_name"] == "n1"
    if lost in ("stat", "everything"):
        assert row["cpu_total_pct"] is None
        assert row["procs_running"] is None
    if lost in ("diskstats", "everything"):
        assert row["disk_read_mb_s"] is None


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        ({}, None),
        ({"thermal/thermal_zone0/type": "cpu", "thermal/thermal_zone0/temp": "42123"}, 42.123),
        ({"hwmon/hwmon0/device/name": "k10temp", "hwmon/hwmon0/device/temp1_input": "60000"}, 60.0),
        ({"hwmon/hwmon0/name": "odd", "hwmon/hwmon0/temp1_input": "30000"}, 30.0),
        ({"hwmon/hwmon0/name": "coretemp", "hwmon/hwmon0/temp1_input": "-274000"}, None),
        ({"hwmon/hwmon0/name": "coretemp", "hwmon/hwmon0/temp1_input": "hot"}, None),
    ],
)
def test_a_temperature_comes_from_any_sensor_or_is_unknown(
    tmp_path: Path, files: dict[str, str], celsius: float | None
) -> None:
    write_proc(tmp_path)
    write_tree(tmp_path / "sys" / "class", files)
    assert reader(tmp_path, Steps()).read().gauges.get("temperature") == celsius


def test_this_machine_is_as_psutil_sees_it() -> None:
    host, other = HostReader(), PsutilReader()
    assert host.there
    ours, theirs = host.read(), other.read()
    for name, value in theirs.gauges.items():
        if name.startswith(("mem_total", "swap_total")):
            assert ours.gauges[name] == value
    assert set(ours.cpu) >= set(theirs.cpu)
    for name in ("user", "system", "idle"):
        # ticks, and seconds
        assert ours.cpu[name] / 100 == pytest.approx(theirs.cpu[name], abs=1.0, rel=0.02)
    assert ours.counters["ctx_switches"] == pytest.approx(theirs.counters["ctx_switches"], rel=0.02)


def test_shares_of_this_machine_agree_with_psutil_over_the_same_time() -> None:
    host = HostReader()
    before, psutil_before = host.read(), psutil.cpu_times()
    time.sleep(1)
    after, psutil_after = host.read(), psutil.cpu_times()
    sample = sample_of(before, after)
    names = [name for name in psutil_after._fields if name not in ("guest", "guest_nice")]
    grown = {name: getattr(psutil_after, name) - getattr(psutil_before, name) for name in names}
    busy = 100 * (1 - (grown["idle"] + grown["iowait"]) / sum(grown.values()))
    assert sample.cpu_total_pct == pytest.approx(busy, abs=2)
    assert sample.interval_seconds == pytest.approx(1, rel=0.5)
