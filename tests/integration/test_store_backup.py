"""A backup brings everything back, or nothing, whatever is wrong with it or with the database."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from builders import event
from contents import contents, fill

from jupyterhub_metrics.errors import BackupRefused, DatabaseUnavailable, MetricsError
from jupyterhub_metrics.store import open_store
from jupyterhub_metrics.store.archive import Manifest
from jupyterhub_metrics.store.backup import write_backup
from jupyterhub_metrics.store.queries import query
from jupyterhub_metrics.store.restore import restore_backup
from jupyterhub_metrics.store.tables import ARCHIVED, FORGETTING

NOW = datetime(2026, 7, 1, tzinfo=timezone.utc)
MANIFEST = "manifest.json"


def unseen(label: str, total: int) -> Callable[[int], None]:
    return lambda amount: None


async def backup(dsn: str, path: Path) -> Manifest:
    return await write_backup(dsn, path, replace=True, begin=unseen, now=NOW)


async def restore(dsn: str, path: Path, *, replace: bool = False) -> Manifest:
    return await restore_backup(dsn, path, replace=replace, begin=unseen)


async def run(dsn: str, statement: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture
async def filled(postgres_dsn: str) -> str:
    await fill(postgres_dsn)
    return postgres_dsn


@pytest.fixture
async def path(filled: str, tmp_path: Path) -> Path:
    await backup(filled, tmp_path / "one.backup")
    return tmp_path / "one.backup"


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """The archive as one would make it who changes manifest and streams with care."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts.pop(MANIFEST))
    change(manifest, parts)
    for table in manifest["tables"]:
        stream = parts[f"tables/{table['name']}.copy"]
        table["sha256"] = sha256(stream).hexdigest()
        table["bytes"], table["rows"] = len(stream), stream.count(b"\n")
    other = path.with_name("rewritten.backup")
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        archive.writestr(MANIFEST, json.dumps(manifest))
    return other


async def refused(dsn: str, path: Path, *, replace: bool = True) -> str:
    """The one line of a restore that leaves the database as it was."""
    before = await contents(dsn)
    with pytest.raises(MetricsError) as raised:
        await restore(dsn, path, replace=replace)
    assert await contents(dsn) == before
    told = str(raised.value)
    assert "\n" not in told
    assert "expected" in told
    return told


async def test_what_was_lost_comes_back(filled: str, path: Path) -> None:
    before = await contents(filled)
    assert all(before.values())
    store = await open_store(filled)
    await store.ingest([event("requested", 9e6, username="late", started=9e6)])
    await store.close()
    manifest = await restore(filled, path, replace=True)
    assert await contents(filled) == before
    assert manifest.hubs == ["campus"]
    assert manifest.rows == sum(table.rows for table in manifest.tables) > 0


async def test_a_backup_says_the_same_of_the_same_rows(filled: str, path: Path) -> None:
    first = await backup(filled, path)
    await restore(filled, path, replace=True)
    assert await backup(filled, path) == first


async def test_the_database_goes_on_where_the_backup_ended(another_dsn: str, path: Path) -> None:
    await restore(another_dsn, path)
    store = await open_store(another_dsn)
    new = [
        event("requested", 70, username="new", server_name="x", started=70, facts={"node": "n-9"}),
        event("stopped", 80, username="new", server_name="x", started=70, reason="never seen"),
    ]
    assert (await store.ingest(new)).new == 2
    await store.close()
    assert await run(another_dsn, "SELECT count(*) FROM sessions WHERE username = 'new'") == 1


@pytest.mark.parametrize("table", ["event_rows", "servers"])
async def test_what_was_told_is_append_only_again(filled: str, path: Path, table: str) -> None:
    await restore(filled, path, replace=True)
    for change in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await run(filled, change)


async def test_every_table_is_in_a_backup(filled: str) -> None:
    tables = await run(
        filled,
        "SELECT array_agg(relname::text) FROM pg_class WHERE relkind IN ('r', 'p') "
        "AND NOT relispartition AND relnamespace = (SELECT relnamespace FROM pg_class "
        "WHERE oid = to_regclass('schema_migrations'))",
    )
    assert set(tables) - {"schema_migrations", *FORGETTING} == set(ARCHIVED)


async def test_an_empty_database_gets_everything(filled: str, another_dsn: str, path: Path) -> None:
    await restore(another_dsn, path)
    assert await contents(another_dsn) == await contents(filled)


