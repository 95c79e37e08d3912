"""A backup of one engine restores into the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from contents import contents, fill
from databases import new_database
from test_store_backup import backup, restore


@pytest.mark.needs("node")
@pytest.mark.needs("npm")
async def test_a_backup_moves_from_one_engine_to_the_other_and_back(
    database_server: str, timescale_server: str, tmp_path: Path
) -> None:
    async with (
        new_database(database_server, "plain") as plain,
        new_database(timescale_server, "timescale") as timescale,
        new_database(database_server, "plain") as again,
    ):
        await fill(plain)
        there = await backup(plain, tmp_path / "there")
        await restore(timescale, tmp_path / "there")
        back = await backup(timescale, tmp_path / "back")
        await restore(again, tmp_path / "back")
        assert await contents(plain) == await contents(timescale) == await contents(again)
        assert there.tables == back.tables
        assert there.server != back.server
