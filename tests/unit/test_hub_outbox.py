"""The outbox: what is appended survives, in order, until it is acknowledged."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from builders import T0, at, event
from faults import full_disk

from jupyterhub_metrics.hub.note import Note
from jupyterhub_metrics.hub.outbox import Outbox

LOG = logging.getLogger("test_outbox")


def note(spawner_id: int = 1, **changes) -> Note:
    made = Note(
        spawner_id=spawner_id,
        session_id=event("requested").session_id,
        username="ada",
        current_username="ada",
        server_name="",
        started_at=T0,
        ready=False,
        alive_at=T0,
    )
    return replace(made, **changes)


@pytest.fixture
def opened():
    """Opens outboxes, and closes them at the end."""
    boxes = []

    def open_at(path, **options) -> Outbox:
        boxes.append(Outbox(path, LOG, **options))
        boxes[-1].open()
        return boxes[-1]

    yield open_at
    for box in boxes:
        box.close()


@pytest.fixture
def outbox(tmp_path, opened):
    return opened(tmp_path / "outbox.sqlite")


@pytest.fixture
def reopened(opened):
    """What the next start of the Hub finds."""

    def reopen(box: Outbox) -> Outbox:
        box.close()
        return opened(box.path)

    return reopen


def seconds_waiting(box: Outbox, limit: int = 1000) -> list[str]:
    return [json.loads(item.body)["occurred_at"][17:19] for item in box.waiting(limit)]


def test_events_come_out_in_the_order_in_which_they_went_in(outbox):
    for seconds in range(5):
        outbox.append([event("requested", seconds)])
    assert seconds_waiting(outbox) == ["00", "01", "02", "03", "04"]
    assert seconds_waiting(outbox, limit=2) == ["00", "01"]


def test_an_acknowledged_event_is_gone_and_the_others_stay(outbox, reopened):
    for seconds in range(3):
        outbox.append([event("requested", seconds)])
    outbox.acknowledge(outbox.waiting(2))
    assert seconds_waiting(outbox) == ["02"]
    assert seconds_waiting(reopened(outbox)) == ["02"]


def test_notes_are_there_again_after_a_restart(outbox, reopened):
    outbox.append([event("requested")], keep=note())
    outbox.append([event("ready", 5)], keep=note(ready=True, alive_at=at(5), stopping_by="user:b"))
    outbox.append([event("requested")], keep=note(2))
    outbox.append([event("stopped", 9)], drop=2)
    again = reopened(outbox)
    assert again.notes() == [note(ready=True, alive_at=at(5), stopping_by="user:b")]


def test_what_an_older_version_noted_is_still_known(outbox, reopened):
    outbox.append([event("requested")], keep=note())
    outbox.close()
    with contextlib.closing(sqlite3.connect(outbox.path)) as db, db:
        db.execute("ALTER TABLE notes DROP COLUMN gone_at")
    again = reopened(outbox)
    again.append([], keep=note(2, gone_at=at(7)))
    assert reopened(again).notes() == [note(), note(2, gone_at=at(7))]


def test_when_a_server_was_last_seen_alive_is_written_down_and_never_goes_back(outbox, reopened):
    outbox.append([], keep=note())
    outbox.touch([(1, note().session_id, at(60)), (7, note().session_id, at(60))])
    outbox.touch([(1, note().session_id, at(30))])
    assert [n.alive_at for n in reopened(outbox).notes()] == [at(60)]


def test_an_append_survives_the_process_being_killed(tmp_path, opened):
    script = f"""
import logging, os, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
from pathlib import Path
from test_hub_outbox import LOG, event, note
from jupyterhub_metrics.hub.outbox import Outbox
box = Outbox(Path({str(tmp_path / "outbox.sqlite")!r}), LOG)
box.open()
for seconds in range(10):
    box.append([event("requested", seconds)], keep=note(seconds))
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    box = opened(tmp_path / "outbox.sqlite")
    assert len(box.waiting(100)) == len(box.notes()) == 10


def test_a_full_disk_stops_no_append_and_delivery_resumes_by_itself(outbox, caplog, reopened):
    outbox.append([event("requested", 0)])
    with full_disk():
        for seconds in range(1, 4):
            outbox.append([event("requested", seconds)], keep=note(seconds))
        assert not outbox.save()
        assert outbox.depth().in_memory == 3
        assert outbox.depth().events == 4
    complaints = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(complaints) == 1, "the risk is logged once"
    assert "free space" in complaints[0].getMessage()
    assert outbox.save()
    assert outbox.depth().in_memory == 0
    assert seconds_waiting(outbox) == ["00", "01", "02", "03"]
    assert len(reopened(outbox).notes()) == 3


def test_a_disk_that_is_full_at_the_start_still_shows_what_was_noted_on_it(outbox, opened):
    outbox.append([event("requested")], keep=note())
    found = outbox.path.parent / "found"
    found.mkdir()
    # as a killed Hub leaves it on a machine that was started anew
    for name in ("outbox.sqlite", "outbox.sqlite-wal"):
        shutil.copy(outbox.path.parent / name, found)
    with full_disk():
        again = opened(found / "outbox.sqlite")
        assert again.notes() == [note()]
        again.append([event("failed", 3)], drop=1)
    assert again.save()
    assert again.notes() == []
    assert seconds_waiting(again) == ["00", "03"]


