"""``jupyterhub-metrics sample`` as a process: on this host, over a real database."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import asyncpg
import pytest
from real_cgroups import RealGroup
from sampler_process import command, flags_of

from jupyterhub_metrics.store import Store


@pytest.mark.needs("cgroups")
async def test_a_host_and_its_containers_are_sampled(store: Store, postgres_dsn: str) -> None:
    where, password = flags_of(postgres_dsn)
    with RealGroup() as parent, RealGroup(f"{parent.path}/web.service") as group:
        done = command(
            *where, "--capacity", "5000", "--master", "--node-name", "n1",
            "--container", group.path, "--container", "no-such-container",
            "--samples", "2", "--interval", "0.3",
            password=password,
        )  # fmt: skip
        _, said = done.communicate(timeout=60)
    assert done.returncode == 0, said
    assert "found no running container 'no-such-container'" in said
    assert password not in said
    connection = await asyncpg.connect(postgres_dsn)
    rows = await connection.fetch("SELECT * FROM monitor_samples_ring ORDER BY id")
    assert await connection.fetchval("SELECT capacity FROM rings") == 5000
    await connection.close()
    nodes = [row for row in rows if row["node_flag"]]
    containers = [row for row in rows if not row["node_flag"]]
    assert [row["master_flag"] for row in nodes] == [True, True]
    assert all(row["cpu_total_pct"] is not None for row in nodes)
    assert all(0.25 < row["interval_seconds"] < 5 for row in nodes)
    assert {row["container_name"] for row in containers} == {group.path}
    assert {row["source"] for row in containers} == {"cgroup"}


async def test_it_goes_on_until_it_is_stopped_and_writes_what_it_has(
    store: Store, postgres_dsn: str, tmp_path: Path
) -> None:
    where, password = flags_of(postgres_dsn)
    (tmp_path / "password").write_text(password)
    config = tmp_path / "sampler.yaml"
    config.write_text(
        f"database: {{host: '{where[1]}', database: '{where[3]}', user: '{where[5]}',"
        f" password_file: '{tmp_path}/password'"
        + (f", port: {where[7]}" if len(where) > 6 else "")
        + "}\nmonitoring: {table_name: performance_metrics, batch_seconds: 60,"
        " intervals: {node_seconds: 0.1}}\n"
        f"logging: {{level: INFO, file: '{tmp_path}/sampler.log'}}\n"
    )
    process = command("--config", str(config), password=None)
    log = tmp_path / "sampler.log"
    deadline = time.monotonic() + 30
    while not (log.exists() and "Sampling" in log.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")
    connection = await asyncpg.connect(postgres_dsn)
    count = await connection.fetchval("SELECT count(*) FROM performance_metrics")
    await connection.close()
    assert count >= 2


def test_without_a_database_it_says_at_the_end_what_is_lost() -> None:
    done = command(
        "--host", "127.0.0.1", "--port", "1", "--database", "d", "--user", "u",
        "--samples", "1", "--interval", "0.05",
        password="very secret",
    )  # fmt: skip
    _, said = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "found 1 samples that the database did not take" in said
    assert "very secret" not in said


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--capacity", "0"], "found a capacity of 0; expected 1 to"),
        (["--password", "secret"], "found a password on the command line"),
        (["--config", "/no/such.yaml"], "found no configuration file /no/such.yaml"),
        ([], "found no host, database, user of the database"),
        (["--", "sleep", "1"], "found the command 'sleep'; expected one only with --sidecar"),
        (["--sidecar"], "found the address '' of the service"),
        (["--host", "h", "--database", "d", "--user", "u"], "found no password in the variable"),
        (
            ["--host", "h", "--database", "d", "--user", "u", "--kubernetes"],
            "found no password",
        ),
    ],
)
def test_what_is_wrong_is_one_line(flags: list[str], found: str) -> None:
    done = command(*flags, password=None)
    _, said = done.communicate(timeout=30)
    assert done.returncode == 1
    assert said.startswith("jupyterhub-metrics: ")
    assert said.count("\n") == 1
    assert found in said
    assert "secret" not in said
