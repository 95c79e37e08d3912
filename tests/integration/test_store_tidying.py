"""Compression and retention on demand, and how status tells of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from builders import at, event
from contents import contents

from jupyterhub_metrics.store import Store, UpkeepRules
from jupyterhub_metrics.store.administration import Status, TableSize, read_status
from jupyterhub_metrics.store.report import status_lines
from jupyterhub_metrics.store.tidying import compress, retention

DAY = 86_400.0
LATER = at(60 * DAY)


class Said:
    """Progress that was told."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}

    def __call__(self, label: str, total: int) -> Callable[[int], None]:
        self.totals[label] = total
        self.done[label] = 0

        def advance(amount: int) -> None:
            self.done[label] += amount

        return advance


async def status(dsn: str, now: datetime = LATER) -> Status:
    return await read_status(dsn, UpkeepRules(), now)


def events_of(status: Status) -> TableSize:
    return next(table for table in status.tables if table.name == "event_rows")


async def test_all_closed_chunks_are_compressed_at_once(store: Store, postgres_dsn: str) -> None:
    days = [0, 7, 14, 59.9]
    await store.ingest([event("requested", day * DAY, started=day * DAY) for day in days])
    before = await contents(postgres_dsn)
    said = Said()
    done = await compress(postgres_dsn, LATER, said)
    told = next(
        table for table in (await status(postgres_dsn)).tables if table.name == "event_rows"
    )
    if store.capabilities.engine != "timescale":
        assert done.chunks is None
        assert said.totals == {}
        assert told.chunks == (0 if store.capabilities.engine == "plain" else 4)
        assert told.compressed_chunks == 0
        return
    assert done.chunks is not None
    assert done.chunks >= 3
    assert said.done == said.totals
    assert (told.chunks, told.compressed_chunks) == (4, 3)
    assert told.uncompressed_bytes is not None
    lines = "\n".join(status_lines(await status(postgres_dsn)))
    assert "3 of 4 chunks" in lines
    assert "times smaller" in lines
    assert await contents(postgres_dsn) == before
    assert (await compress(postgres_dsn, LATER, said)).chunks == 0


async def test_sizes_count_partitions_and_chunks(store: Store, postgres_dsn: str) -> None:
    before = events_of(await status(postgres_dsn)).bytes
    await store.ingest([event("requested", second, started=second) for second in range(1000)])
    assert events_of(await status(postgres_dsn)).bytes > before + 1000 * 60


async def test_what_is_shown_is_what_goes(store: Store, postgres_dsn: str) -> None:
    for hour in (0, 1, 11, 13, 40, 41):
        await store.record_observations("campus", at(hour * 3600), [])
    rules = UpkeepRules(keep_observations=timedelta(hours=20))
    # of the block that begins after 13 hours nothing is due, its last check is too young
    now = at(60 * 3600 + 1800)
    shown = await retention(postgres_dsn, rules, now, Said(), apply=False)
    assert shown.before == at(40 * 3600 + 1800)
    assert shown.polls == 4
    newest = (await status(postgres_dsn)).ranges
    assert [span.oldest_at for span in newest if span.what == "observation"] == [at(0)]
    gone = await retention(postgres_dsn, rules, now, Said(), apply=True)
    assert gone == shown
    assert (await retention(postgres_dsn, rules, now, Said(), apply=True)).polls == 0
    ranges = (await status(postgres_dsn)).ranges
    assert [span.oldest_at for span in ranges if span.what == "observation"] == [at(40 * 3600)]
