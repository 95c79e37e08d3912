"""Which time a page or an answer is about. Pure, with a given clock."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.service.api.parameters import BadRequest, window_of
from jupyterhub_metrics.service.page_period import period_of
from jupyterhub_metrics.service.periods import Month, read_moment, read_month, read_zone

UTC = timezone.utc
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
zones = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])


@given(moments, zones)
def test_every_moment_lies_in_its_month_and_months_join(now: datetime, zone: str) -> None:
    month = Month.at(now, zone)
    assert month.since <= now < month.until
    assert month.next.since == month.until
    assert month.next.previous == month
    assert month.previous.until == month.since


def test_a_page_compares_a_month_with_the_one_before_and_any_window_with_as_long_a_time() -> None:
    month = period_of({"month": date(2026, 3, 1)}, {"month": "2026-03"}, NOW)
    assert month.before == (datetime(2026, 2, 1, tzinfo=UTC), month.since)
    assert (month.words, month.before_words) == ("March 2026", "February")
    values = {"since": date(2026, 3, 5), "until": date(2026, 3, 8)}
    window = period_of(values, {}, NOW)
    assert window.before == (datetime(2026, 3, 2, tzinfo=UTC), window.since)
    assert window.words == "2026-03-05 to 2026-03-08"


def test_links_keep_what_was_asked_and_leave_out_what_is_taken_away() -> None:
    given = {"zone": "Europe/Berlin", "search": "a&b", "cursor": "x"}
    period = period_of({"zone": "Europe/Berlin"}, given, NOW)
    assert period.month is not None
    link = period.month_link(period.month.previous)
    assert link == "?zone=Europe%2FBerlin&search=a%26b&month=2026-10"
    assert period.link(zone=None, search=None, cursor=None) == "?"
    assert period.time_arguments == {
        "since": "2026-11-01",
        "until": "2026-12-01",
        "zone": "Europe/Berlin",
    }


def test_a_window_is_this_month_unless_told() -> None:
    window = window_of({}, NOW)
    assert (window.since, window.until) == (datetime(2026, 11, 1, tzinfo=UTC), NOW)
    past = window_of({"until": date(2025, 3, 9)}, NOW)
    assert (past.since, past.until) == (
        datetime(2025, 3, 1, tzinfo=UTC),
        datetime(2025, 3, 9, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"since": date(2026, 3, 2), "until": date(2026, 3, 1)}, "until"),
        ({"since": date(2026, 3, 2), "until": date(2026, 3, 2)}, "until"),
        ({"since": date(2027, 3, 2)}, "since"),
        ({"since": date(2000, 1, 1), "until": date(2100, 1, 1)}, "since"),
        ({"until": date(2100, 1, 1)}, "until"),
        ({"since": date(2026, 1, 1), "until": date(2026, 10, 1), "step": "hour"}, "since"),
        ({"since": date(2020, 1, 1), "until": date(2026, 10, 1), "step": "day"}, "since"),
    ],
)
def test_reversed_and_endless_windows_are_refused_by_name(
    values: dict[str, object], field: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        window_of(values, NOW)
    assert refused.value.field == field


def test_days_begin_in_the_zone_that_was_asked_for() -> None:
    window = window_of({"since": date(2026, 3, 29), "zone": "Europe/Berlin"}, NOW)
    assert window.since == datetime(2026, 3, 28, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22", date(2026, 11, 22)),
        ("2026-11-22T08:00:00Z", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22T08:00:00.123456+01:00", datetime(2026, 11, 22, 7, 0, 0, 123456, tzinfo=UTC)),
    ],
)
def test_moments_are_read(text: str, moment: date) -> None:
    assert read_moment(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-13-01",
        "2026-11-22T08:00:00",
        "0001-01-01",
        "9999-12-31T23:59:59-23:59",
        "2026-11-22\n",
        "\u0662026-11-22",
        "1e9",
        "2026-11-22T08:00:00Z; DROP TABLE sessions",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_moment(text)


@pytest.mark.parametrize("text", ["2026", "2026-00", "2026-13", "1999-01", "26-01", "2026-1"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_month(text)


@pytest.mark.parametrize("text", ["", "Atlantis", "../../etc/passwd", "europe/berlin", "UTC+1"])
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="IANA"):
        read_zone(text)


def test_zones_everywhere_are_known() -> None:
    assert read_zone("America/Argentina/Buenos_Aires")
    assert read_zone("UTC")


def test_a_period_that_is_drawn_ends_today() -> None:
    assert period_of({}, {}, NOW).drawn_until == datetime(2026, 11, 23, tzinfo=UTC)
    past = period_of({"month": date(2026, 3, 1)}, {}, NOW)
    assert past.drawn_until - past.since == timedelta(days=31)
