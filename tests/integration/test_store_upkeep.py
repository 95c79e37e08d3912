"""Upkeep does what is due, a portion a round, and says how far behind it is."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import asyncpg
import pytest
from builders import T0, at, event
from contents import count_hours

from jupyterhub_metrics.store import DUTIES, Observation, Store, UpkeepRound, UpkeepRules

DAY = 86_400.0
SERVER = Observation("jhub", "jupyter-ada", None, "ada", "ada", None, None, None, None, None)
PARTITIONS = """
    SELECT count(*) FROM pg_inherits WHERE inhparent = 'event_rows'::regclass
"""


@pytest.fixture
async def connection(postgres_dsn: str):
    opened = await asyncpg.connect(postgres_dsn)
    yield opened
    await opened.close()


async def all_rounds(store: Store, rules: UpkeepRules, now: datetime) -> list[UpkeepRound]:
    """Rounds until one has nothing to do."""
    rounds = [await store.upkeep(rules, now)]
    while any(rounds[-1].done.values()):
        rounds.append(await store.upkeep(rules, now))
    return rounds


async def test_when_all_is_done_a_round_has_nothing_to_do(store: Store) -> None:
    await store.ingest([event("requested"), event("ready", 3)])
    await all_rounds(store, UpkeepRules(), at(DAY))
    again = await store.upkeep(UpkeepRules(), at(DAY + 60))
    assert again.done == {duty.name: 0 for duty in DUTIES}
    assert again.lag_seconds == {duty.name: 0 for duty in DUTIES}


async def test_events_find_room_however_long_nobody_made_it(store: Store, connection) -> None:
    far = [0, 400 * DAY, 4000 * DAY, -6000 * DAY]
    await store.ingest([event("requested", start, started=start) for start in far])
    assert await connection.fetchval("SELECT count(*) FROM sessions") == 4


async def test_hubs_that_need_the_same_room_at_once_all_get_it(store: Store) -> None:
    for year in range(1, 6):
        start = -year * 365 * DAY
        stored = await asyncio.gather(
            *(
                store.ingest([event("requested", start, started=start, hub=f"hub-{number}")])
                for number in range(5)
            )
        )
        assert [result.new for result in stored] == [1] * 5


async def test_partitions_are_there_before_their_time(store: Store, connection) -> None:
    if store.capabilities.engine != "plain":
        # there, an event brings its chunk with it
        assert (await store.upkeep(UpkeepRules(), at(0))).done["event_partitions"] == 0
        return
    assert (await store.upkeep(UpkeepRules(), at(0))).done["event_partitions"] > 0
    before = await connection.fetchval(PARTITIONS)
    await store.ingest([event("requested", start, started=start) for start in (0, 90 * DAY)])
    assert await connection.fetchval(PARTITIONS) == before


async def test_closed_chunks_are_compressed_and_take_late_events(store: Store, connection) -> None:
    if store.capabilities.engine != "timescale":
        assert (await store.upkeep(UpkeepRules(), at(0))).done["compression"] == 0
        return
    await store.ingest(
        [event("requested", day * DAY, started=day * DAY) for day in range(0, 21, 7)]
    )
    await count_hours(connection, at(29 * DAY))
    rounds = await all_rounds(store, UpkeepRules(), at(30 * DAY))
    assert sum(one.done["compression"] for one in rounds) > 3
    lags = [one.lag_seconds["compression"] for one in rounds]
    assert lags[0] > 15 * DAY
    assert lags[-1] == 0
    compressed = (
        "SELECT count(*) FROM timescaledb_information.chunks "
        "WHERE hypertable_name = 'event_rows' AND hypertable_schema = current_schema() "
        "AND is_compressed"
    )
    assert await connection.fetchval(compressed) == 3
    late = [event("requested"), event("stopped", 2 * DAY)]
    assert (await store.ingest(late)).new == 1
    assert await connection.fetchval("SELECT state FROM sessions ORDER BY started_at") == "ended"
    again = await all_rounds(store, UpkeepRules(), at(30 * DAY))
    assert await connection.fetchval(compressed) == 3
    # none is compressed before all is counted that belongs into it
    chunks = "SELECT count(*) FROM timescaledb_information.chunks"
    assert 0 < sum(one.done["compression"] for one in again) <= await connection.fetchval(chunks)


async def test_observations_stay_until_all_of_their_half_day_is_old(
    store: Store, connection
) -> None:
    for hour in (0, 5, 10):
        await store.record_observations("campus", at(hour * 3600), [SERVER])
    rules = UpkeepRules(keep_observations=timedelta(hours=1))
    left = await all_rounds(store, rules, at(7 * 3600))
    assert not any(one.done["observation_retention"] for one in left)
    assert await connection.fetchval("SELECT count(*) FROM container_observations") == 3
    await all_rounds(store, rules, at(12 * 3600))
    assert await connection.fetchval("SELECT count(*) FROM container_observations") == 0


async def test_observations_are_dropped_in_time_and_no_others(store: Store, connection) -> None:
    for day in range(6):
        await store.record_observations("campus", at(day * DAY), [SERVER])
    rules = UpkeepRules(keep_observations=timedelta(days=3, hours=12))
    oldest = "SELECT min(timestamp) FROM container_observations"
    rounds = await all_rounds(store, rules, at(7 * DAY))
    [first, *_] = [one for one in rounds if one.done["observation_retention"]]
    assert first.done["observation_retention"] == 2
    assert first.lag_seconds["observation_retention"] == pytest.approx(1.5 * DAY)
    left = rounds[-1]
    assert left.lag_seconds["observation_retention"] == 0
    assert await connection.fetchval(oldest) == at(4 * DAY)
    await all_rounds(store, UpkeepRules(keep_observations=None), at(200 * DAY))
    assert await connection.fetchval(oldest) == at(4 * DAY)
    assert await connection.fetchval("SELECT count(*) FROM all_spans") == 2


async def test_by_a_clock_that_is_ahead_nothing_waits_that_has_not_ended(store: Store) -> None:
    now = datetime.now(timezone.utc)
    started = (now - timedelta(hours=1) - T0).total_seconds()
    await store.ingest([event("requested", started, started=started)])
    left = (await all_rounds(store, UpkeepRules(), now + timedelta(days=3)))[-1]
    assert left.lag_seconds["hourly_stats"] == 0
    assert left.lag_seconds["usage_days"] == 0


async def test_only_upkeep_commits_before_it_is_on_disk(store: Store, connection) -> None:
    await connection.execute("""
        CREATE TABLE noted (what text, waits text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO noted VALUES (TG_RELNAME, current_setting('synchronous_commit'));
            RETURN NULL;
        END
        $$;
        CREATE TRIGGER note AFTER INSERT ON ended_sessions EXECUTE FUNCTION note();
        CREATE TRIGGER note AFTER UPDATE ON usage_closed EXECUTE FUNCTION note();
    """)
    as_configured = await connection.fetchval("SHOW synchronous_commit")
    assert as_configured != "off"
    for day in range(3):
        began = day * DAY
        await store.ingest(
            [event("requested", began, started=began), event("stopped", began + 60, started=began)]
        )
        await all_rounds(store, UpkeepRules(), at((day + 1.5) * DAY))
    found = {tuple(row) for row in await connection.fetch("SELECT what, waits FROM noted")}
    assert found == {("ended_sessions", as_configured), ("usage_closed", "off")}
