"""Sessions are a pure function of the set of events, whatever order and batches they come in."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import asyncpg
from builders import event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_fold import reference_session

from jupyterhub_metrics.model import Event, Session
from jupyterhub_metrics.store import Store, open_store

IMAGES = ["reg:5000/lab:1", "reg:5000/lab:2", "lab", "lab@sha256:" + "0" * 64, "odd image::"]
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(IMAGES),
        "node": st.sampled_from(["n1", "n2", None]),
        "profile": st.sampled_from(["small", "größe \"\\' %s", "🦉"]),
        "gpus": st.sampled_from([0, 0.5, 1]),
        "memory_limit_bytes": st.sampled_from([0, 2**31, 2**63 - 1]),
        "groups": st.lists(st.sampled_from(["a", "b", "{x,y}"]), max_size=2),
        "user_options": st.sampled_from([{}, {"profile": None}, {"a": [1, {"b": "c"}]}]),
        "username": st.sampled_from(["grace", "ada"]),
        "corrects": st.sampled_from(["end", "node", "alive"]),
        "unheard_of": st.sampled_from([None, [None], {"x": 1}]),
    },
)
KINDS = ["requested", "ready", "failed", "stopped", "stop_failed", "renamed", "corrected"]
# what may end a session or rename it stands more often, so that several compete for it
KINDS += ["stopped", "corrected", "renamed"]
SOURCES = ["hub", "hub", "hub_poll", "container", "hub_start", "simulation"]
# few different moments, also before the start, so that ties and steps back are common
SECONDS = st.integers(-2, 4)


@st.composite
def one_event(draw: st.DrawFn) -> Event:
    bounds = sorted(draw(st.tuples(SECONDS, SECONDS, SECONDS)))
    exact = draw(st.sampled_from([True, False, False, False]))
    occurred = bounds[1]
    kind = draw(st.sampled_from(KINDS))
    facts = draw(FACTS)
    if kind == "renamed" and draw(st.booleans()):
        facts["username"] = draw(st.sampled_from(["grace", "joan", "lin"]))
    return event(
        kind,
        occurred,
        server_name=draw(st.sampled_from(["", "gpu", "x", "y", "z"])),
        bounds=None if exact else (bounds[0], bounds[2]),
        source=draw(st.sampled_from(SOURCES)),
        reason=draw(st.sampled_from([None, "died", "timeout"])),
        actor=draw(st.sampled_from([None, "culler"])),
        exit_status=draw(st.sampled_from([None, 0, -9])),
        facts=facts,
    )


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Event], list[list[Event]]]:
    """Events of a few sessions, and the same ones shuffled, some twice, cut into batches."""
    events = draw(st.lists(one_event(), min_size=1, max_size=40))
    again = draw(st.lists(st.sampled_from(events), max_size=6))
    shuffled = draw(st.permutations(events + again))
    cuts = sorted(draw(st.sets(st.integers(1, len(shuffled)), max_size=5)) | {len(shuffled)})
    return events, [shuffled[begin:end] for begin, end in zip([0, *cuts[:-1]], cuts, strict=True)]


def reference_rows(events: Sequence[Event]) -> dict[object, Session]:
    by_session = defaultdict(list)
    for one in events:
        by_session[one.session_id].append(one)
    return {key: reference_session(group) for key, group in by_session.items()}


async def stored_rows(connection: asyncpg.Connection) -> dict[object, Session]:
    names = [field.name for field in fields(Session)]
    found = {}
    for row in await connection.fetch("SELECT * FROM sessions"):
        values = {name: row[name] for name in names}
        values["groups"] = tuple(values["groups"] or ())
        values["user_options"] = json.loads(values["user_options"] or "{}")
        found[row["id"]] = Session(**values)
    return found


async def forget_everything(connection: asyncpg.Connection) -> None:
    # some engines are one backend, whose settings are everybody's
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM event_rows")
        await connection.execute("DELETE FROM open_sessions")
        await connection.execute("DELETE FROM ended_sessions")
        await connection.execute("DELETE FROM server_owners")
        await connection.execute("DELETE FROM user_starts")


async def kept_owners(connection: asyncpg.Connection) -> tuple[set[Any], set[Any]]:
    """By server, and the first start by user."""
    owners = await connection.fetch("SELECT hub, username FROM server_owners")
    starts = await connection.fetch("SELECT * FROM user_starts")
    return {tuple(row) for row in owners}, {tuple(row) for row in starts}


def owners_of(sessions: Iterable[Session]) -> tuple[set[Any], set[Any]]:
    starts: dict[tuple[str, str], datetime] = {}
    for one in sessions:
        user = one.hub, one.username
        starts[user] = min(starts.get(user, one.started_at), one.started_at)
    return set(starts), {(*user, first_at) for user, first_at in starts.items()}


async def test_any_order_and_batching_gives_the_rows_of_the_reference(
    postgres_dsn: str, store: Store, engine: str
) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    loop = asyncio.get_running_loop()

    async def fold(batches: Sequence[Sequence[Event]]) -> dict[object, Session]:
        await forget_everything(connection)
        for batch in batches:
            await store.ingest(batch)
        rows = await stored_rows(connection)
        assert await kept_owners(connection) == owners_of(rows.values())
        return rows

    # the engine of WebAssembly takes its time
    examples = 100 if engine == "plain" else 30

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(deliveries())
    def check(given_events: tuple[list[Event], list[list[Event]]]) -> None:
        events, batches = given_events
        expected = reference_rows(events)
        in_order = asyncio.run_coroutine_threadsafe(fold([events]), loop).result(30)
        shuffled = asyncio.run_coroutine_threadsafe(fold(batches), loop).result(30)
        assert in_order == expected
        assert shuffled == expected

    # hypothesis calls plain functions: they run in a thread and hand the work back to this loop
    await asyncio.to_thread(check)
    await connection.close()


async def test_two_writers_of_one_hub_never_fold_from_half_the_events(
    postgres_dsn: str, store: Store
) -> None:
    other = await open_store(postgres_dsn)
    events = [
        event(kind, moment, username=f"u{user}", facts={"node": f"n{moment}"})
        for user in range(25)
        for moment, kind in enumerate(("requested", "ready", "stop_failed", "stopped"))
    ]
    halves = (store, events[::2]), (other, events[1::2])
    await asyncio.gather(
        *(
            writer.ingest(half[begin : begin + 5])
            for writer, half in halves
            for begin in range(0, len(half), 5)
        )
    )
    connection = await asyncpg.connect(postgres_dsn)
    assert await stored_rows(connection) == reference_rows(events)
    await connection.close()
    await other.close()


async def test_the_stored_rows_are_what_the_fold_says(postgres_dsn: str, store: Store) -> None:
    await store.ingest([event("requested"), event("ready", 4), event("requested", username="bob")])
    connection = await asyncpg.connect(postgres_dsn)
    columns = ", ".join(field.name for field in fields(Session))
    differing = await connection.fetch(
        f"(SELECT {columns} FROM sessions EXCEPT SELECT {columns} FROM session_fold) UNION ALL "
        f"(SELECT {columns} FROM session_fold EXCEPT SELECT {columns} FROM sessions)"
    )
    assert differing == []
    await connection.close()


async def test_folding_one_session_reads_only_its_own_events(
    postgres_dsn: str, store: Store
) -> None:
    events = [event("requested", started=number / 10) for number in range(2000)]
    await store.ingest(events)
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("ANALYZE event_rows")
    plan = await connection.fetch(
        "EXPLAIN SELECT * FROM session_fold "
        "WHERE id = ANY ($1::uuid[]) AND started_at = ANY ($2::timestamptz[])",
        [events[7].session_id],
        [events[7].started_at],
    )
    text = "\n".join(row[0] for row in plan)
    assert "Seq Scan on event_rows" not in text
    await connection.close()
