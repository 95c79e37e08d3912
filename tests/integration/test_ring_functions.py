"""The ring's functions in a real database: fixed size, the newest rows, whoever writes at once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from jupyterhub_metrics.store import Store

RING = "monitor_samples_ring"
NOW = int(time.time())


def sample(moment: int, node: str = "n1", **values: Any) -> dict[str, Any]:
    return {"sample_time": moment, "node_flag": True, "node_name": node, **values}


async def write(
    connection: asyncpg.Connection, samples: Sequence[dict[str, Any]], ring: str = RING
) -> tuple[int, int, int]:
    """How many the ring took, were older than all of it, and were from the future."""
    row = await connection.fetchrow(
        "SELECT * FROM ring_write($1, $2::jsonb)", ring, json.dumps(list(samples))
    )
    return (row["written"], row["older"], row["ahead"])


async def times(connection: asyncpg.Connection, ring: str = RING) -> list[int]:
    """The times of all samples that the ring holds, oldest first."""
    rows = await connection.fetch(f"SELECT sample_time FROM {ring} WHERE sample_time > 0")
    return sorted(row[0] for row in rows)


@pytest.fixture
async def ring(store: Store, postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


async def test_the_table_has_the_seeds_columns_and_indexes(ring: asyncpg.Connection) -> None:
    rows = await ring.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull FROM pg_attribute "
        "WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum",
        RING,
    )
    found = {row["attname"]: row["type"] for row in rows}
    assert list(found)[:7] == [
        "id", "slot", "sample_time", "master_flag", "node_flag", "node_name", "container_name",
    ]  # fmt: skip
    assert len(found) == 52
    assert {row["attname"] for row in rows if row["attnotnull"]} == {
        "id", "slot", "master_flag", "node_flag", "node_name", "source",
    }  # fmt: skip
    by_type: dict[str, int] = {}
    for kind in found.values():
        by_type[kind] = by_type.get(kind, 0) + 1
    assert by_type == {"bigint": 2, "boolean": 2, "text": 3, "integer": 14, "real": 31}
    # seconds are no whole ones: half a second must not become none
    assert found["interval_seconds"] == "real"
    indexes = await ring.fetch("SELECT indexname FROM pg_indexes WHERE tablename = $1", RING)
    assert {row[0].removeprefix(RING) for row in indexes} == {
        "_pkey", "_slot_key", "_composite_idx", "_time_slot_idx", "_master_nodes_idx",
        "_containers_idx",
    }  # fmt: skip


async def test_a_full_ring_overwrites_its_oldest(ring: asyncpg.Connection) -> None:
    await ring.execute("SELECT ring_open($1, 5)", RING)
    assert await write(ring, [sample(NOW - 100 + step) for step in range(5)]) == (5, 0, 0)
    assert await write(ring, [sample(NOW), sample(NOW - 1)]) == (2, 0, 0)
    assert await times(ring) == [NOW - 98, NOW - 97, NOW - 96, NOW - 1, NOW]
    assert await write(ring, [sample(NOW - 500), sample(NOW - 97)]) == (1, 1, 0)
    assert await times(ring) == [NOW - 97, NOW - 97, NOW - 96, NOW - 1, NOW]


async def test_a_batch_larger_than_the_ring_leaves_its_newest(ring: asyncpg.Connection) -> None:
    await ring.execute("SELECT ring_open($1, 4)", RING)
    assert await write(ring, [sample(NOW - step) for step in range(10)]) == (4, 6, 0)
    assert await times(ring) == [NOW - 3, NOW - 2, NOW - 1, NOW]


@pytest.mark.parametrize("seed", range(4))
async def test_the_ring_is_a_list_of_the_newest(ring: asyncpg.Connection, seed: int) -> None:
    """Against a model: writes, resizes both ways and clean-ups in any order."""
    chance = random.Random(seed)
    capacity = chance.randint(1, 30)
    await ring.execute("SELECT ring_open($1, $2)", RING, capacity)
    kept: list[int] = []
    for _ in range(40):
        what = chance.random()
        if what < 0.7:
            batch = [NOW - chance.randint(0, 7200) for _ in range(chance.randint(0, 12))]
            written, older, _ = await write(ring, [sample(moment) for moment in batch])
            assert written + older == len(batch)
            kept = sorted([*kept, *batch])[-capacity:]
        elif what < 0.9:
            capacity = chance.randint(1, 40)
            await ring.execute("SELECT ring_resize($1, $2)", RING, capacity)
            kept = kept[-capacity:]
        else:
            hours = chance.choice([0.5, 1, 1.5])
            cleaned = await ring.fetchval(
                "SELECT ring_clean($1, $2, $3)", RING, hours, chance.random() < 0.5
            )
            now = NOW + (time.time() - NOW)
            after = [moment for moment in kept if moment >= now - hours * 3600 - 1]
            assert len(kept) - cleaned in (len(after), len(after) - 1)
            kept = await times(ring)
        assert await times(ring) == kept
        slots = [row[0] for row in await ring.fetch(f"SELECT slot FROM {RING} ORDER BY slot")]
        assert slots == list(range(1, len(slots) + 1))
        assert len(slots) <= capacity


async def test_32_writers_and_a_resize_leave_exactly_the_newest(
    ring: asyncpg.Connection, postgres_dsn: str
) -> None:
    await ring.execute("SELECT ring_open($1, 300)", RING)
    chance = random.Random(7)
    # times that differ, so that which rows are the newest is no matter of choice
    moments = [NOW - number for number in range(32 * 12 * 5)]
    chance.shuffle(moments)
    over: list[int] = []
    done = asyncio.Event()

    async def writer(number: int) -> None:
        connection = await asyncpg.connect(postgres_dsn)
        mine = moments[number::32]
        for start in range(0, len(mine), 5):
            await write(connection, [sample(moment, f"n{number}") for moment in mine[start:][:5]])
        await connection.close()

    async def resizer() -> None:
        connection = await asyncpg.connect(postgres_dsn)
        for capacity in (500, 120, 200, 350, 120):
            await connection.execute("SELECT ring_resize($1, $2)", RING, capacity)
            await asyncio.sleep(0.05)
        await connection.close()

    async def watcher() -> None:
        connection = await asyncpg.connect(postgres_dsn)
        while not done.is_set():
            row = await connection.fetchrow(
                f"SELECT count(*), count(DISTINCT slot), max(slot), capacity FROM {RING} "
                "CROSS JOIN rings GROUP BY capacity"
            )
            if row is not None and not row[0] == row[1] == row[2] <= row[3]:
                over.append(row)
        await connection.close()

    watching = asyncio.create_task(watcher())
    await asyncio.gather(*(writer(number) for number in range(32)), resizer())
    done.set()
    await watching
    assert over == []
    assert await times(ring) == sorted(moments)[-120:]


async def test_samples_from_the_future_are_refused_alone(ring: asyncpg.Connection) -> None:
    await ring.execute("SELECT ring_open($1, 5)", RING)
    assert await write(ring, [sample(NOW), sample(NOW + 4000), {"node_flag": True}]) == (1, 0, 2)
    assert await times(ring) == [NOW]


@pytest.mark.parametrize(
    "values",
    [
        {"node_flag": False},
        {"node_flag": False, "container_name": "c", "master_flag": True},
        {"node_name": None},
        {"cpu_total_pct": "a lot"},
    ],
)
async def test_a_row_that_is_none_is_refused(
    ring: asyncpg.Connection, values: dict[str, Any]
) -> None:
    await ring.execute("SELECT ring_open($1, 5)", RING)
    with pytest.raises(asyncpg.PostgresError):
        await write(ring, [sample(NOW) | values])
    assert await times(ring) == []


@pytest.mark.parametrize("capacity", [0, -1, None, 2**33])
async def test_no_ring_has_such_a_capacity(ring: asyncpg.Connection, capacity: int | None) -> None:
    for statement in ("SELECT ring_open($1, $2)", "SELECT ring_resize($1, $2)"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match=r"found a capacity of .*1 to"):
            await ring.execute(statement, RING, capacity)


async def test_who_opens_first_decides_how_large_it_is(ring: asyncpg.Connection) -> None:
    assert await ring.fetchval("SELECT ring_open('performance_metrics', 50)") == 50
    assert await ring.fetchval("SELECT ring_open('performance_metrics', 70)") == 50
    assert await ring.fetchval("SELECT ring_open('performance_metrics', 70, TRUE)") == 70
    indexes = await ring.fetch(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'performance_metrics'"
    )
    assert len(indexes) == 6
    await write(ring, [sample(NOW)], "performance_metrics")
    assert await times(ring, "performance_metrics") == [NOW]
    assert await times(ring) == []


async def test_a_table_that_is_no_ring_is_left_alone(ring: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.DuplicateTableError, match="that is no ring"):
        await ring.execute("SELECT ring_open('rings', 10)")
    for name in ("Robert; DROP TABLE", "x" * 46, "1st", ""):
        with pytest.raises(asyncpg.InvalidNameError, match="found the table name"):
            await ring.execute("SELECT ring_open($1, 10)", name)
    for statement in (
        "ring_resize('events', 5)",
        "ring_clean('events', 1)",
        "ring_state('events')",
    ):
        with pytest.raises(asyncpg.UndefinedTableError, match="found no ring events"):
            await ring.execute(f"SELECT {statement}")


async def test_unlogged_comes_and_goes_on_request(ring: asyncpg.Connection) -> None:
    await ring.execute("SELECT ring_open($1, 5, unlogged => TRUE)", RING)
    await write(ring, [sample(NOW)])
    assert await ring.fetchval("SELECT unlogged FROM ring_state($1)", RING)
    await ring.execute("SELECT ring_open($1, 5)", RING)
    assert await ring.fetchval("SELECT unlogged FROM ring_state($1)", RING)
    await ring.execute("SELECT ring_open($1, 5, unlogged => FALSE)", RING)
    assert not await ring.fetchval("SELECT unlogged FROM ring_state($1)", RING)
    assert await times(ring) == [NOW]


async def test_recent_samples_are_of_whom_was_asked(ring: asyncpg.Connection) -> None:
    await ring.execute("SELECT ring_open($1, 10)", RING)
    of_container = {"node_flag": False, "container_name": "web"}
    await write(
        ring,
        [
            sample(NOW - 3, "a"),
            sample(NOW - 2, "b"),
            sample(NOW - 1, "a") | of_container,
            sample(NOW - 4, "b") | of_container,
        ],
    )

    async def recent(*filters: Any) -> list[tuple[str, int]]:
        rows = await ring.fetch("SELECT * FROM ring_recent($1, $2, $3, $4)", RING, *filters)
        return [(row["node_name"], row["sample_time"] - NOW) for row in rows]

    assert await recent(10, None, None) == [("a", -1), ("b", -2), ("a", -3), ("b", -4)]
    assert await recent(10, "a", None) == [("a", -1), ("a", -3)]
    assert await recent(10, None, "web") == [("a", -1), ("b", -4)]
    assert await recent(1, "b", "web") == [("b", -4)]


@pytest.mark.parametrize(
    ("whose", "seconds_ago"),
    [("'old', 'c'", 3000), ("'new', NULL", 0), ("NULL, 'd'", 0), ("NULL, NULL", 0)],
)
async def test_the_newest_row_is_found_without_reading_the_older_ones(
    ring: asyncpg.Connection, whose: str, seconds_ago: int
) -> None:
    await ring.execute("SELECT ring_open($1, 5000)", RING)
    of_c, of_d = ({"node_flag": False, "container_name": name} for name in "cd")
    await write(ring, [sample(NOW - step, "new", **of_d) for step in range(3000)])
    await write(ring, [sample(NOW - 3000 - step, "old", **of_c) for step in range(300)])
    await ring.execute(f"ANALYZE {RING}")
    asked = f"SELECT * FROM ring_recent('{RING}', 1, {whose})"
    assert [row["sample_time"] for row in await ring.fetch(asked)] == [NOW - seconds_ago]
    told = await ring.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {asked}")
    assert json.loads(told)[0]["Plan"]["Shared Hit Blocks"] < 20
