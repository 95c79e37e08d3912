"""``jupyterhub-metrics db``, run as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from builders import event
from contents import contents, fill

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.store import EmbeddedServer, Observation, UpkeepRules, open_store
from jupyterhub_metrics.store.administration import Status, read_status
from jupyterhub_metrics.store.capabilities import Capabilities
from jupyterhub_metrics.store.migrations import known_migrations
from jupyterhub_metrics.store.report import status_lines

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
    told = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert told["engine"][1] == "PostgreSQL"
    assert told["schema version"][-3:] == [str(len(LABELS)), "of", str(len(LABELS))]
    assert told["pending"][1:] == ["none"]
    for what in ("session", "event"):
        assert told[f"oldest {what}"][-1] == "2026-03-01T08:00:00.000000Z"
        assert told[f"newest {what}"][-1] == "2026-03-01T08:01:00.000000Z"
    assert told["oldest observation"][-1] == "none"
    assert told["observation retention behind"][-2:] == ["0", "s"]
    assert told["event_rows"][1] == "3"
    kibibytes, per_row = (int(number.replace(",", "")) for number in told["event_rows"][2:4])
    assert kibibytes >= 16
    assert 0 <= per_row - kibibytes * 1024 / 3 < 1024
    assert told["open_sessions"][1] == "2"


async def test_status_says_how_far_upkeep_is_behind(postgres_dsn: str) -> None:
    store = await open_store(postgres_dsn)
    await store.record_observations("campus", utc_now() - timedelta(days=402), [])
    await store.close()
    done = db("status", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines() if "behind" in line)
    seconds = int(lines["observation retention behind"].split()[0].replace(",", ""))
    assert 0 <= seconds - 2 * 86_400 < 600


@pytest.mark.parametrize("compiles", [True, False])
def test_status_says_what_to_do_where_questions_are_compiled(compiles: bool) -> None:
    capabilities = Capabilities("18.0", None, None)
    status = Status("here", capabilities, 1, 1, [], compiles=compiles)
    told = [line for line in status_lines(status) if "ALTER DATABASE SET jit = off" in line]
    assert len(told) == compiles


async def test_status_tells_whether_questions_are_compiled(postgres_dsn: str) -> None:
    await (await open_store(postgres_dsn)).close()
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("SET jit = on")
    can = await connection.fetchval("SELECT pg_jit_available()")
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    for setting in ("off", "on"):
        await connection.execute(f"ALTER DATABASE {database} SET jit = {setting}")
        status = await read_status(postgres_dsn, UpkeepRules(), utc_now())
        assert status.compiles == (can and setting == "on")
    await connection.close()


async def test_status_of_an_empty_database_changes_nothing(postgres_dsn: str) -> None:
    done = db("status", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert done.returncode == 1
    assert f"{'pending':<30}{', '.join(LABELS)}" in done.stdout.splitlines()
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


async def test_a_backup_is_written_and_restored(
    postgres_dsn: str, another_dsn: str, tmp_path: Path
) -> None:
    await fill(postgres_dsn)
    path = tmp_path / "one.backup"
    made = db("backup", str(path), JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert made.returncode == 0
    assert made.stderr.splitlines()[-1] == "backup: 100 %"
    assert f" to {path}, {path.stat().st_size:,} bytes" in made.stdout
    again = db("backup", str(path), JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert "found" in one_line(again)
    restored = db("restore", str(path), JUPYTERHUB_METRICS_DSN=another_dsn)
    assert restored.returncode == 0
    assert restored.stderr.splitlines()[-1] == "verify: 100 %"
    assert "row counts and checksums are those of the backup" in restored.stdout
    assert await contents(another_dsn) == await contents(postgres_dsn)
    refused = db("restore", str(path), JUPYTERHUB_METRICS_DSN=another_dsn)
    assert refused.returncode == 1
    assert "give --replace" in refused.stderr.splitlines()[-1]
    replaced = db("restore", "--replace", str(path), JUPYTERHUB_METRICS_DSN=another_dsn)
    assert replaced.returncode == 0


async def test_a_backup_goes_into_a_new_data_folder(
    postgres_dsn: str, short_dir: Path, tmp_path: Path
) -> None:
    await fill(postgres_dsn)
    path = str(tmp_path / "one.backup")
    assert db("backup", path, JUPYTERHUB_METRICS_DSN=postgres_dsn).returncode == 0
    data_dir = str(short_dir / "data")
    assert db("restore", path, "--data-dir", data_dir).returncode == 0
    verified = db("verify", "--data-dir", data_dir)
    assert verified.returncode == 0


async def test_what_differs_from_its_events_is_named_and_rebuilt(postgres_dsn: str) -> None:
    await fill(postgres_dsn, sessions=30)
    before = await contents(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("UPDATE ended_sessions SET node_id = NULL")
    await connection.execute("DELETE FROM open_sessions WHERE polled_at IS NULL")
    await connection.close()
    wrong = db("verify", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert wrong.returncode == 1
    lines = wrong.stdout.splitlines()
    assert sum(line.endswith(" is not what events say") for line in lines) == 20
    # with two users who had no other session
    assert lines[-2] == "and 11 more"
    assert lines[-1].startswith("found 29 sessions and 0 days of usage that differ")
    done = db("rebuild", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert done.stdout == "rebuilt 30 sessions and their usage from events\n"
    assert done.stderr.splitlines()[-1] == "usage: 100 %"
    verified = db("verify", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert verified.returncode == 0
    assert "sessions: 100 %" in verified.stderr.splitlines()
    assert verified.stdout == "verified: all sessions and their usage are what events say\n"
    assert await contents(postgres_dsn) == before


async def test_retention_shows_what_would_go_and_lets_it_go_when_asked(postgres_dsn: str) -> None:
    store = await open_store(postgres_dsn)
    seen = Observation("jhub", "jupyter-ada", None, "ada", "ada", None, None, None, None, None)
    for days in (500, 499, 10):
        await store.record_observations("campus", utc_now() - timedelta(days=days), [seen])
    await store.close()
    environment = {"JUPYTERHUB_METRICS_DSN": postgres_dsn}
    shown = db("retention", **environment)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "observations: kept for 400 days; 2 of 2 checks" in shown.stdout
    assert shown.stdout.startswith("sessions, usage, events: kept for ever\n")
    assert "--apply lets them" in shown.stdout
    assert "kept for ever\nobservations: kept for ever" in (
        db("retention", "--observation-days", "0", "--apply", **environment).stdout
    )
    assert "2 of 2 checks" in db("retention", "--apply", **environment).stdout
    assert "0 of 0 checks" in db("retention", **environment).stdout
    assert "1 of 1 checks" in db("retention", "--observation-days", "9", **environment).stdout
    assert db("retention", "--observation-days", "-1", **environment).returncode == 2


async def test_an_engine_that_does_not_compress_is_named(postgres_dsn: str) -> None:
    await (await open_store(postgres_dsn)).close()
    done = db("compress", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert "which does not compress; expected TimescaleDB with its full licence" in done.stdout


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
