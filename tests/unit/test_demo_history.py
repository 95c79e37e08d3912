"""Properties of the simulated past, whatever seed, size and range."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from statistics import median

from hypothesis import given, settings
from hypothesis import strategies as st

from jupyterhub_metrics.demo.campus import LOGIN_NAMES, people
from jupyterhub_metrics.demo.history import SimulatedSession, events, history
from jupyterhub_metrics.wire import event_from_wire

NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
seeds = st.integers(min_value=0, max_value=2**31)
counts = st.integers(min_value=0, max_value=12)
moments = st.datetimes(datetime(2026, 9, 1), datetime(2026, 9, 20), timezones=st.just(timezone.utc))


def past(days: int, count: int, *, seed: int = 1) -> list[SimulatedSession]:
    since = NOON - timedelta(days=days)
    return list(history(seed=seed, user_count=count, since=since, until=NOON))


@settings(max_examples=40, deadline=None)
@given(seeds, counts, moments, moments)
def test_sessions_lie_in_range_in_order_and_apart(
    seed: int, count: int, one: datetime, other: datetime
) -> None:
    since, until = sorted((one, other))
    sessions = list(history(seed=seed, user_count=count, since=since, until=until))
    by_server = defaultdict(list)
    for session in sessions:
        assert since <= session.started_at <= session.ended_at <= until
        if session.ready_at is not None:
            assert session.started_at <= session.ready_at <= session.ended_at
        by_server[session.username, session.server_name].append(session)
    for runs in by_server.values():
        for earlier, later in pairwise(sorted(runs, key=lambda run: run.started_at)):
            assert earlier.ended_at < later.started_at
    assert sessions == list(history(seed=seed, user_count=count, since=since, until=until))


@settings(max_examples=25, deadline=None)
@given(seeds, moments, moments, moments)
def test_a_wider_range_keeps_every_session_of_a_narrower_one(
    seed: int, a: datetime, b: datetime, c: datetime
) -> None:
    since, between, until = sorted((a, b, c))
    wide = list(history(seed=seed, user_count=4, since=since, until=until))
    for lower, upper in ((since, between), (between, until)):
        narrow = list(history(seed=seed, user_count=4, since=lower, until=upper))
        assert narrow == [s for s in wide if lower <= s.started_at and s.ended_at <= upper]


@settings(max_examples=20, deadline=None)
@given(seeds, counts, counts)
def test_more_people_change_nobody(seed: int, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert people(many, seed)[:few] == people(few, seed)
    assert len({person.name for person in people(1000, seed)}) == 1000


def test_every_event_fits_the_wire_and_says_that_it_is_simulated() -> None:
    told = [event for session in past(14, 10) for event in events("demo", session)]
    for event in told:
        assert event_from_wire(event.to_wire()) == event
        assert event.source == "simulation"
    assert len({event.id for event in told}) == len(told)


def test_the_past_has_the_rhythm_and_variety_of_a_campus() -> None:
    sessions = past(90, 60)
    ran = [s for s in sessions if s.ready_at is not None]
    hours = [(s.ended_at - s.started_at).total_seconds() / 3600 for s in ran]
    per_weekday = Counter(s.started_at.weekday() for s in ran)
    assert 3000 < len(sessions) < 12000
    assert 2.0 < median(hours) < 3.0
    assert max(per_weekday[5], per_weekday[6]) < min(per_weekday[day] for day in range(5)) / 2
    assert {s.reason for s in sessions} >= {
        "timeout",
        "exception",
        "exited",
        "cancelled",
        "stopped_by_user",
        "stopped_by_service",
        "stopped_by_admin",
        "died",
    }
    assert len({s.facts["image"] for s in ran}) == 4
    assert any("gpus" in s.facts for s in ran)
    assert any(s.server_name for s in ran)


def test_whoever_can_log_in_has_a_past() -> None:
    assert {session.username for session in past(30, 5)} >= set(LOGIN_NAMES)
