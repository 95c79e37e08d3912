"""Sessions in words. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_fixtures import NOON

from jupyterhub_metrics.model import (
    CONTAINER_REASONS,
    FAILURE_REASONS,
    STOP_REASONS,
    UNSEEN,
    Session,
)
from jupyterhub_metrics.service.wording import (
    bytes_in_words,
    duration_in_words,
    end_in_words,
    hours_in_words,
)


def session(state: str = "ended", **values: Any) -> Session:
    ended_at = None if state in ("starting", "running") else NOON + timedelta(hours=1)
    values.setdefault("ended_at", ended_at)
    return Session(UUID(int=1), "hub", "alice", "", NOON, state, **values)


@pytest.mark.parametrize(
    ("reason", "actor", "viewer", "words"),
    [
        ("stopped_by_user", "user:alice", "alice", "stopped by you"),
        ("stopped_by_user", "user:alice", "bob", "stopped by alice"),
        ("stopped_by_admin", "user:bob", "alice", "stopped by an administrator (bob)"),
        ("stopped_by_admin", "user:bob", "bob", "stopped by you as an administrator"),
        ("stopped_by_admin", "user:x:y", "alice", "stopped by an administrator (x:y)"),
        ("stopped_by_admin", None, "alice", "stopped by an administrator"),
        ("stopped_by_service", "service:deploy", "alice", "stopped by the service deploy"),
        ("stopped_by_service", None, "alice", "stopped by a service"),
        ("stopped_by_hub", "hub:start", "alice", "stopped by the Hub"),
        ("hub_shutdown", "hub:shutdown", "alice", "the Hub shut down"),
        ("died", None, "alice", "died"),
        ("completed", None, "alice", "ended by itself"),
        ("error", None, "alice", "ended with an error"),
        ("oom_killed", None, "alice", "killed: out of memory"),
        ("evicted", None, "alice", "evicted: its node was short of resources"),
        ("deadline_exceeded", None, "alice", "stopped: it ran longer than it may"),
        ("node_lost", None, "alice", "lost: its node went away"),
        ("preempted", None, "alice", "evicted: something more important needed its place"),
        ("unseen", None, "alice", "ended; nobody saw when or why"),
        ("of_old_age", None, "alice", "ended: of old age"),
        (None, None, "alice", "ended"),
    ],
)
def test_the_end_of_a_session_is_told_to_its_reader(
    reason: str | None, actor: str | None, viewer: str, words: str
) -> None:
    assert end_in_words(session(end_reason=reason, ended_by=actor), viewer) == words


@pytest.mark.parametrize(
    ("reason", "values", "words"),
    [
        ("timeout", {}, "did not start: it took too long"),
        ("exception", {}, "did not start: an error occurred"),
        ("exited", {"exit_status": 7}, "did not start: it exited (exit status 7)"),
        ("hub_restarted", {}, "did not start: the Hub restarted"),
        ("cancelled", {}, "start cancelled"),
        ("cancelled", {"ended_by": "user:alice"}, "start cancelled by you"),
        ("cancelled", {"ended_by": "user:bob"}, "start cancelled by an administrator (bob)"),
        ("cancelled", {"ended_by": "service:c"}, "start cancelled by the service c"),
        ("error", {"exit_status": 1}, "did not start: it exited (exit status 1)"),
        (
            "oom_killed",
            {"memory_limit_bytes": 2**29},
            "did not start: out of memory at 512.0 MiB",
        ),
        ("unseen", {}, "did not start: nobody saw why"),
        ("no_room", {}, "did not start: no room"),
        (None, {}, "did not start"),
    ],
)
def test_a_failed_start_is_told(reason: str | None, values: dict[str, Any], words: str) -> None:
    assert end_in_words(session("failed", end_reason=reason, **values), "alice") == words


def test_a_death_tells_its_exit_status() -> None:
    dead = session(end_reason="died", exit_status=-9)
    assert end_in_words(dead, "alice") == "died (exit status -9)"


def test_what_ran_out_of_memory_says_at_how_much() -> None:
    killed = session(end_reason="oom_killed", exit_status=137, memory_limit_bytes=2**32)
    assert end_in_words(killed, "alice") == "killed: out of memory at 4.0 GiB"


@pytest.mark.parametrize(
    ("actor", "idle_minutes", "words"),
    [
        ("service:cull-idle", 62, "stopped by the idle culler after 62 min without activity"),
        ("service:jupyterhub-idle-culler", None, "stopped by the idle culler"),
        ("service:cull-idle", 0, "stopped by the idle culler"),
        ("service:deploy", 62, "stopped by the service deploy"),
    ],
)
def test_the_idle_culler_says_how_long_nobody_was_active(
    actor: str, idle_minutes: int | None, words: str
) -> None:
    culled = session(end_reason="stopped_by_service", ended_by=actor)
    assert culled.ended_at is not None
    last = None if idle_minutes is None else culled.ended_at - timedelta(minutes=idle_minutes)
    assert end_in_words(culled, "alice", last) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (900, "900 bytes"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (2**29, "512.0 MiB"),
        (6 * 2**40, "6.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_that_fits(size: int, words: str) -> None:
    assert bytes_in_words(size) == words


def test_no_known_reason_is_shown_raw() -> None:
    concluded = (*CONTAINER_REASONS, UNSEEN)
    for state, reasons in (
        ("ended", (*STOP_REASONS, *concluded)),
        ("failed", (*FAILURE_REASONS, *concluded)),
    ):
        for reason in reasons:
            words = end_in_words(session(state, end_reason=reason), "alice")
            assert not words.endswith(f": {reason.replace('_', ' ')}"), reason


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59.99, "59 s"),
        (60, "1 min 00 s"),
        (3599.9, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (86399, "23 h 59 min"),
        (90000, "1 d 01 h"),
    ],
)
def test_a_duration_is_told_in_two_units(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words


@given(st.floats(0.001, 1e9))
def test_what_was_used_is_never_told_as_nothing(seconds: float) -> None:
    assert hours_in_words(seconds) not in ("0", "0.0")
