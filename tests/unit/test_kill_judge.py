"""The judge of the kill schedules notices what it is there to notice."""

from __future__ import annotations

from typing import Any

import pytest
from builders import at
from kill_judge import judge
from kill_plan import VICTIMS, schedule_of
from outside_observer import Attempt

BEGAN = at(0).timestamp()


def attempt(**values: Any) -> Attempt:
    """Asked for at 0, born at 1, ready at 2, killed at 10; seconds after T0."""
    seconds = {
        "asked_at": 0.0,
        "born_at": 1.0,
        "answered_at": 2.0,
        "alive_at": 10.0,
        "gone_at": 10.1,
        "over_by": 12.0,
        **values,
    }
    moments = {name: None if value is None else BEGAN + value for name, value in seconds.items()}
    return Attempt("ada", "", "normal", status=202, was_ready=True, killed=True, **moments)


def row(**values: Any) -> dict[str, Any]:
    """The session that the recorder makes of it."""
    moments = {
        "started_at": 0.5,
        "ready_at": 2.5,
        "ended_at": 9.5,
        "ended_after": 9.5,
        "ended_before": 10.5,
    }
    told = {"state": "ended", "end_reason": "died", "end_source": "hub_poll", "ended_by": None}
    given = {**moments, **told, **values}
    return {
        "id": str(given["started_at"]),
        "username": "ada",
        "server_name": "",
        **{name: at(value) if name in moments else value for name, value in given.items()},
    }


def violations(rows: list[dict[str, Any]], *seen: Attempt, silent: float = 0.0) -> list[str]:
    verdict = judge(seen, rows, lambda since, until: silent, poll_seconds=1, check_seconds=1)
    return [line.partition(":")[0] for line in verdict.violations]


def test_what_agrees_is_not_complained_of() -> None:
    assert violations([row()], attempt()) == []


def test_a_lost_session_is_noticed() -> None:
    assert violations([], attempt()) == ["lost"]


def test_a_doubled_session_is_noticed() -> None:
    assert violations([row(), row(started_at=0.6)], attempt()) == ["doubled"]


def test_an_invented_session_is_noticed() -> None:
    assert violations([row(), row(started_at=-5)], attempt()) == ["invented"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"ended_at": 10.2, "ended_after": 10.2}, "its interval begins after its true end"),
        ({"ended_before": 9.9}, "its interval ends before its true end"),
        (
            {"ended_at": 8.4, "ended_after": 8.4},
            "its interval is 2.10 s wide, 2.00 s are allowed",
        ),
        ({"ended_at": 9.4}, "its end lies outside its own interval"),
        ({"state": "failed", "end_reason": "timeout"}, "found failed, expected ended"),
        (
            {"end_reason": "stopped_by_user"},
            "found the reason stopped_by_user, expected one of ['died']",
        ),
        ({"started_at": 1.1}, "it is said to have started after its process was born"),
        ({"ready_at": 0.9}, "it is said to be ready before its process was born"),
    ],
)
def test_a_wrong_row_is_noticed(values: dict[str, Any], complaint: str) -> None:
    assert violations([row(**values)], attempt()) == [complaint]


def test_an_outage_allows_as_much_more() -> None:
    assert violations([row(ended_at=5.5, ended_after=5.5)], attempt(), silent=3.0) == []


def test_a_server_that_runs_must_not_have_ended() -> None:
    runs = attempt(alive_at=99.0, gone_at=float("inf"), over_by=float("inf"))
    assert violations([row()], runs)[0] == "found ended, expected running"


def test_the_same_seed_and_number_give_the_same_schedule() -> None:
    assert schedule_of(7, 3) == schedule_of(7, 3)
    assert schedule_of(7, 3) != schedule_of(8, 3)


def test_of_five_schedules_in_a_row_each_victim_is_in_two() -> None:
    for first in range(0, 100, 5):
        struck = [
            fault.victim
            for number in range(first, first + 5)
            for fault in schedule_of(1, number).faults
        ]
        assert {victim: struck.count(victim) for victim in VICTIMS} == dict.fromkeys(VICTIMS, 2)
