"""Until when the recorder vouches for a server that starts and becomes ready."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import T0, at

from jupyterhub_metrics.hub.actor import HUB_POLL, HUB_START, acting
from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.hub.runs import SpawnerRow
from jupyterhub_metrics.model import isoformat

POLL_SECONDS = 30


class Moments:
    """A recorder and one spawner, whose moments a test makes at the times it likes."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._folder = folder
        self.recorder = self._new_recorder()
        self.spawner = SimpleNamespace(
            poll_interval=POLL_SECONDS,
            name="",
            user=SimpleNamespace(name="ada", groups=[]),
            orm_spawner=SimpleNamespace(id=1, started=T0, state={}),
            user_options={},
            handler=None,
            _log_name="ada",
        )

    def _new_recorder(self) -> MetricsRecorder:
        recorder = MetricsRecorder(
            hub_name="campus",
            data_dir=str(self._folder),
            wall=lambda: at(self.seconds),
            later=self._later,
        )
        recorder.open()
        return recorder

    def _later(self, seconds: float, call: Callable[[], None]) -> SimpleNamespace:
        due = (self.seconds + seconds, call)
        self._due.append(due)
        return SimpleNamespace(cancel=lambda: due in self._due and self._due.remove(due))

    def pass_until(self, seconds: float) -> None:
        """Time goes on, and what was to be called back later is."""
        while ready := [due for due in self._due if due[0] <= seconds]:
            first = min(ready, key=lambda due: due[0])
            self._due.remove(first)
            self.seconds, call = first
            call()
        self.seconds = seconds

    def hub_is_killed(self) -> None:
        """Only what is on disk is left; the new recorder reads it."""
        self._due.clear()
        self.recorder.outbox.close()
        self.recorder = self._new_recorder()

    def found_failed(self) -> dict[str, Any]:
        """The Hub starts and gives up the start; gives the event that ends it."""
        with acting(HUB_START):
            self.spawner.orm_spawner.started = None
            self.recorder.settle_unknown(lambda: [SpawnerRow(1, "ada", "", None)])
        return self.last("failed")

    @property
    def waiting(self) -> int:
        """How much is still to be called back."""
        return len(self._due)

    def found_dead(self) -> dict[str, Any]:
        """A poll finds it dead; gives the event that ends it."""
        with acting(HUB_POLL):
            self.recorder.polled(self.spawner, -9, at(self.seconds))
            self.recorder.stopping(self.spawner)
            self.spawner.orm_spawner.started = None
            self.recorder.ended(self.spawner, None)
        return self.last("stopped")

    def last(self, kind: str) -> dict[str, Any]:
        *_, last = self.recorder.outbox.waiting(10)
        event: dict[str, Any] = json.loads(last.body)
        assert event["kind"] == kind
        return event


@pytest.fixture
def moments(tmp_path: Path) -> Iterator[Moments]:
    moments = Moments(tmp_path)
    yield moments
    assert moments.recorder.faults == 0
    moments.recorder.outbox.close()


def wire(seconds: float) -> str:
    return isoformat(at(seconds))


def test_a_server_may_have_died_while_it_was_routed(moments: Moments) -> None:
    moments.recorder.requested(moments.spawner)
    moments.seconds = 2
    moments.recorder.polling(moments.spawner)
    # it answers at 3 and dies at 4, and the proxy takes until 5
    moments.seconds = 5
    moments.recorder.ready(moments.spawner)
    moments.seconds = 6
    stopped = moments.found_dead()
    assert (stopped["occurred_at"], stopped["not_after"]) == (wire(2), wire(6))


def test_a_poll_vouches_for_a_server_that_is_not_ready_yet(moments: Moments) -> None:
    moments.recorder.requested(moments.spawner)
    moments.recorder.polling(moments.spawner)
    moments.seconds = 4
    moments.recorder.polled(moments.spawner, None, at(3))
    moments.seconds = 5
    moments.recorder.ready(moments.spawner)
    moments.seconds = 6
    assert moments.found_dead()["occurred_at"] == wire(3)


def test_a_server_that_has_just_answered_a_hub_that_starts_was_there(moments: Moments) -> None:
    """The Hub ran before it was recorded: nothing else is known of the server."""
    moments.seconds = 50
    with acting(HUB_START):
        moments.recorder.ready(moments.spawner)
    moments.seconds = 60
    assert moments.found_dead()["occurred_at"] == wire(50)


@pytest.mark.parametrize(
    ("state", "kind", "reason"),
    [
        ({"pid": 7}, "stopped", "died"),
        ({}, "failed", "hub_restarted"),
        (None, "failed", "hub_restarted"),
    ],
)
def test_one_found_dead_without_a_note_had_run_if_its_spawner_has_a_state(
    moments: Moments, state: dict[str, int] | None, kind: str, reason: str
) -> None:
    """The Hub was killed before it asked for the start, or ran before it was recorded."""
    moments.spawner.orm_spawner.state = state
    moments.seconds = 50
    with acting(HUB_START):
        moments.recorder.stopping(moments.spawner)
        moments.recorder.polled(moments.spawner, 0, at(50))
        moments.spawner.orm_spawner.started = None
        moments.recorder.ended(moments.spawner, None)
    ended = moments.last(kind)
    assert (ended["occurred_at"], ended["not_after"]) == (wire(0), wire(50))
    assert ended["reason"] == reason