async def test_tables_that_were_dropped_since_are_carried_over_from_a_backup(
    filled: str, another_dsn: str, path: Path
) -> None:
    def older(manifest: dict[str, Any], parts: dict[str, bytes]) -> None:
        packed = [one["name"] for one in manifest["migrations"]].index("packed_hours")
        del manifest["migrations"][packed:]
        come_since = {"hourly_node_counts", "hourly_image_counts", "open_spans"}
        kept = [t for t in manifest["tables"] if t["name"] not in come_since]
        columns = ["hour", "avg_age_seconds", "hub_id", "node_id", "unique_users"]
        columns.append("total_containers")
        kept.append({**kept[0], "name": "hourly_node_rows", "columns": columns})
        columns = ["hour", "hub_id", "description_id", "unique_users", "total_containers"]
        kept.append({**kept[0], "name": "hourly_image_rows", "columns": columns})
        manifest["tables"] = kept
        hour = b"2026-02-01 05:00:00+00"
        rows = [b"0.25\t1\t\\N\t1\t1\n", b"1.5\t1\t1\t2\t3\n"]
        parts["tables/hourly_node_rows.copy"] = b"".join(hour + b"\t" + row for row in rows)
        parts["tables/hourly_image_rows.copy"] = hour + b"\t1\t1\t7\t8\n"

    await restore(another_dsn, rewritten(path, older))
    assert await run(another_dsn, "SELECT node_ids FROM hourly_node_counts") == [1, None]
    assert await run(another_dsn, "SELECT unique_users FROM hourly_image_counts") == [7]


async def test_an_older_backup_is_brought_up_to_date(
    filled: str, another_dsn: str, path: Path
) -> None:
    there_at_3 = ARCHIVED[: ARCHIVED.index("ended_sessions") + 1]

    def older(manifest: dict[str, Any], parts: dict[str, bytes]) -> None:
        del manifest["migrations"][3:]
        manifest["tables"] = [t for t in manifest["tables"] if t["name"] in there_at_3]

    await restore(another_dsn, rewritten(path, older))
    before, after = await contents(filled), await contents(another_dsn)
    assert after["events"] == before["events"]
    assert after["sessions_with_activity"] == before["sessions_with_activity"]
    assert after["container_observations"] == []
    await (await open_store(another_dsn, migrate="never")).close()


async def test_compressed_events_are_in_a_backup(filled: str, tmp_path: Path) -> None:
    before = await contents(filled)
    await run(filled, "SELECT compress_chunks('2027-01-01Z', 1000)")
    await backup(filled, tmp_path / "compressed")
    await restore(filled, tmp_path / "compressed", replace=True)
    assert await contents(filled) == before


async def test_a_database_with_anything_in_it_is_not_touched(filled: str, path: Path) -> None:
    assert "give --replace" in await refused(filled, path, replace=False)


async def test_a_backup_is_of_one_moment(filled: str, tmp_path: Path) -> None:
    before = await contents(filled)

    async def more() -> None:
        store = await open_store(filled)
        await store.ingest([event("requested", 9e6, username="late", started=9e6)])
        await store.close()

    def begin(label: str, total: int) -> Callable[[int], None]:
        with ThreadPoolExecutor() as beside:
            beside.submit(asyncio.run, more()).result()
        return lambda amount: None

    path = tmp_path / "moment"
    await write_backup(filled, path, replace=False, begin=begin, now=NOW)
    assert await contents(filled) != before
    await restore(filled, path, replace=True)
    assert await contents(filled) == before


async def test_whoever_uses_the_database_is_not_waited_for(
    filled: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def brief(name: str) -> str:
        return (
            "SET LOCAL lock_timeout = '0.3s'" if name == "wait_briefly_for_locks" else query(name)
        )

    monkeypatch.setattr("jupyterhub_metrics.store.restore.query", brief)
    reader = await asyncpg.connect(filled)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM sessions")
        with pytest.raises(BackupRefused, match="in use by another program"):
            await restore(filled, path, replace=True)
    await reader.close()


async def test_a_truncated_backup_is_refused(filled: str, path: Path) -> None:
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 100):
        path.write_bytes(whole[:length])
        assert "its end is missing" in await refused(filled, path)


