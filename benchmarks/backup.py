"""How long a backup of the year of truth takes, and bringing it back.

    python benchmarks/backup.py [--sessions 511000] [--dsn-file FILE]

Stores the events of that many sessions, writes a backup of them, restores it into a database of
its own and says how long each took. With --dsn-file on that server, whose user must be allowed to
create databases; else on an embedded PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import year

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.store import EmbeddedServer, open_store
from jupyterhub_metrics.store.backup import write_backup
from jupyterhub_metrics.store.progress import beginning_on
from jupyterhub_metrics.store.restore import restore_backup

_RUNS_AT_ONCE = 330


@asynccontextmanager
async def server(given: str | None, folder: Path) -> AsyncIterator[str]:
    if given is not None:
        yield given
    else:
        embedded = EmbeddedServer(folder)
        dsn = await embedded.start()
        try:
            yield dsn
        finally:
            await embedded.stop()


@asynccontextmanager
async def database(server_dsn: str) -> AsyncIterator[str]:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def fill(dsn: str, sessions: int) -> None:
    runs = year.year(sessions=sessions)
    advance = beginning_on(sys.stderr)("store", len(runs))
    store = await open_store(dsn)
    for start in range(0, len(runs), _RUNS_AT_ONCE):
        batch = runs[start : start + _RUNS_AT_ONCE]
        await store.ingest([event for run in batch for event in year.events(run)])
        advance(len(batch))
    await store.close()


def mebibytes(path: Path) -> float:
    return path.stat().st_size / 2**20


async def measure(sessions: int, given: str | None, folder: Path) -> None:
    begin = beginning_on(sys.stderr)
    path = folder / "year.backup"
    async with server(given, folder) as dsn, database(dsn) as one, database(dsn) as other:
        await fill(one, sessions)
        began = time.perf_counter()
        manifest = await write_backup(one, path, replace=False, begin=begin, now=utc_now())
        written = time.perf_counter()
        print(f"server: {manifest.server}")
        print(f"rows: {manifest.rows:,}, {manifest.bytes / 2**20:,.0f} MiB as text")
        print(f"backup: {written - began:.1f} s, {mebibytes(path):,.0f} MiB in the file")
        await restore_backup(other, path, replace=False, begin=begin)
        print(f"restore, checked and read back: {time.perf_counter() - written:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=year.SESSIONS)
    parser.add_argument("--dsn-file", type=Path)
    arguments = parser.parse_args()
    given = arguments.dsn_file.read_text().strip() if arguments.dsn_file else None
    with tempfile.TemporaryDirectory(prefix="jhm-bench-") as name:
        folder = Path(name)
        # so that the embedded server's own account can pass through
        folder.chmod(0o711)
        asyncio.run(measure(arguments.sessions, given, folder))


if __name__ == "__main__":
    main()
