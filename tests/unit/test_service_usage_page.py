"""What one user's page shows. Pure, with a given clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.model import Session
from jupyterhub_metrics.service.drawings import (
    Bar,
    calendar_of,
    calendar_since,
    marks_of,
    timeline_of,
)
from jupyterhub_metrics.service.figures import Amounts, added_up
from jupyterhub_metrics.service.page_period import Period, period_of
from jupyterhub_metrics.service.usage_page import ROWS, UsagePage, usage_page
from jupyterhub_metrics.store import DrawnSession, SeenSession, UsageRow

UTC = timezone.utc
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PERIOD = period_of({}, {}, NOW)


def session(
    started_at: datetime, hours: float | None, state: str = "ended", **values: Any
) -> SeenSession:
    ended_at = None if hours is None else started_at + timedelta(hours=hours)
    bounds = {"ended_at": ended_at, "ended_after": ended_at, "ended_before": ended_at}
    of = {"server_name": "", **bounds, **values}
    made = Session(UUID(int=1), "hub", "alice", started_at=started_at, state=state, **of)
    return SeenSession(made, None, None)


def page_of(
    *seen: SeenSession, period: Period = PERIOD, hidden: bool = False, viewer: str = "alice"
) -> UsagePage:
    running = [one for one in seen if one.session.ended_at is None]
    nothing, drawn = Amounts(), [drawn_of(one.session) for one in seen]
    return usage_page(
        "alice", viewer, period, nothing, nothing, [], running, drawn, seen, hidden=hidden
    )


def drawn_of(one: Session) -> DrawnSession:
    return DrawnSession(one.server_name, one.display_name, one.state, one.started_at, one.ended_at)


def test_a_session_shows_its_part_of_the_month_and_the_whole() -> None:
    [row] = page_of(session(datetime(2026, 10, 31, 22, tzinfo=UTC), 5)).rows
    assert (row.duration_words, row.whole_words) == ("3 h 00 min", "5 h 00 min")


def test_a_running_server_shows_what_is_known_of_it() -> None:
    facts = {"image": "quay.io/x:1", "node": "n1", "cpu_limit_cores": 2.0, "gpus": 1.0}
    seen = session(NOW - timedelta(hours=2), None, "running", memory_limit_bytes=2**30, **facts)
    [running] = page_of(replace(seen, last_activity_at=NOW - timedelta(minutes=61))).running
    assert running.for_words == "2 h 00 min"
    assert running.idle_words == "1 h 01 min"
    assert dict(running.facts) == {
        "Image": "quay.io/x:1",
        "Node": "n1",
        "Requested": "2 cores, 1.0 GiB, 1 GPU",
    }


def test_a_server_that_is_active_is_not_idle() -> None:
    seen = session(NOW - timedelta(hours=2), None, "running")
    [running] = page_of(replace(seen, last_activity_at=NOW - timedelta(seconds=59))).running
    assert running.idle_words is None


def test_an_end_that_nobody_saw_shows_its_bounds() -> None:
    began = NOW - timedelta(hours=5)
    [row] = page_of(session(began, 1, ended_before=began + timedelta(hours=2))).rows
    bounds = (row.ended_after, row.ended_before)
    assert bounds == (began + timedelta(hours=1), began + timedelta(hours=2))
    [seen] = page_of(session(began, 1)).rows
    assert (seen.ended_after, seen.ended_before) == (None, None)


def test_what_is_not_listed_is_on_the_next_page() -> None:
    many = [session(NOW - timedelta(hours=1), 0.5)] * (ROWS + 1)
    page = page_of(*many)
    assert len(page.rows) == ROWS
    assert page.next_place == (many[0].session.started_at, str(UUID(int=1)))
    assert page_of(*many[:ROWS]).next_place is None


def test_pseudonyms_leave_no_name_of_servers_or_people() -> None:
    named = {"server_name": "secret-project", "display_name": "Secret project"}
    ended = session(
        NOW - timedelta(hours=9), 1, end_reason="stopped_by_user", ended_by="user:alice", **named
    )
    admin = session(
        NOW - timedelta(hours=9), 1, end_reason="stopped_by_admin", ended_by="user:root", **named
    )
    page = page_of(ended, admin, session(NOW, None, "running", **named), hidden=True, viewer="op")
    told = repr([page.rows, page.running, page.timeline])
    assert "ecret" not in told
    assert "root" not in told
    assert [row.end_words for row in page.rows[:2]] == [
        "stopped by its user",
        "stopped by an administrator",
    ]
    assert "alice" not in "".join(row.end_words for row in page.rows)


def usage(bucket: datetime, **amounts: Any) -> UsageRow:
    values = {
        "hub": "hub",
        "value": None,
        "users": 1,
        "seconds": 3600.0,
        "waiting_seconds": 0.0,
        "active_seconds": None,
        "gib_hours": None,
        "core_hours": None,
        "gpu_hours": None,
        "starts": 1,
        "failures": 0,
    }
    return UsageRow(bucket=bucket, **{**values, **amounts})


def test_what_is_known_of_nobody_stays_unknown_in_the_sum() -> None:
    total = added_up([usage(NOW, gpu_hours=2.0), usage(NOW, starts=3)])
    assert (total.seconds, total.gpu_hours, total.core_hours) == (7200.0, 2.0, None)
    assert (total.starts, added_up([]).gpu_hours) == (4, None)


moments = st.datetimes(
    datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(timezone.utc)
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])


@given(moments, zones)
def test_a_calendar_has_every_day_once_and_ends_with_the_periods_last(
    now: datetime, zone: str
) -> None:
    period = period_of({"zone": zone}, {}, now)
    since = calendar_since(period.drawn_until, zone)
    calendar = calendar_of({}, period.drawn_until, zone)
    days = [day.day for day in calendar.days]
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]
    assert days[0].weekday() == 0
    places = {(day.week, day.weekday) for day in calendar.days}
    assert len(places) == len(days)
    assert since <= now < period.drawn_until
    assert now - since < timedelta(weeks=53)


def test_a_calendar_tells_its_busiest_day() -> None:
    calendar = calendar_of({date(2026, 11, 3): 9 * 3600.0}, NOW, "UTC")
    [busy] = [day for day in calendar.days if day.seconds]
    assert (busy.level, busy.words) == (4, "2026-11-03: 9 h 00 min")
    assert "the most on 2026-11-03, 9 h 00 min" in calendar.words


def test_what_others_named_is_no_markup_in_a_drawing() -> None:
    bar = Bar(0.0, 1.5, "ended", '<script>alert(1)</script> & "more"')
    marks = marks_of([bar])
    assert "<script" not in marks
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; " in marks


@given(st.lists(st.tuples(moments, st.floats(0.001, 800)), max_size=8), moments)
def test_every_bar_of_a_timeline_lies_within_it(
    runs: list[tuple[datetime, float]], now: datetime
) -> None:
    period = period_of({}, {}, now)
    sessions = [drawn_of(session(began, hours).session) for began, hours in runs]
    names = [f"server {number % 3}" for number in range(len(runs))]
    drawn = timeline_of(sessions, names, period.since, period.until, "UTC", now)
    bars = [bar for _, lane in drawn.lanes for bar in lane]
    assert len(bars) == len(runs)
    assert all(0 <= bar.begins <= 1000 and bar.width >= 1.5 for bar in bars)
