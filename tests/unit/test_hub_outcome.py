"""How a run ended, decided from what was noted, seen and asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import T0, at
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.hub.actor import HUB_POLL, HUB_SHUTDOWN, HUB_START
from jupyterhub_metrics.hub.outcome import Ending, class_name, decide, exit_status_of
from jupyterhub_metrics.model import FAILURE_REASONS, SOURCES, STOP_REASONS

RUNNING = Ending(
    owner="ada",
    was_ready=True,
    actor=None,
    noted_stopper=None,
    found_gone=False,
    exit_status=None,
    alive_at=at(100),
    gone_at=None,
    now=at(130),
)
STARTING = replace(RUNNING, was_ready=False, alive_at=T0, found_gone=None)
DIED = replace(RUNNING, actor=HUB_POLL, found_gone=True, exit_status=-9, gone_at=at(120))


def timed_out() -> Exception:
    error = asyncio.TimeoutError()
    error.reason = "timeout"
    return error


@pytest.mark.parametrize(
    ("actor", "reason"),
    [
        ("user:ada", "stopped_by_user"),
        ("user:grace", "stopped_by_admin"),
        ("service:culler", "stopped_by_service"),
        (HUB_SHUTDOWN, "hub_shutdown"),
        (HUB_START, "stopped_by_hub"),
        (None, "stopped_by_hub"),
    ],
)
def test_who_asked_decides_the_reason_of_an_asked_stop(actor, reason):
    (outcome,) = decide(replace(RUNNING, actor=actor))
    assert (outcome.kind, outcome.reason, outcome.actor) == ("stopped", reason, actor)
    assert outcome.not_before == outcome.not_after == at(130)


def test_a_server_found_gone_died_between_the_last_good_poll_and_the_bad_one():
    (outcome,) = decide(DIED)
    assert (outcome.kind, outcome.reason, outcome.source) == ("stopped", "died", "hub_poll")
    assert (outcome.not_before, outcome.not_after) == (at(100), at(120))
    assert outcome.exit_status == -9


def test_a_stop_asked_for_a_server_already_gone_is_still_a_death():
    (outcome,) = decide(replace(DIED, actor="user:ada"))
    assert (outcome.reason, outcome.actor) == ("died", None)


def test_a_server_gone_at_the_hubs_start_has_no_status_when_that_status_is_zero():
    found = replace(DIED, actor=HUB_START, exit_status=0, gone_at=at(130))
    (outcome,) = decide(found)
    assert (outcome.exit_status, outcome.source) == (None, "hub_start")
    assert (outcome.not_before, outcome.not_after) == (at(100), at(130))
    (outcome,) = decide(replace(found, exit_status=3))
    assert outcome.exit_status == 3


def test_a_stop_that_the_hubs_death_interrupted_keeps_who_asked():
    (outcome,) = decide(replace(DIED, actor=HUB_START, noted_stopper="service:culler"))
    assert (outcome.reason, outcome.actor) == ("stopped_by_service", "service:culler")
    assert outcome.not_before < outcome.not_after


def test_a_kubespawners_one_may_mean_that_the_pod_is_unknown():
    (outcome,) = decide(replace(DIED, exit_status=1, status_is_kubespawners=True))
    assert outcome.exit_status is None
    (outcome,) = decide(replace(DIED, exit_status=137, status_is_kubespawners=True))
    assert outcome.exit_status == 137


def test_a_stop_that_raised_is_no_end():
    (outcome,) = decide(replace(RUNNING, actor="user:ada", stop_error=OSError("secret text")))
    assert (outcome.kind, outcome.error) == ("stop_failed", "OSError")


def test_a_start_that_took_too_long_timed_out():
    (outcome,) = decide(replace(STARTING, error=timed_out(), found_gone=True, exit_status=0))
    assert (outcome.kind, outcome.reason, outcome.exit_status) == ("failed", "timeout", None)


def test_a_process_that_ended_before_it_answered_exited():
    ending = replace(
        STARTING, error=timed_out(), awaiting_answer=True, found_gone=True, exit_status=7
    )
    (outcome,) = decide(ending)
    assert (outcome.reason, outcome.exit_status) == ("exited", 7)


def test_a_start_that_raised_names_the_class_of_the_error_and_never_its_text():
    (outcome,) = decide(replace(STARTING, error=ValueError("token=abc")))
    assert (outcome.reason, outcome.error) == ("exception", "ValueError")


def test_a_start_that_somebody_stopped_was_cancelled():
    (outcome,) = decide(replace(STARTING, actor="user:ada"))
    assert (outcome.reason, outcome.actor) == ("cancelled", "user:ada")


def test_a_start_that_the_hubs_death_interrupted_failed_in_an_interval():
    (outcome,) = decide(replace(STARTING, actor=HUB_START))
    assert (outcome.kind, outcome.reason) == ("failed", "hub_restarted")
    assert (outcome.not_before, outcome.not_after) == (T0, at(130))


def test_a_failed_start_whose_clean_up_raised_tells_both():
    kinds = [o.kind for o in decide(replace(STARTING, error=ValueError(), stop_error=OSError()))]
    assert kinds == ["failed", "stop_failed"]


moments = st.integers(0, 1000).map(at)


@given(
    st.builds(
        Ending,
        owner=st.sampled_from(["ada", "grace"]),
        was_ready=st.booleans(),
        actor=st.sampled_from(
            [None, "user:ada", "user:x", "service:c", HUB_POLL, HUB_START, HUB_SHUTDOWN]
        ),
        noted_stopper=st.sampled_from([None, "user:ada", HUB_SHUTDOWN]),
        found_gone=st.sampled_from([None, True, False]),
        exit_status=st.sampled_from([None, 0, 1, -9, 7]),
        alive_at=moments,
        gone_at=st.none() | moments,
        now=moments,
        error=st.sampled_from([None, ValueError(), timed_out()]),
        stop_error=st.sampled_from([None, OSError()]),
        awaiting_answer=st.booleans(),
        status_is_kubespawners=st.booleans(),
    )
)
def test_every_ending_yields_events_within_the_closed_sets(ending):
    outcomes = decide(ending)
    assert 1 <= len(outcomes) <= 2
    for outcome in outcomes:
        assert outcome.not_before <= outcome.not_after
        assert outcome.source in SOURCES
        expected = {"stopped": (*STOP_REASONS, None), "failed": FAILURE_REASONS}
        assert outcome.reason in expected.get(outcome.kind, ("exception",))
    # Never both: a server that was ready does not fail, one that was not does not stop.
    assert ending.was_ready == (outcomes[0].kind != "failed")


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (0, 0),
        (-9, -9),
        ("ExitCode=137, Error='', FinishedAt=2026-01-01", 137),
        ("gone", None),
        (None, None),
        (True, None),
        (2**40, None),
    ],
)
def test_exit_statuses_are_read_from_numbers_and_dockerspawners_text(status, number):
    assert exit_status_of(status) == number


def test_the_class_of_an_error_carries_its_module():
    assert class_name(timedelta.__init__ and KeyError()) == "KeyError"
    assert class_name(asyncio.IncompleteReadError(b"", 1)) == (
        "asyncio.exceptions.IncompleteReadError"
    )
