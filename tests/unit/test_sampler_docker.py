"""Containers by Docker's API and by its command, each against a daemon that keeps to the format.

The command is Docker's own where it is installed, and speaks to that daemon.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_docker import ID, INSPECTED, STATS_V1, STATS_V2, FakeDocker
from kernel_trees import write_proc, write_tree, write_v2

from jupyterhub_metrics.errors import ConfigurationError, SourceUnavailable
from jupyterhub_metrics.sampler.cgroups import CgroupReader
from jupyterhub_metrics.sampler.containers import container_sample, use_between
from jupyterhub_metrics.sampler.docker_api import DockerApi, reading_of
from jupyterhub_metrics.sampler.docker_command import DockerCommand, amounts, reading_of_stats
from jupyterhub_metrics.sampler.finding import ContainerFinder
from jupyterhub_metrics.sampler.host import HostReader
from jupyterhub_metrics.sampler.measuring import Measuring
from jupyterhub_metrics.sampler.pods import LOOK_SECONDS
from jupyterhub_metrics.sampler.rounds import Rounds


@pytest.fixture
def docker(short_dir: Path) -> Iterator[FakeDocker]:
    daemon = FakeDocker(short_dir / "docker.sock")
    yield daemon
    daemon.close()


def test_the_api_tells_of_the_container_that_was_asked_for(docker: FakeDocker) -> None:
    api = DockerApi(environment={"DOCKER_HOST": docker.host})
    before = api.read("web-server")
    assert before is not None
    assert before.run == f"{ID} 2026-01-05T10:00:00.1Z"
    assert before.counters == pytest.approx(
        {
            "cpu": 2.0, "cpu_user": 1.5, "cpu_system": 0.5, "throttled": 0.1,
            "read_bytes": 4_000_000, "written_bytes": 1_000_000,
        }
    )  # fmt: skip
    assert before.gauges == {
        "memory": 157_286_400, "rss": 104_857_600, "cache": 52_428_800, "shared": 2_097_152,
        "working_set": 157_286_400 - 31_457_280,
    }  # fmt: skip
    assert set(before.nets) == {"eth0", "eth1"}
    assert (before.cpu_limit_cores, before.memory_limit_bytes, before.cpu_count) == (0.5, 2**28, 4)
    assert api.read(ID[:12]) is not None
    assert all("one-shot=true" in path for path in docker.asked if "/stats" in path)


def test_rates_are_of_our_own_clock_and_of_the_quota() -> None:
    later = {**STATS_V2, "cpu_stats": {**STATS_V2["cpu_stats"], "cpu_usage": {"total_usage": 3e9}}}
    before = reading_of(INSPECTED, STATS_V2, 10.0)
    after = reading_of(INSPECTED, later, 14.0)
    row = container_sample(
        before, after, sample_time=1, node_name="n", container_name="web", source="docker"
    )
    assert row.cpu_total_pct == pytest.approx(50.0)
    assert row.cpu_user_pct is None
    # of one of the interfaces errors are not told
    assert (row.disk_read_mb_s, row.net_rx_mb_s, row.net_rx_errs_s) == (0.0, 0.0, None)
    assert (row.c_rss_mb, row.c_vsz_mb, row.c_shared_mb) == (100, 256, 2)


def test_version_1s_names_and_large_operations_count_too() -> None:
    reading = reading_of(INSPECTED, STATS_V1, 1.0)
    assert reading.gauges["rss"] == 94_371_840
    assert reading.gauges["working_set"] == 157_286_400 - 41_943_040
    assert reading.counters["read_bytes"] == 3_000_000
    assert reading.counters["reads"] == 30


def test_a_container_that_restarted_has_no_rates_at_first() -> None:
    again = {**INSPECTED, "State": {"Running": True, "StartedAt": "2026-01-05T10:06:00Z"}}
    use = use_between(reading_of(INSPECTED, STATS_V2, 1.0), reading_of(again, STATS_V2, 2.0))
    assert use.cpu_cores is None
    assert use.memory_bytes is not None


@pytest.mark.parametrize(
    "stats",
    [
        {},
        {"memory_stats": {}, "cpu_stats": None, "networks": None, "blkio_stats": {"x": 1}},
        {"cpu_stats": {"cpu_usage": {"total_usage": "much"}}, "networks": {"eth0": None}},
        {"blkio_stats": {"io_service_bytes_recursive": [None, {"op": "read"}, {"op": 3}]}},
    ],
)
def test_empty_and_odd_parts_are_unknown(stats: dict[str, Any]) -> None:
    reading = reading_of({}, stats, 1.0)
    assert "cpu" not in reading.counters
    assert reading.gauges == {}
    assert reading.cpu_limit_cores is None
    assert sum(reading.counters.values()) == 0


def test_one_that_is_not_there_or_does_not_run_has_no_reading(docker: FakeDocker) -> None:
    docker.add("stopped", State={"Running": False})
    api = DockerApi(docker.host)
    assert api.read("nobody") is None
    assert api.read("stopped") is None


def test_without_a_socket_the_error_says_what_to_do(short_dir: Path) -> None:
    api = DockerApi(f"unix://{short_dir}/no.sock")
    with pytest.raises(SourceUnavailable, match=r"Docker does not answer: .*DOCKER_HOST"):
        api.read("web-server")
    with pytest.raises(ConfigurationError, match=r"found DOCKER_HOST 'ftp://x'; expected unix"):
        DockerApi(environment={"DOCKER_HOST": "ftp://x"})


def test_a_daemon_that_hangs_up_is_no_container(short_dir: Path) -> None:
    path = short_dir / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
    with pytest.raises(SourceUnavailable):
        DockerApi(f"unix://{path}").read("web-server")


@pytest.mark.needs("docker")
def test_dockers_own_command_tells_of_the_container_that_was_asked_for(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    reading = DockerCommand().read("web-server")
    assert reading is not None
    assert reading.run.startswith(ID)
    # 0.25 s of 4 s of all four processors, by the daemon's own interval
    assert reading.told == {"cpu_cores": pytest.approx(0.25)}
    assert reading.gauges["working_set"] == pytest.approx(157_286_400 - 31_457_280, rel=0.01)
    assert reading.counters == {"read_bytes": 4_000_000, "written_bytes": 1_000_000}
    assert reading.nets["all"] == {"rx_bytes": 6_000_000, "tx_bytes": 700_000}
    assert (reading.cpu_limit_cores, reading.memory_limit_bytes) == (0.5, 2**28)
    row = container_sample(
        reading, reading, sample_time=1, node_name="n", container_name="web", source="docker-cli"
    )
    assert row.cpu_total_pct == pytest.approx(50.0)
    assert DockerCommand().read("nobody") is None


@pytest.mark.needs("docker")
def test_the_api_and_the_command_name_the_containers_that_run(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.add("jupyter-ada")
    docker.add("jupyter-bob", State={"Running": False})
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    assert DockerApi(docker.host).names() == ["aaa-other", "web-server", "jupyter-ada"]
    assert DockerCommand().names() == ["aaa-other", "web-server", "jupyter-ada"]


@pytest.mark.needs("docker")
def test_the_command_without_a_daemon_says_so(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{short_dir}/no.sock")
    with pytest.raises(SourceUnavailable, match="the command docker failed"):
        DockerCommand().read("web-server")


def test_a_line_of_another_container_is_none_of_it() -> None:
    line = {"ID": "0" * 12, "Name": "web-server", "CPUPerc": "5.00%", "MemUsage": "1MiB / 2MiB"}
    assert reading_of_stats(INSPECTED, line, 1.0) is None
    mine = reading_of_stats(INSPECTED, {**line, "ID": ID[:12], "CPUPerc": "--"}, 1.0)
    assert mine is not None
    assert mine.told == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1.5kB / 2MB", (1500, 2_000_000)),
        ("5.742MiB / 7.66GiB", (6_020_923, 8_224_862_372)),
        ("0B / 0B", (0, 0)),
        ("-- / --", (None, None)),
        ("1.2.3kB / 5", (None, None)),
        (None, (None, None)),
    ],
)
def test_amounts_are_read_as_docker_writes_them(
    text: str | None, told: tuple[float | None, float | None]
) -> None:
    read = amounts(text)
    for found, expected in zip(read, told, strict=True):
        assert found == expected or found == pytest.approx(expected, rel=1e-6)


def test_control_groups_come_before_docker(docker: FakeDocker, tmp_path: Path) -> None:
    write_tree(tmp_path, {"cgroup.controllers": "cpu memory\n"})
    write_v2(tmp_path, f"system.slice/docker-{ID}.scope", usage_usec=7_000_000)
    write_v2(tmp_path, "system.slice/jupyter-ada.service", usage_usec=3_000_000)
    api = DockerApi(docker.host)
    absent = DockerCommand("no-such-command")
    finder = ContainerFinder(CgroupReader(tmp_path, tmp_path), api, absent)

    def told(name: str) -> tuple[float, str] | None:
        found = finder.read(name)
        return None if found is None else (found[0].counters["cpu"], found[1])

    assert told("web-server") == (7.0, "cgroup")
    assert told("system.slice/jupyter-ada.service") == (3.0, "cgroup")
    assert told("aaa-other") == (2.0, "docker")
    assert told("nobody") is None
    assert told("../../etc") is None


def test_with_nobody_to_ask_there_is_one_line_in_the_log(
    short_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = DockerApi(f"unix://{short_dir}/no.sock")
    finder = ContainerFinder(CgroupReader(short_dir), api, DockerCommand("no-such-command"))
    for _ in range(3):
        assert finder.read("web-server") is None
    [line] = [record.getMessage() for record in caplog.records]
    assert "web-server" in line
    assert "DOCKER_HOST" in line


def test_a_name_with_a_star_finds_what_it_fits(docker: FakeDocker, tmp_path: Path) -> None:
    docker.add("jupyter-ada", Id="a" * 64)
    write_tree(tmp_path, {"cgroup.controllers": "cpu memory\n"})
    write_v2(tmp_path, f"system.slice/docker-{'a' * 64}.scope")
    write_v2(tmp_path, "system.slice/jupyter-ada-singleuser.service")
    write_v2(tmp_path, "system.slice/jupyter-bob-singleuser.service")
    absent = DockerCommand("no-such-command")
    finder = ContainerFinder(CgroupReader(tmp_path, tmp_path), DockerApi(docker.host), absent)
    assert finder.like("jupyter-*") == ["jupyter-ada"]
    units = [f"system.slice/jupyter-{name}-singleuser.service" for name in ("ada", "bob")]
    assert finder.like("/system.slice/jupyter-*.service") == units
    assert finder.like("../*/*") == []
    assert finder.read("a" * 12) is not None
    known_as = [finder.known_as(name) for name in (units[0], "a" * 12, "web-server")]
    assert known_as == ["jupyter-ada-singleuser.service", "jupyter-ada", "web-server"]
    docker.close()
    assert finder.like("jupyter-*") == []


UNIT = "system.slice/jupyter-{}-singleuser.service"


def units_in(folder: Path, names: list[str], now: list[float]) -> tuple[Rounds, CgroupReader]:
    """Rounds over these containers where there is no Docker, at the seconds that ``now`` holds."""
    write_tree(folder, {"cgroup.controllers": "cpu memory\n"})
    write_proc(folder)
    groups = CgroupReader(folder, folder / "proc", seconds=lambda: now[0])
    silent = DockerApi(f"unix://{folder}/no.sock")
    absent = DockerCommand("no-such-command")
    measuring = Measuring(
        "n1",
        host=HostReader(folder / "proc", folder / "sys"),
        containers=ContainerFinder(groups, silent, absent),
    )
    return Rounds(measuring, names, seconds=lambda: now[0]), groups


def test_containers_come_and_go(tmp_path: Path) -> None:
    """Those that a name with a star fits, each with a sample for the session that it is."""
    now = [1000.0]
    rounds, groups = units_in(tmp_path, [UNIT.format("*")], now)
    write_v2(tmp_path, UNIT.format("ada"), usage_usec=1_000_000)

    def told(after: float = LOOK_SECONDS) -> list[tuple[str, str | None, str, float | None]]:
        now[0] += after
        found = rounds.containers()
        assert [sample.container_name for sample in found.samples] == [
            f"system.slice/{use.pod_name}" for use in found.pods
        ]
        return [(use.node_name, use.namespace, use.pod_name, use.cpu_cores) for use in found.pods]

    assert told() == []
    write_v2(tmp_path, UNIT.format("ada"), usage_usec=2_000_000)
    write_v2(tmp_path, UNIT.format("bob"))
    ada = ("n1", None, "jupyter-ada-singleuser.service", pytest.approx(0.5))
    assert told(2.0) == [ada]
    assert [name for _, _, name, _ in told()] == ["jupyter-ada-singleuser.service"]
    assert [name for _, _, name, _ in told()] == [
        "jupyter-ada-singleuser.service",
        "jupyter-bob-singleuser.service",
    ]
    shutil.rmtree(tmp_path / UNIT.format("ada"))
    assert [name for _, _, name, _ in told()] == ["jupyter-bob-singleuser.service"]
    assert set(groups._groups) == {UNIT.format("bob")}


def test_one_that_is_named_and_found_is_one_and_missed_when_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who was only found is nobody's to miss: another may come any time."""
    now = [1000.0]
    rounds, _ = units_in(tmp_path, [UNIT.format("ada"), UNIT.format("*")], now)
    for name in ("ada", "bob"):
        write_v2(tmp_path, UNIT.format(name))
    assert rounds.containers().samples == ()
    now[0] += 2
    found = rounds.containers().samples
    assert [sample.container_name for sample in found] == [
        UNIT.format("ada"),
        UNIT.format("bob"),
    ]
    for name in ("ada", "bob"):
        shutil.rmtree(tmp_path / UNIT.format(name))
    now[0] += 2
    assert rounds.containers().samples == ()
    [said] = [record.getMessage() for record in caplog.records]
    assert f"found no running container '{UNIT.format('ada')}'" in said
