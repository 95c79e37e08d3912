"""What "My usage" shows. Pure, with a given clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.model import Session
from jupyterhub_metrics.service.usage_page import MAX_ROWS, month_of, usage_page
from jupyterhub_metrics.service.wording import hours_in_words

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
moments = st.datetimes(
    datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(timezone.utc)
)


def session(
    started_at: datetime, hours: float | None, state: str = "ended", **values: Any
) -> Session:
    ended_at = None if hours is None else started_at + timedelta(hours=hours)
    bounds = {"ended_at": ended_at, "ended_after": ended_at, "ended_before": ended_at}
    return Session(UUID(int=1), "hub", "alice", "", started_at, state, **{**bounds, **values})


def test_hours_are_cut_at_the_first_of_the_month() -> None:
    began = datetime(2026, 10, 31, 22, tzinfo=timezone.utc)
    page = usage_page("alice", "alice", [session(began, 5)], NOW)
    assert page.hours_words == "3.0"
    assert page.session_count == 1
    assert (page.rows[0].duration_words, page.rows[0].whole_words) == ("3 h 00 min", "5 h 00 min")


def test_a_running_server_counts_until_now() -> None:
    running = session(NOW - timedelta(hours=2), None, "running", image="quay.io/x:1", node="n1")
    page = usage_page("alice", "alice", [running], NOW)
    assert page.hours_words == "2.0"
    assert page.running[0].for_words == "2 h 00 min"
    assert page.running[0].facts == (("Image", "quay.io/x:1"), ("Node", "n1"))
    assert page.rows[0].ready_words is None


def test_failed_starts_are_counted_and_not_timed() -> None:
    page = usage_page("alice", "alice", [session(NOW - timedelta(hours=3), 1, "failed")], NOW)
    assert (page.session_count, page.failed_count, page.hours_words) == (0, 1, "0.0")
    assert page.rows[0].duration_words is None


def test_a_starting_server_is_running_now_without_hours() -> None:
    page = usage_page("alice", "alice", [session(NOW, None, "starting")], NOW)
    assert page.running[0].starting
    assert page.hours_words == "0.0"


def test_an_end_that_nobody_saw_shows_its_bounds() -> None:
    began = NOW - timedelta(hours=5)
    unseen = session(began, 1, ended_before=began + timedelta(hours=2))
    row = usage_page("alice", "alice", [unseen], NOW).rows[0]
    assert (row.ended_after, row.ended_before) == (
        began + timedelta(hours=1),
        began + timedelta(hours=2),
    )
    seen = usage_page("alice", "alice", [session(began, 1)], NOW).rows[0]
    assert (seen.ended_after, seen.ended_before) == (None, None)


def test_all_sessions_are_counted_although_only_the_newest_are_listed() -> None:
    many = [session(NOW - timedelta(hours=1), 0.5)] * (MAX_ROWS + 7)
    page = usage_page("alice", "alice", many, NOW)
    assert (len(page.rows), page.hidden_count, page.session_count) == (MAX_ROWS, 7, MAX_ROWS + 7)


@given(moments)
def test_every_moment_lies_in_its_month_and_months_join(now: datetime) -> None:
    since, until = month_of(now)
    assert since <= now < until
    assert month_of(until)[0] == until
    assert since.day == until.day == 1


@given(moments, st.floats(0, 4000))
def test_months_together_count_each_second_once(began: datetime, hours: float) -> None:
    run = session(began, hours)
    assert run.ended_at is not None
    until, total = began, 0.0
    while until <= run.ended_at:
        since, until = month_of(until)
        total += run.seconds_between(since, until, NOW)
    assert abs(total - run.seconds(NOW)) < 1e-3


@given(st.lists(st.tuples(moments, st.floats(0, 800)), max_size=5), moments)
def test_the_total_is_the_sum_of_what_lies_in_the_month(
    runs: list[tuple[datetime, float]], now: datetime
) -> None:
    sessions = [session(began, hours) for began, hours in runs]
    since, until = month_of(now)
    page = usage_page("alice", "alice", sessions, now)
    total = sum(run.seconds_between(since, until, now) for run in sessions)
    assert page.hours_words == hours_in_words(total)
    assert total <= (until - since).total_seconds() * len(sessions)
