"""Activity stays with its session, whichever table that is in."""

from __future__ import annotations

from builders import at, event

from jupyterhub_metrics.store import Activity, Store

START = event("requested")
GONE = event("corrected", 50, bounds=(50, 350), source="hub_api", reason="died")
ALIVE = event("corrected", 400, source="hub_api", facts={"corrects": "alive"})


def measured(polled: float, active: float, seen: float | None = None) -> Activity:
    assert START.session_id is not None
    return Activity(
        session_id=START.session_id,
        seen_at=None if seen is None else at(seen),
        polled_at=at(polled),
        active_seconds=active,
        last_activity_at=at(polled - 1),
        resolution_seconds=300.0,
    )


async def kept(store: Store) -> tuple[str, Activity | None]:
    found = await store.activity_of_user("campus", "ada", at(-10), at(10_000))
    [session] = await store.sessions_of_user("campus", "ada", at(-10), at(10_000), limit=10)
    assert set(found) <= {session.id}
    return session.state, found.get(session.id)


async def test_activity_moves_with_its_session(store: Store) -> None:
    await store.ingest([START, event("ready", 5)])
    await store.record_activity([measured(300, 120, seen=299)])
    assert await kept(store) == ("running", measured(300, 120, seen=299))
    await store.ingest([GONE])
    assert await kept(store) == ("ended", measured(300, 120, seen=299))
    await store.ingest([ALIVE])
    assert await kept(store) == ("running", measured(300, 120, seen=299))


async def test_a_check_that_comes_after_the_end_still_counts(store: Store) -> None:
    await store.ingest([START, event("ready", 5), event("stopped", 310)])
    assert await kept(store) == ("ended", None)
    await store.record_activity([measured(300, 120)])
    assert await kept(store) == ("ended", measured(300, 120))


async def test_an_earlier_check_never_overwrites_a_later_one(store: Store) -> None:
    for last in ([event("ready", 5)], [event("stopped", 700)]):
        await store.ingest([START, *last])
        await store.record_activity([measured(600, 200, seen=600)])
        await store.record_activity([measured(300, 120, seen=599)])
        assert (await kept(store))[1] == measured(600, 200, seen=600)


async def test_activity_of_a_session_that_is_not_there_is_not_kept(store: Store) -> None:
    await store.record_activity([measured(300, 120)])
    assert await store.activity_of_user("campus", "ada", at(-1e9), at(10_000)) == {}
