"""Both monitors over a real database; the seed's own examples, with real drivers."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
import seed_monitor
from fake_docker import FakeDocker

from jupyterhub_metrics.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    SchemaMismatch,
    SourceUnavailable,
)
from jupyterhub_metrics.sampler import CompleteResourceMonitor, ResourceMonitor
from jupyterhub_metrics.sampler.failures import SampleRefused
from jupyterhub_metrics.sampler.ring import state_lines, summary_lines
from jupyterhub_metrics.sampler.samples import Sample
from jupyterhub_metrics.store import Store

NOW = int(time.time())

Connect = Callable[[], Any]


@pytest.fixture(params=["psycopg", "psycopg2", "a DSN"])
def connect(request: pytest.FixtureRequest, store: Store, postgres_dsn: str) -> Iterator[Connect]:
    """Makes what a monitor is given, by each driver and as an address."""
    opened: list[Any] = []

    def made() -> Any:
        if request.param == "a DSN":
            return postgres_dsn
        opened.append((psycopg if request.param == "psycopg" else psycopg2).connect(postgres_dsn))
        return opened[-1]

    yield made
    for connection in opened:
        connection.close()


@pytest.fixture
def docker(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    """A daemon with the containers of the examples."""
    daemon = FakeDocker(short_dir / "docker.sock")
    for number, name in enumerate(("my-app", "nginx-web", "postgres-db", "redis-cache"), start=1):
        daemon.add(name, Id=str(number) * 64)
    monkeypatch.setenv("DOCKER_HOST", daemon.host)
    yield daemon
    daemon.close()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of the examples pass at once for whoever sleeps; the clocks go on as they are."""
    monkeypatch.setitem(
        CompleteResourceMonitor.__init__.__kwdefaults__, "sleep", lambda seconds: None
    )


