"""Facts about the database that the service keeps open, over a source that tests move."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jupyterhub_metrics.errors import DatabaseUnavailable
from jupyterhub_metrics.service import database
from jupyterhub_metrics.service.database import Database
from jupyterhub_metrics.service.metrics import Metrics


class MovedStore:
    """Answers until it is lost; ``at_close`` is called as its close is done."""

    def __init__(self) -> None:
        self.away = False
        self.at_close = lambda: None

    async def ping(self) -> None:
        if self.away:
            raise DatabaseUnavailable("it is away")

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.at_close()


class MovedSource:
    """A store at each opening, each of them stale once it is away."""

    def __init__(self) -> None:
        self.opened: list[MovedStore] = []

    async def open(self) -> Any:
        self.opened.append(MovedStore())
        return self.opened[-1]

    def stale(self) -> bool:
        return self.opened[-1].away

    async def close(self) -> None:
        pass


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> MovedSource:
    monkeypatch.setattr(database, "FIRST_RETRY_SECONDS", 0.001)
    return MovedSource()


async def until_opened(source: MovedSource, times: int) -> None:
    for _ in range(1000):
        if len(source.opened) == times:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"opened {len(source.opened)} times, not {times}")


def lose(source: MovedSource, kept: Database) -> None:
    source.opened[-1].away = True
    kept.lost(DatabaseUnavailable("it is away"))


async def test_a_stale_one_is_closed_and_opened_anew(source: MovedSource) -> None:
    kept = Database(source, Metrics())
    keeping = asyncio.create_task(kept.keep_open())
    await until_opened(source, 1)
    await asyncio.sleep(0)
    lose(source, kept)
    await until_opened(source, 2)
    await asyncio.sleep(0)
    assert kept.reason is None
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_an_end_that_meets_the_close_of_a_lost_one_ends_it(source: MovedSource) -> None:
    kept = Database(source, Metrics())
    keeping = asyncio.create_task(kept.keep_open())
    await until_opened(source, 1)
    await asyncio.sleep(0)
    source.opened[0].at_close = keeping.cancel
    lose(source, kept)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(keeping, 5)
    assert len(source.opened) == 1