def test_when_a_poll_found_it_gone_outlives_the_hub(moments: Moments) -> None:
    """The Hub was killed before it ended the server, or waited for its proxy meanwhile."""
    moments.recorder.requested(moments.spawner)
    moments.recorder.ready(moments.spawner)
    moments.recorder.polled(moments.spawner, None, at(30))
    moments.pass_until(60)
    moments.recorder.polled(moments.spawner, -9, at(60))
    moments.hub_is_killed()
    moments.seconds = 900
    with acting(HUB_START):
        moments.spawner.orm_spawner.started = None
        moments.recorder.settle_unknown(lambda: [SpawnerRow(1, "ada", "", None)])
    stopped = moments.last("stopped")
    assert (stopped["occurred_at"], stopped["not_after"]) == (wire(30), wire(60))


def test_the_note_of_an_older_run_is_not_taken_for_that_of_a_run_nobody_noted(
    moments: Moments,
) -> None:
    """The disk was full when the first ended and the second began, and then the Hub was killed."""
    moments.recorder.requested(moments.spawner)
    moments.hub_is_killed()
    moments.spawner.orm_spawner.started = at(100)
    moments.seconds = 200
    with acting(HUB_START):
        moments.recorder.stopping(moments.spawner)
        moments.recorder.polled(moments.spawner, 0, at(200))
        moments.spawner.orm_spawner.started = None
        moments.recorder.ended(moments.spawner, None)
        second = moments.last("failed")
        moments.recorder.settle_unknown(lambda: [SpawnerRow(1, "ada", "", None)])
        first = moments.last("failed")
    assert [
        (one["started_at"], one["occurred_at"], one["not_after"]) for one in (first, second)
    ] == [
        (wire(0), wire(0), wire(200)),
        (wire(100), wire(100), wire(200)),
    ]
    assert moments.recorder.outbox.notes() == []


def test_a_server_that_is_there_after_all_has_not_gone(moments: Moments) -> None:
    moments.recorder.requested(moments.spawner)
    moments.recorder.ready(moments.spawner)
    moments.recorder.polled(moments.spawner, 1, at(30))
    moments.recorder.polled(moments.spawner, None, at(60))
    [note] = moments.recorder.outbox.notes()
    assert note.gone_at is None
    moments.seconds = 90
    assert moments.found_dead()["occurred_at"] == wire(60)


def test_a_new_start_ends_the_run_that_a_poll_found_gone(moments: Moments) -> None:
    moments.recorder.requested(moments.spawner)
    moments.recorder.ready(moments.spawner)
    moments.seconds = 30
    moments.recorder.polled(moments.spawner, -9, at(30))
    moments.seconds = 900
    moments.spawner.orm_spawner.started = at(900)
    moments.recorder.requested(moments.spawner)
    *_, stopped, requested = (json.loads(item.body) for item in moments.recorder.outbox.waiting(10))
    assert (stopped["kind"], stopped["reason"], stopped["not_after"]) == (
        *("stopped", "died"),
        wire(30),
    )
    assert (requested["kind"], requested["started_at"]) == ("requested", wire(900))
    [note] = moments.recorder.outbox.notes()
    assert (note.started_at, note.gone_at) == (at(900), None)


def test_a_start_that_takes_long_is_vouched_for_while_the_hub_lives(moments: Moments) -> None:
    moments.recorder.requested(moments.spawner)
    moments.pass_until(100)
    moments.hub_is_killed()
    moments.pass_until(130)
    failed = moments.found_failed()
    assert (failed["occurred_at"], failed["not_after"]) == (wire(90), wire(130))
    assert failed["reason"] == "hub_restarted"


@pytest.mark.parametrize("end", ["polling", "ended"])
def test_a_start_that_is_over_is_vouched_for_no_longer(moments: Moments, end: str) -> None:
    moments.recorder.requested(moments.spawner)
    assert moments.waiting == 1
    if end == "polling":
        moments.recorder.polling(moments.spawner)
        # what was seen is written down once more, and nothing else
        moments.pass_until(1)
    else:
        moments.spawner.orm_spawner.started = None
        moments.recorder.ended(moments.spawner, None)
    assert moments.waiting == 0


async def test_a_hub_that_ends_vouches_for_no_start(tmp_path: Path) -> None:
    moments = Moments(tmp_path)
    moments.recorder.requested(moments.spawner)
    await moments.recorder.close()
    assert moments.waiting == 0


def test_a_new_start_ends_a_run_that_a_hubs_database_made_anew_no_longer_knows(
    moments: Moments,
) -> None:
    moments.recorder.requested(moments.spawner)
    moments.recorder.polling(moments.spawner)
    moments.seconds = 5
    moments.recorder.ready(moments.spawner)
    moments.seconds = 20
    moments.recorder.polled(moments.spawner, None, at(20))
    moments.pass_until(30)
    moments.hub_is_killed()
    moments.seconds = 60
    moments.recorder.settle_unknown(list)
    moments.spawner.orm_spawner = SimpleNamespace(id=7, started=at(60), state={})
    moments.recorder.requested(moments.spawner)
    *_, stopped, requested = [json.loads(one.body) for one in moments.recorder.outbox.waiting(10)]
    assert (stopped["kind"], requested["kind"]) == ("stopped", "requested")
    assert (stopped["occurred_at"], stopped["not_after"]) == (wire(20), wire(60))
    assert stopped["session_id"] != requested["session_id"]
    assert len(moments.recorder.outbox.notes()) == 1
