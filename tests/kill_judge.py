"""Compares the sessions that were recorded with what an outside observer saw. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from outside_observer import Attempt

Row = dict[str, Any]

CLOCK_SECONDS = 0.001
"""How finely two readings of one machine's clock are compared."""

SPARE_SECONDS = 1.0
NO_INTERVAL = (0.0, float("inf"))
START_FAILURES = {"hub_restarted", "exception", "timeout"}


@dataclass
class Verdict:
    """What is wrong, in words, and of which sessions; how many were compared, how many ends were
    intervals, and of the one nearest to what is allowed, its width and that, in seconds."""

    violations: list[str] = field(default_factory=list)
    suspects: set[Any] = field(default_factory=set)
    compared: int = 0
    intervals: int = 0
    closest: tuple[float, float] = NO_INTERVAL


def judge(
    attempts: Sequence[Attempt],
    rows: Sequence[Row],
    silence: Callable[[float, float], float],
    *,
    poll_seconds: float,
    check_seconds: float,
) -> Verdict:
    """Whether none was lost, none doubled, and every end lies in an interval that is no wider than
    the polls that can see it are apart, plus the outage, plus a second.

    ``silence`` gives for how many seconds between two moments the Hub did not answer.
    """
    verdict = Verdict()
    for attempt, row in _pairs(attempts, rows, verdict):
        verdict.compared += 1
        wrong = [*_wrong_start(attempt, row), *_wrong_state(attempt, row)]
        if row["state"] in ("ended", "failed"):
            wrong += [*_wrong_end(attempt, row), *_wrong_reason(attempt, row)]
            seeing = poll_seconds + (check_seconds if row["end_source"] == "hub_api" else 0)
            wrong += _too_wide(row, seeing, silence, verdict)
        verdict.violations += [f"{what}: {attempt}; {_told(row)}" for what in wrong]
        if wrong:
            verdict.suspects.add(row["id"])
    return verdict


def _pairs(
    attempts: Sequence[Attempt], rows: Sequence[Row], verdict: Verdict
) -> list[tuple[Attempt, Row]]:
    """Each request with its session: the one that began before the next request was made."""
    by_server: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_server[row["username"], row["server_name"]].append(row)
    requests: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        requests[attempt.username, attempt.server_name].append(attempt)
    pairs = []
    for server in {*by_server, *requests}:
        asked = sorted(requests[server], key=lambda attempt: attempt.asked_at)
        ends = [attempt.asked_at for attempt in asked[1:]] + [float("inf")]
        left = by_server[server]
        for attempt, end in zip(asked, ends, strict=True):
            mine = [
                row
                for row in left
                if attempt.asked_at - CLOCK_SECONDS <= row["started_at"].timestamp() < end
            ]
            left = [row for row in left if row not in mine]
            pairs += [(attempt, row) for row in mine[:1]]
            if len(mine) > 1:
                verdict.violations.append(f"doubled: {attempt}; {[_told(row) for row in mine]}")
            elif not mine and attempt.born_at is not None:
                verdict.violations.append(f"lost: {attempt}")
        verdict.violations += [f"invented: {_told(row)}" for row in left]
    return pairs


def _wrong_start(attempt: Attempt, row: Row) -> list[str]:
    started = row["started_at"].timestamp()
    if attempt.refused:
        return ["a refused request has a session"]
    if attempt.born_at is not None and started > attempt.born_at + CLOCK_SECONDS:
        return ["it is said to have started after its process was born"]
    # one that died before a poll saw it ready may have ended before, and is moved to its end
    if row["ready_at"] not in (None, row["ended_at"]):
        ready = row["ready_at"].timestamp()
        if attempt.born_at is None or ready < attempt.born_at:
            return ["it is said to be ready before its process was born"]
    return []


def _wrong_state(attempt: Attempt, row: Row) -> list[str]:
    state = row["state"]
    if attempt.over_by == float("inf"):
        allowed = {"running"}
    elif attempt.was_ready:
        allowed = {"ended"}
    elif attempt.answered_at is None:
        allowed = {"failed"}
    else:
        allowed = {"ended", "failed"}
    if state not in allowed:
        return [f"found {state}, expected {' or '.join(sorted(allowed))}"]
    if attempt.orphaned and state != "failed":
        return ["its process lived on after its end"]
    return []


def _wrong_end(attempt: Attempt, row: Row) -> list[str]:
    after, before = row["ended_after"].timestamp(), row["ended_before"].timestamp()
    if not after <= row["ended_at"].timestamp() <= before:
        return ["its end lies outside its own interval"]
    if row["state"] == "failed":
        # the moment at which the Hub gave up, of which only the latest is known from outside
        true_after, true_before = attempt.asked_at, attempt.over_by
    elif after == before and row["end_source"] == "hub":
        # the Hub's own stop, which is complete some time after the process is gone
        true_after, true_before = attempt.alive_at, attempt.over_by
    else:
        true_after, true_before = attempt.alive_at, attempt.gone_at
    if after > true_before + CLOCK_SECONDS:
        return ["its interval begins after its true end"]
    if before < true_after - CLOCK_SECONDS:
        return ["its interval ends before its true end"]
    return []


def _too_wide(
    row: Row, seeing: float, silence: Callable[[float, float], float], verdict: Verdict
) -> list[str]:
    after, before = row["ended_after"].timestamp(), row["ended_before"].timestamp()
    width, bound = before - after, seeing + silence(after, before) + SPARE_SECONDS
    verdict.intervals += width > 0
    verdict.closest = max(verdict.closest, (width, bound), key=lambda one: one[0] - one[1])
    if width > bound:
        return [f"its interval is {width:.2f} s wide, {bound:.2f} s are allowed"]
    return []


def _wrong_reason(attempt: Attempt, row: Row) -> list[str]:
    reason = row["end_reason"]
    if row["state"] == "failed":
        allowed = START_FAILURES | ({"cancelled"} if attempt.stopped_by else set())
        if attempt.mode == "exit7" or attempt.killed:
            allowed = allowed | {"exited"}
    else:
        allowed = attempt.stopped_by | ({"died"} if attempt.killed else set())
    if reason not in allowed:
        return [f"found the reason {reason}, expected one of {sorted(allowed)}"]
    return []


def _told(row: Row) -> str:
    shown = {
        name: value.timestamp() if name.endswith(("_at", "_after", "_before")) and value else value
        for name, value in row.items()
        if name
        in (
            *("username", "server_name", "state", "started_at", "ready_at", "ended_at"),
            *("ended_after", "ended_before", "end_reason", "end_source", "ended_by"),
        )
    }
    return str(shown)
