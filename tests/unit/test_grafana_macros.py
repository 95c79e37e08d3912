"""The tests' Grafana puts in what the real one does: cases of its documentation and its source."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from grafana_macros import Everything, View, formatted

SINCE = datetime(2018, 4, 12, 18, 0, tzinfo=timezone.utc)
UNTIL = datetime(2018, 4, 12, 18, 5, 0, 500_000, tzinfo=timezone.utc)
PLAIN = View(SINCE, UNTIL, {"hub": ["a", "o'b"], "user": "o'b", "group": Everything("'*'")}, "5m")
TIMESCALE = View(SINCE, UNTIL, {}, timescale=True)


@pytest.mark.parametrize(
    ("view", "query", "sent"),
    [
        (PLAIN, "SELECT $__timeFrom(), $__timeTo()",
         "SELECT '2018-04-12T18:00:00Z', '2018-04-12T18:05:00.5Z'"),
        (PLAIN, "WHERE $__timeFilter(a.at)",
         "WHERE a.at BETWEEN '2018-04-12T18:00:00Z' AND '2018-04-12T18:05:00.5Z'"),
        (PLAIN, "$__time(at)", 'at AS "time"'),
        (PLAIN, "$__timeEpoch(at)", 'extract(epoch from at) as "time"'),
        (PLAIN, "$__unixEpochFilter(at)", "at >= 1523556000 AND at <= 1523556300"),
        (PLAIN, "BY $__timeGroup(at , '5m')", "BY floor(extract(epoch from at)/300)*300"),
        (PLAIN, "$__timeGroup(at,'5m'), x", 'floor(extract(epoch from at)/300)*300 AS "time", x'),
        (PLAIN, "$__timeGroupAlias(at,$__interval)",
         'floor(extract(epoch from at)/300)*300 AS "time"'),
        (TIMESCALE, "$__timeGroup(at, '5m')", "time_bucket('300.000s',at)"),
        (PLAIN, "IN (${hub:sqlstring})", "IN ('a','o''b')"),
        (PLAIN, "IN ($hub)", "IN ('a','o''b')"),
        (PLAIN, "= '$user' OR '[[user]]'", "= 'o''b' OR 'o''b'"),
        (PLAIN, "= ${user:sqlstring}", "= 'o''b'"),
        (PLAIN, "IN (${group:sqlstring})", "IN ('*')"),
        (PLAIN, "${__from} $__interval_ms", "1523556000000 300000"),
    ],
)  # fmt: skip
def test_what_is_sent(view: View, query: str, sent: str) -> None:
    assert view.sends(query) == sent


@pytest.mark.parametrize(
    "query",
    ["$nobody", "${hub:glob2}", "$__timeZone()", "$__timeFilter()", "$__timeGroup(at, 'x')"],
)
def test_what_grafana_does_not_know_is_an_error(query: str) -> None:
    with pytest.raises(ValueError, match=r"no |missing"):
        PLAIN.sends(query)


def test_values_are_formatted_as_documented() -> None:
    assert formatted(["test1", "test2"], "csv") == "test1,test2"
    assert formatted(["test1", "test2"], "pipe") == "test1|test2"
    assert formatted(["test1", "test2"], "json") == '["test1", "test2"]'
    assert formatted(["te'st1", "test2"], "sqlstring") == "'te''st1','test2'"
