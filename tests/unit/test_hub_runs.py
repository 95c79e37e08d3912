"""Which runs a Hub that starts no longer knows, and how long they were by its clocks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from builders import at
from scheduled_hub import ScheduledHub
from scheduled_time import Clock, Time

from jupyterhub_metrics.hub.runs import SpawnerRow
from jupyterhub_metrics.model import Event
from jupyterhub_metrics.wire import event_from_wire


@pytest.fixture
def hub() -> Iterator[ScheduledHub]:
    time = Time()
    scheduled = ScheduledHub("campus", time, Clock(time))
    scheduled.start()
    yield scheduled
    scheduled.close()


def recorded(hub: ScheduledHub) -> list[Event]:
    assert hub.recorder is not None
    waiting = hub.recorder.outbox.waiting(100)
    return [event_from_wire(json.loads(item.body)) for item in waiting]


@pytest.mark.parametrize(
    ("rows", "unknown"),
    [
        ([], False),
        ([SpawnerRow(1, "ada", "", at(0))], False),
        ([SpawnerRow(1, "ada", "", None)], True),
        ([SpawnerRow(1, "ada", "", at(60))], True),
        ([SpawnerRow(1, "bob", "", at(60))], False),
        ([SpawnerRow(1, "ada", "gpu", None)], False),
    ],
    ids=["no row", "as it was", "stopped", "started again", "another user's", "another server's"],
)
def test_only_its_own_row_says_that_a_run_has_ended(
    hub: ScheduledHub, rows: list[SpawnerRow], unknown: bool
) -> None:
    hub.start_server("ada")
    assert hub.recorder is not None
    hub.recorder.settle_unknown(lambda: rows)
    assert [event.kind for event in recorded(hub)][2:] == ["stopped"] * unknown


def test_a_wall_clock_set_back_does_not_shorten_a_session(hub: ScheduledHub) -> None:
    hub.start_server("ada")
    hub.time.pass_by(600)
    hub.clock.step(-3600)
    hub.time.pass_by(300)
    hub.stop_server("ada")
    assert [event.occurred_at for event in recorded(hub)][2:] == [at(902.25)]


def test_a_good_poll_outlives_the_hub(hub: ScheduledHub) -> None:
    hub.start_server("ada")
    hub.time.pass_by(600)
    hub.kill()
    hub.kill_server("ada")
    hub.time.pass_by(100)
    hub.start()
    [end] = recorded(hub)[2:]
    assert (end.not_before, end.not_after) == (at(600), at(702.25))