def test_what_the_disk_refuses_can_be_delivered_from_memory(outbox):
    with full_disk():
        for seconds in range(4):
            outbox.append([event("requested", seconds)])
        first = outbox.waiting(2)
        assert [json.loads(i.body)["occurred_at"][17:19] for i in first] == ["00", "01"]
        outbox.acknowledge(first)
        assert seconds_waiting(outbox) == ["02", "03"]
    assert outbox.save()
    assert seconds_waiting(outbox) == ["02", "03"]


def test_a_folder_that_is_missing_is_used_as_soon_as_it_is_there(tmp_path, reopened, opened):
    box = opened(tmp_path / "later" / "outbox.sqlite")
    box.append([event("requested", 1)], keep=note())
    assert seconds_waiting(box) == ["01"]
    (tmp_path / "later").mkdir()
    assert box.save()
    again = reopened(box)
    assert seconds_waiting(again) == ["01"]
    assert again.notes() == [note()]
    shutil.rmtree(tmp_path / "later")


def test_what_memory_cannot_hold_is_counted(tmp_path, monkeypatch, opened):
    monkeypatch.setattr("jupyterhub_metrics.hub.outbox.MEMORY_LIMIT_EVENTS", 2)
    box = opened(tmp_path / "missing" / "outbox.sqlite")
    for seconds in range(5):
        box.append([event("requested", seconds)])
    assert (box.depth().events, box.depth().lost) == (2, 3)


def test_a_refused_event_is_kept_aside_and_blocks_nothing(outbox):
    outbox.append([event("requested", 0)])
    outbox.append([event("requested", 1)])
    outbox.set_aside(outbox.waiting(1)[0], "facts.gpus: found text; expected a number")
    assert seconds_waiting(outbox) == ["01"]
    assert outbox.depth().set_aside == 1
    with contextlib.closing(sqlite3.connect(outbox.path)) as db:
        ((body, message),) = db.execute("SELECT body, message FROM set_aside").fetchall()
    assert json.loads(body)["occurred_at"].endswith("00:00.000000Z")
    assert message.startswith("facts.gpus")


def test_depth_tells_how_long_the_oldest_event_waits(tmp_path, opened):
    now = [1000.0]
    box = opened(tmp_path / "outbox.sqlite", clock=lambda: now[0])
    assert (box.depth().events, box.depth().oldest_seconds) == (0, None)
    box.append([event("requested")])
    now[0] += 90
    assert box.depth().oldest_seconds == 90


def test_only_the_hubs_own_user_may_read_the_outbox(outbox):
    outbox.append([event("requested")])
    assert outbox.path.stat().st_mode & 0o777 == 0o600


def test_a_checkpoint_empties_the_log_into_the_file(outbox):
    for seconds in range(50):
        outbox.append([event("requested", seconds)])
    outbox.checkpoint()
    # immutable: reads the file alone, as if its log did not exist
    with contextlib.closing(sqlite3.connect(f"file:{outbox.path}?immutable=1", uri=True)) as db:
        assert db.execute("SELECT count(*) FROM outbox").fetchone() == (50,)


def test_each_outage_of_the_disk_is_told(outbox, caplog):
    for _ in range(2):
        with full_disk():
            outbox.append([event("requested")])
        assert outbox.save()
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 2


def test_a_refused_acknowledgement_is_told_and_kept_in_mind(outbox, caplog, reopened):
    for seconds in range(3):
        outbox.append([event("requested", seconds)])
    with full_disk():
        outbox.acknowledge(outbox.waiting(2))
        assert seconds_waiting(outbox) == ["02"]
        assert outbox.depth().events == 1
        assert not outbox.set_aside(outbox.waiting(1)[0], "odd")
    outbox.acknowledge(outbox.waiting(1))
    assert outbox.depth().events == 0
    assert seconds_waiting(reopened(outbox)) == []


def test_much_that_waited_in_memory_is_brought_to_disk_in_parts(outbox, monkeypatch):
    monkeypatch.setattr("jupyterhub_metrics.hub.outbox.SAVED_AT_ONCE", 2)
    with full_disk():
        for seconds in range(5):
            outbox.append([event("requested", seconds)], keep=note(seconds))
    waits = []
    while outbox.depth().in_memory:
        assert outbox.save()
        waits.append(outbox.depth().in_memory)
    assert waits == [3, 1, 0]
    assert seconds_waiting(outbox) == ["00", "01", "02", "03", "04"]


def test_the_first_loss_is_told(tmp_path, opened, monkeypatch, caplog):
    monkeypatch.setattr("jupyterhub_metrics.hub.outbox.MEMORY_LIMIT_EVENTS", 1)
    box = opened(tmp_path / "missing" / "outbox.sqlite")
    for seconds in range(3):
        box.append([event("requested", seconds)])
    assert len([r for r in caplog.records if "are lost so far" in r.getMessage()]) == 1


def test_a_checkpoint_is_due_after_many_writes_or_after_a_while(tmp_path, opened):
    now = [1000.0]
    box = opened(tmp_path / "outbox.sqlite", clock=lambda: now[0])
    assert not box.checkpoint_is_due()
    box.append([event("requested")])
    assert not box.checkpoint_is_due()
    now[0] += 60
    assert box.checkpoint_is_due()
    box.checkpoint()
    assert not box.checkpoint_is_due()
    for seconds in range(200):
        box.append([event("requested", seconds % 60)])
    assert box.checkpoint_is_due()