def test_the_seeds_examples_run(
    store: Store,
    postgres_dsn: str,
    docker: FakeDocker,
    unhurried: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connect = psycopg2.connect
    asked: list[dict[str, Any]] = []
    opened: list[Any] = []

    def led(**parameters: Any) -> Any:
        asked.append(parameters)
        opened.append(connect(postgres_dsn))
        return opened[-1]

    monkeypatch.setattr(psycopg2, "connect", led)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    named: dict[str, Any] = {}
    exec(seed_monitor.BASIC_USAGE, named)
    assert asked == [{"host": "localhost", "database": "monitoring", "user": "monitor_user"}]
    said = capsys.readouterr().out
    assert "2 samples, 1 of nodes and 1 of containers" in said
    assert "server-01/web-server" in said
    assert "100 MiB resident, of 256 MiB" in said
    assert [sample["node_flag"] for sample in named["recent"]] == [False, True]
    exec(seed_monitor.CORE_METHODS, named)
    said = capsys.readouterr().out
    assert "Cleaned 0 old samples" in said
    assert "ring performance_metrics: 7 samples, room for 5000" in said
    assert named["monitor"].capacity == 5000
    named["get_connection"] = lambda: led()
    exec(seed_monitor.SEVERAL_HOSTS, named)
    named["monitor"].sample_node()
    for question, query in seed_monitor.QUERIES.items():
        with opened[-1].cursor() as cursor:
            cursor.execute(query)
            rows = cursor.fetchall()
        assert rows or question == "container performance", question
    for connection in opened:
        connection.close()


def test_every_method_does_as_documented(connect: Connect, docker: FakeDocker) -> None:
    with CompleteResourceMonitor(connect(), capacity=3, node_name="n1") as monitor:
        node = monitor.sample_node(interval_seconds=0.05)
        assert node.interval_seconds == pytest.approx(0.05, abs=0.5)
        assert 0 < (node.interval_seconds or 0) < 1
        container = monitor.sample_container("web-server", interval_seconds=0.01, source="mine")
        assert (container.container_name, container.source) == ("web-server", "mine")
        [newest, oldest] = monitor.get_recent_samples()
        assert newest["container_name"] == "web-server"
        assert oldest["mem_total_mb"] == node.mem_total_mb
        assert oldest["cpu_total_pct"] == pytest.approx(node.cpu_total_pct, abs=0.01)
        assert [one["node_flag"] for one in monitor.get_recent_samples(container_filter="x")] == []
        assert len(monitor.get_recent_samples(1, node_filter="n1")) == 1
        old = [Sample(NOW - 7200 * number, True, "n2") for number in (1, 2, 3)]
        assert monitor.write(old).written == 1
        assert monitor.cleanup_old_samples(keep_hours=1) == 1
        state = monitor.debug_table_state()
        assert (state["capacity"], state["held"], state["empty"]) == (3, 2, 1)
        monitor.set_capacity(1)
        assert [one["node_flag"] for one in monitor.get_recent_samples()] == [False]


def test_zero_marks_empty_slots_where_it_is_wanted(connect: Connect, postgres_dsn: str) -> None:
    with CompleteResourceMonitor(connect(), node_name="n1", use_null_for_empty=False) as monitor:
        monitor.write([Sample(NOW - 7200, True, "n1"), Sample(NOW, True, "n1")])
        monitor.cleanup_old_samples(1)
        assert len(monitor.get_recent_samples()) == 1
    with psycopg.connect(postgres_dsn) as connection:
        rows = connection.execute("SELECT sample_time FROM monitor_samples_ring ORDER BY 1")
        assert [row[0] for row in rows.fetchall()] == [0, NOW]


@pytest.mark.parametrize("capacity", [0, -1, 10_000_001, 1.5])
def test_no_ring_has_such_a_capacity(connect: Connect, capacity: Any) -> None:
    given = connect()
    with pytest.raises(ConfigurationError, match="found a capacity of"):
        CompleteResourceMonitor(given, capacity=capacity)
    with CompleteResourceMonitor(given, node_name="n1") as monitor:
        with pytest.raises(ConfigurationError, match="found a capacity of"):
            monitor.set_capacity(capacity)
        assert monitor.capacity == 10_000


def test_what_is_wrong_is_one_line_and_the_connection_goes_on(
    connect: Connect, docker: FakeDocker
) -> None:
    given = connect()
    for options in ({"table_name": "no; table"}, {"node_name": "a\nb"}, {"table_name": "rings"}):
        with pytest.raises(ConfigurationError) as raised:
            CompleteResourceMonitor(given, **options)
        assert "\n" not in str(raised.value)
    with CompleteResourceMonitor(given, node_name="n1") as monitor:
        with pytest.raises(ConfigurationError, match="found an interval of 0"):
            monitor.sample_node(interval_seconds=0)
        with pytest.raises(SourceUnavailable, match="found no running container 'nobody'"):
            monitor.sample_container("nobody", interval_seconds=0.01)
        with pytest.raises(SampleRefused):
            monitor.write([Sample(NOW, False, "n1")])
        assert monitor.write([Sample(NOW + 9000, True, "n1")]).ahead == 1
        odd = Sample(NOW, True, "n\0ul", cpu_total_pct=float("nan"), load_1m=float("inf"))
        assert monitor.write([odd]).written == 1
        [kept] = monitor.get_recent_samples()
        assert (kept["node_name"], kept["cpu_total_pct"], kept["load_1m"]) == ("nul", None, None)


def test_a_container_that_vanishes_between_two_readings_leaves_nothing(
    connect: Connect, docker: FakeDocker
) -> None:
    def vanish(_: float) -> None:
        docker.containers.clear()

    monitor = CompleteResourceMonitor(connect(), node_name="n1", sleep=vanish)
    with pytest.raises(SourceUnavailable):
        monitor.sample_container("web-server")
    assert monitor.get_recent_samples() == []
    monitor.close()


async def test_a_database_without_the_ring_says_what_to_run(postgres_dsn: str) -> None:
    with pytest.raises(SchemaMismatch, match="run jupyterhub-metrics db migrate"):
        CompleteResourceMonitor(postgres_dsn)
    monitor = ResourceMonitor(postgres_dsn)
    with pytest.raises(SchemaMismatch, match="run jupyterhub-metrics db migrate"):
        await monitor.open()
    await monitor.close()


async def test_a_password_is_in_no_error() -> None:
    for dsn in ("postgresql://u:secret@127.0.0.1:1/x", "postgresql://u:secret@[::1/x"):
        with pytest.raises((DatabaseUnavailable, ConfigurationError)) as raised:
            CompleteResourceMonitor(dsn)
        assert "secret" not in str(raised.value)
        with pytest.raises((DatabaseUnavailable, ConfigurationError)) as raised:
            await ResourceMonitor(dsn).open()
        assert "secret" not in str(raised.value)


@pytest.fixture(params=["connection", "pool", "a DSN"])
async def asynchronous(
    request: pytest.FixtureRequest, store: Store, postgres_dsn: str
) -> AsyncIterator[Any]:
    if request.param == "a DSN":
        yield postgres_dsn
    elif request.param == "pool":
        async with asyncpg.create_pool(postgres_dsn, min_size=1, max_size=2) as pool:
            yield pool
    else:
        connection = await asyncpg.connect(postgres_dsn)
        yield connection
        await connection.close()


async def test_the_asynchronous_monitor_does_the_same(
    asynchronous: Any, docker: FakeDocker, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ResourceMonitor(
        asynchronous, capacity=3, node_name="n1", master=True, unlogged=True
    ) as monitor:
        node = await monitor.sample_node(0.05)
        assert node.master_flag
        container = await monitor.sample_container("web-server", "web", 0.01)
        assert container.c_rss_mb == 100
        newest = (await monitor.get_recent_samples())[0]
        assert (newest["container_name"], newest["master_flag"]) == ("web", False)
        await monitor.write([Sample(NOW - 9000, True, "n2")])
        assert await monitor.cleanup_old_samples(1) == 1
        state = await monitor.debug_table_state()
        assert (state["held"], state["unlogged"]) == (2, True)
        monitor.print_sample_summary(await monitor.get_recent_samples())
        await monitor.set_capacity(1)
        assert len(await monitor.get_recent_samples()) == 1
        with pytest.raises(ConfigurationError):
            await monitor.set_capacity(0)
        with pytest.raises(SampleRefused):
            await monitor.write([Sample(int(time.time()) + 60, False, "n1")])
    assert "2 samples, 1 of nodes and 1 of containers" in capsys.readouterr().out


async def test_who_is_no_master_keeps_the_capacity_that_there_is(
    store: Store, postgres_dsn: str
) -> None:
    for options, capacity in (
        ({"capacity": 50}, 50),
        ({"capacity": 70}, 50),
        ({"capacity": 70, "master": True}, 70),
        ({}, 70),
    ):
        async with ResourceMonitor(postgres_dsn, node_name="n", **options) as monitor:
            assert monitor.capacity == capacity


async def test_a_broken_connection_is_made_anew(store: Store, postgres_dsn: str) -> None:
    async with ResourceMonitor(postgres_dsn, node_name="n") as monitor:
        killer = await asyncpg.connect(postgres_dsn)
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'jupyterhub-metrics sample' AND datname = current_database()"
        )
        await killer.close()
        with contextlib.suppress(DatabaseUnavailable):
            # it may be found out only now
            await monitor.get_recent_samples()
        assert (await monitor.write([Sample(NOW, True, "n")])).written == 1


def test_what_is_said_of_nothing() -> None:
    assert summary_lines([]) == ["no samples"]
    nothing = dict.fromkeys(("oldest_time", "newest_time"))
    state = {
        "held": 0, "capacity": 5, "empty": 0, "nodes": 0, "containers": 0, "size_bytes": 8192,
        "unlogged": False, **nothing,
    }  # fmt: skip
    assert state_lines("r", state)[1] == "of 0 nodes and 0 containers, never to never"
