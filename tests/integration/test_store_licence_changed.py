"""A database whose TimescaleDB gets another licence keeps all rows, or is refused."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from builders import at, event
from contents import contents
from engines import bridge
from test_store_backup import backup, run

from jupyterhub_metrics.errors import SchemaMismatch
from jupyterhub_metrics.store import UpkeepRules, open_store
from jupyterhub_metrics.store.administration import read_status

DAY = 86_400.0
NOW = at(40 * DAY)
COMPRESS = "SELECT compress_chunks('2027-01-01Z', 1000)"


def refused() -> AbstractContextManager[object]:
    return pytest.raises(
        SchemaMismatch, match=r"^found \d+ compressed chunks in PostgreSQL .* \(apache licence\)"
    )


@pytest.mark.needs("node")
@pytest.mark.needs("npm")
async def test_what_the_full_licence_compressed_is_not_read_without_it(
    timescale_installed: None, apache_archive: Path, tmp_path: Path
) -> None:
    kept = ("--data", str(tmp_path / "data"))
    apache = ("--archive", str(apache_archive), *kept)
    with bridge(*apache) as dsn:
        store = await open_store(dsn)
        days = range(0, 28, 7)
        await store.ingest([event("requested", day * DAY, started=day * DAY) for day in days])
        await store.close()
        before = await contents(dsn)
        assert await run(dsn, COMPRESS) == 0
    with bridge(*kept) as dsn:
        assert await contents(dsn) == before
        assert await run(dsn, COMPRESS) > 0
        assert await contents(dsn) == before
    with bridge(*apache) as dsn:
        # why: it says nothing of the others
        assert await run(dsn, "SELECT count(*) FROM events") < len(days)
        with refused():
            await open_store(dsn)
        with refused():
            await read_status(dsn, UpkeepRules(), NOW)
        with refused():
            await backup(dsn, tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
    with bridge(*kept) as dsn:
        assert await contents(dsn) == before
