"""A backup of one kind of database restores into any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from contents import contents, fill
from databases import new_database
from test_store_backup import backup, restore, run


@pytest.mark.needs("node")
@pytest.mark.needs("npm")
async def test_a_backup_moves_from_each_kind_of_database_to_each_other(
    database_server: str, timescale_server: str, timescale_apache_server: str, tmp_path: Path
) -> None:
    servers = {
        "plain": database_server,
        "timescale": timescale_server,
        "timescale-apache": timescale_apache_server,
    }
    way = ["plain", "timescale", "timescale-apache", "timescale", "plain", "timescale-apache"]
    way += ["plain"]
    async with new_database(servers["plain"], "plain") as first:
        await fill(first)
        before = await contents(first)
        made = await backup(first, tmp_path / "0")
    for number, kind in enumerate(way[1:], start=1):
        async with new_database(servers[kind], kind) as dsn:
            await restore(dsn, tmp_path / str(number - 1))
            compressed = await run(dsn, "SELECT compress_chunks('2027-01-01Z', 1000)")
            assert (compressed > 0) is (kind == "timescale")
            assert await contents(dsn) == before
            again = await backup(dsn, tmp_path / str(number))
        assert again.tables == made.tables
        assert again.server != made.server
        made = again