async def test_a_damaged_backup_is_refused(filled: str, path: Path) -> None:
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        places = {info.filename: info.header_offset for info in archive.infolist()}
    for name in ("tables/event_rows.copy", MANIFEST):
        damaged = bytearray(whole)
        damaged[places[name] + 30 + len(name) + 40] ^= 0xFF
        path.write_bytes(damaged)
        assert "damaged" in await refused(filled, path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "found no backup"), (b"-- a dump\n", "found no backup"), (None, "cannot be read")],
)
async def test_a_file_that_is_no_backup_is_refused(
    filled: str, tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "other").write_bytes(content)
    assert said in await refused(filled, tmp_path / "other")


async def test_another_zip_is_refused(filled: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other", "w") as archive:
        archive.writestr("readme", "x")
    assert "found no manifest.json" in await refused(filled, tmp_path / "other")


CHANGES: dict[str, tuple[Callable[[dict[str, Any], dict[str, bytes]], Any], str]] = {
    "format": (lambda m, parts: m.update(format_version=2), "version 2"),
    "unreadable": (lambda m, parts: m.update(made_at="yesterday"), "manifest cannot be read"),
    "newer": (
        lambda m, parts: m["migrations"].append(
            {"version": len(m["migrations"]) + 1, "name": "x", "checksum": "y", "dialect": None}
        ),
        "made by a newer jupyterhub-metrics",
    ),
    "edited": (lambda m, parts: m["migrations"][0].update(checksum="f" * 64), "0001_events"),
    "older": (lambda m, parts: m["migrations"].pop(), "expected a database without a schema"),
    "lacks a table": (lambda m, parts: m["tables"].pop(), "found nothing of table"),
    "other columns": (lambda m, parts: m["tables"][0]["columns"].pop(), "found columns"),
    "refused rows": (
        lambda m, parts: parts.update(
            {"tables/servers.copy": parts["tables/servers.copy"].replace(b"campus", rb"\N")}
        ),
        "rows in",
    ),
    "other order": (
        lambda m, parts: parts.update(
            {
                "tables/servers.copy": b"".join(
                    reversed(parts["tables/servers.copy"].splitlines(keepends=True))
                )
            }
        ),
        "with another checksum",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_backup_that_is_not_of_this_schema_is_refused(
    filled: str, path: Path, what: str
) -> None:
    change, said = CHANGES[what]

    def changed(manifest: dict[str, Any], parts: dict[str, bytes]) -> None:
        change(manifest, parts)

    assert said in await refused(filled, rewritten(path, changed))


async def test_streams_unlike_the_manifest_are_refused(filled: str, path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["tables/words.copy"] += b"99\tmade up\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert "the rows of words are not those" in await refused(filled, path)


async def test_a_disk_that_is_full_in_the_middle_changes_nothing(filled: str, path: Path) -> None:
    room = (
        "CREATE OR REPLACE FUNCTION room(uuid) RETURNS uuid LANGUAGE plpgsql IMMUTABLE AS "
        "$$ BEGIN {} RETURN $1; END $$"
    )
    await run(filled, room.format(""))
    await run(filled, "CREATE INDEX ON ended_sessions (room(id))")
    full = "RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';"
    await run(filled, room.format(full))
    assert "full: could not extend file" in await refused(filled, path)


async def test_no_backup_is_made_of_a_schema_that_is_behind(
    postgres_dsn: str, tmp_path: Path
) -> None:
    with pytest.raises(MetricsError, match="jupyterhub-metrics db migrate"):
        await backup(postgres_dsn, tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_there_is_kept(filled: str, path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(BackupRefused, match="there already"):
        await write_backup(filled, path, replace=False, begin=unseen, now=NOW)
    await run(filled, "ALTER TABLE schema_migrations RENAME TO hidden")
    with pytest.raises(MetricsError):
        await backup(filled, path)
    await run(filled, "ALTER TABLE hidden RENAME TO schema_migrations")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_a_database_that_goes_away_leaves_no_file(filled: str, tmp_path: Path) -> None:
    def begin(label: str, total: int) -> Callable[[int], None]:
        async def end() -> None:
            await run(
                filled,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = 'jupyterhub-metrics db'",
            )

        with ThreadPoolExecutor() as beside:
            beside.submit(asyncio.run, end()).result()
        return lambda amount: None

    with pytest.raises(DatabaseUnavailable):
        await write_backup(filled, tmp_path / "none", replace=False, begin=begin, now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read_a_backup(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
