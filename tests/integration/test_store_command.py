"""``jupyterhub-metrics db``, run as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from builders import event

from jupyterhub_metrics.store import EmbeddedServer, open_store
from jupyterhub_metrics.store.migrations import known_migrations

LABELS = [migration.label for migration in known_migrations("plain")]


def db(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTERHUB_METRICS_", "DB_"))
    }
    return subprocess.run(
        [sys.executable, "-c", "import sys; from jupyterhub_metrics.cli import main; "
         "sys.exit(main())", "db", *arguments],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


async def test_a_new_database_is_migrated_once(postgres_dsn: str) -> None:
    first = db("migrate", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [f"applied {label}" for label in LABELS]
    again = db("migrate", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert (again.returncode, again.stdout) == (0, "nothing to apply, the schema is up to date\n")


async def test_status_tells_what_is_in_the_database(postgres_dsn: str, tmp_path: Path) -> None:
    store = await open_store(postgres_dsn)
    await store.ingest([event("requested"), event("ready", 3), event("requested", 60, started=60)])
    await store.close()
    (tmp_path / "dsn").write_text(postgres_dsn + "\n")
    done = db("status", "--dsn-file", str(tmp_path / "dsn"))
    assert (done.returncode, done.stderr) == (0, "")
    told = {line.split("  ")[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert told["engine"][0] == "PostgreSQL"
    assert told["schema version"][-3:] == [str(len(LABELS)), "of", str(len(LABELS))]
    assert told["pending"] == ["none"]
    assert told["oldest session"][-1] == "2026-03-01T08:00:00.000000Z"
    assert told["newest session"][-1] == "2026-03-01T08:01:00.000000Z"
    assert told["event_rows"][0] == "3"
    assert told["open_sessions"][0] == "2"


async def test_status_of_an_empty_database_changes_nothing(postgres_dsn: str) -> None:
    done = db("status", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert done.returncode == 1
    assert f"pending         {', '.join(LABELS)}" in done.stdout.splitlines()
    connection = await asyncpg.connect(postgres_dsn)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert await connection.fetchval(tables) == 0
    await connection.close()


async def test_a_schema_of_a_newer_version_is_one_line(postgres_dsn: str) -> None:
    await (await open_store(postgres_dsn)).close()
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("INSERT INTO schema_migrations VALUES (999, 'future', 'x')")
    await connection.close()
    for action in ("status", "migrate"):
        assert "found schema version 999" in one_line(
            db(action, JUPYTERHUB_METRICS_DSN=postgres_dsn)
        )


def test_the_embedded_server_of_a_data_folder_runs_for_the_command(short_dir: Path) -> None:
    data_dir = short_dir / "data"
    assert "found no database in" in one_line(db("status", "--data-dir", str(data_dir)))
    assert not data_dir.exists()
    made = db("migrate", "--data-dir", str(data_dir))
    assert (made.returncode, made.stderr) == (0, "")
    assert db("status", JUPYTERHUB_METRICS_DATA_DIR=str(data_dir)).returncode == 0
    assert not (data_dir / "postgres" / "socket").is_symlink()


async def test_the_embedded_server_that_runs_already_is_asked(short_dir: Path) -> None:
    server = EmbeddedServer(short_dir)
    await server.start()
    try:
        assert db("migrate", "--data-dir", str(short_dir)).returncode == 0
        assert db("status", "--data-dir", str(short_dir)).returncode == 0
        assert server.pid is not None
    finally:
        await server.stop()


async def test_the_dsn_that_setup_has_left_is_used(postgres_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "dsn").write_text(postgres_dsn)
    assert db("migrate", "--data-dir", str(tmp_path)).returncode == 0
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["status"], {}, "found no database; expected --dsn-file"),
        (["status", "--dsn-file", "/no/such/file"], {}, "found no file /no/such/file"),
        (["status"], {"DB_HOST": "localhost"}, "DB_NAME, DB_USER, DB_PASSWORD"),
        (["migrate"], {"JUPYTERHUB_METRICS_DSN": "mysql://u:hunter2@h/x"}, "scheme 'mysql'"),
        (
            ["migrate"],
            {"JUPYTERHUB_METRICS_DSN": "postgresql://u:hunter2@127.0.0.1:1/x"},
            "the database at u@127.0.0.1:1/x is not available",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], environment: dict[str, str], said: str
) -> None:
    told = one_line(db(*arguments, **environment))
    assert said in told
    assert "hunter2" not in told
