"""From when to when a pod can have gone, by what was heard."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

import pytest

from jupyterhub_metrics.sources import pod_ledger
from jupyterhub_metrics.sources.pod_json import SeenPod
from jupyterhub_metrics.sources.pod_ledger import InStep, PodLedger, Seen
from jupyterhub_metrics.sources.world import Pod

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def seen(name: str, uid: str = "") -> SeenPod:
    return SeenPod(Pod("jhub", name, uid or f"uid-{name}"), "1")


def listed(*names: str, asked: float = 0, answered: float = 1) -> Seen:
    return Seen([seen(name) for name in names], at(asked), at(answered))


def intervals(ledger: PodLedger) -> dict[str, tuple[datetime, datetime]]:
    return {gone.pod.uid: (gone.gone_after, gone.gone_before) for gone in ledger.gone}


def test_before_a_list_nothing_is_known() -> None:
    in_step = InStep()
    in_step.ran_dry(at(0))
    assert in_step.until(at(60)) is None


def test_a_list_is_sure_of_when_it_was_asked_for_and_a_watch_only_after_a_while() -> None:
    in_step = InStep()
    in_step.listed(at(0))
    in_step.ran_dry(at(10))
    assert in_step.until(at(11)) == at(0)
    assert in_step.until(at(12)) == at(10)


def test_a_busy_watch_keeps_few_moments_and_still_moves_on() -> None:
    in_step = InStep()
    in_step.listed(at(0))
    for tick in range(1000):
        in_step.ran_dry(at(tick / 100))
        in_step.until(at(tick / 100))
        assert len(in_step._dry) <= 10
    assert at(7.5) <= in_step.until(at(10)) <= at(8)


def test_a_clock_that_is_set_back_makes_no_interval_end_before_it_begins() -> None:
    ledger = PodLedger()
    ledger.replace(listed("ada", asked=100, answered=101))
    ledger.remove(seen("ada"), at(50))
    assert intervals(ledger) == {"uid-ada": (at(50), at(50))}


def test_a_deletion_that_is_heard_lies_between_the_last_step_and_now() -> None:
    ledger = PodLedger()
    ledger.replace(listed("ada", "bob"))
    ledger.in_step.ran_dry(at(10))
    ledger.remove(seen("ada"), at(30))
    assert intervals(ledger) == {"uid-ada": (at(10), at(30))}
    assert [pod.name for pod in ledger.pods] == ["bob"]


def test_what_a_new_list_lacks_went_before_its_first_page() -> None:
    ledger = PodLedger()
    ledger.replace(listed("ada", "bob"))
    ledger.replace(listed("bob", asked=60, answered=61))
    assert intervals(ledger) == {"uid-ada": (at(0), at(61))}


def test_a_name_with_another_uid_is_another_pod() -> None:
    ledger = PodLedger()
    ledger.replace(listed("ada"))
    ledger.put(seen("ada", "second"), at(5))
    ledger.replace(Seen([seen("ada", "third")], at(10), at(11)))
    ledger.remove(seen("ada", "second"), at(12))
    assert list(intervals(ledger)) == ["uid-ada", "second"]
    assert [pod.uid for pod in ledger.pods] == ["third"]


def test_a_deletion_told_twice_counts_once() -> None:
    ledger = PodLedger()
    ledger.replace(listed("ada"))
    ledger.remove(seen("ada"), at(5))
    ledger.remove(seen("ada"), at(6))
    ledger.replace(listed(asked=10, answered=11))
    assert len(ledger.gone) == 1


def test_what_is_not_acknowledged_is_bounded_and_its_loss_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pod_ledger, "MAX_UNACKNOWLEDGED", 2)
    ledger = PodLedger()
    names = ["ada", "bob", "eve", "joe"]
    ledger.replace(listed(*names))
    with caplog.at_level(logging.ERROR):
        ledger.replace(listed(asked=10, answered=11))
    assert list(intervals(ledger)) == ["uid-eve", "uid-joe"]
    assert len(caplog.records) == 1
