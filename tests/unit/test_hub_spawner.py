"""The recording subclass: the original's methods run, whatever becomes of the recording."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from jupyterhub.spawner import Spawner

from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.hub.rejection import Request
from jupyterhub_metrics.hub.spawner import RECORDER_SETTING, recording


class Plain(Spawner):
    """Does nothing and notes that it was asked to."""

    def asked(self, what: str):
        self.user.asked.append(what)

    async def start(self):
        self.asked("start")

    async def stop(self, now=False):
        self.asked(f"stop now={now}")
        if self.user.name == "stubborn":
            raise OSError("no answer")

    async def poll(self):
        self.asked("poll")

    def run_pre_spawn_hook(self):
        self.asked("pre_spawn")

    def run_post_stop_hook(self):
        self.asked("post_stop")

    def stop_polling(self):
        self.asked("stop_polling")

    def start_polling(self):
        self.asked("start_polling")


class Broken:
    """Stands for a recorder within which everything fails."""

    def __getattr__(self, name):
        raise RuntimeError("broken")


def make(recorder, name="ada"):
    settings = {} if recorder is None else {RECORDER_SETTING: recorder}
    user = SimpleNamespace(name=name, groups=[], settings=settings, asked=[])
    started = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
    row = SimpleNamespace(id=1, name="", server=None, started=started, oauth_client=None)
    return recording(Plain)(user=user, orm_spawner=row, hub=None)


@pytest.fixture
def recorder(tmp_path):
    made = MetricsRecorder(hub_name="campus", data_dir=str(tmp_path), log=logging.getLogger("r"))
    made.open()
    outbox = made.outbox
    yield made
    outbox.close()


async def live(spawner):
    spawner.run_pre_spawn_hook()
    spawner.start_polling()
    spawner.add_poll_callback(lambda: spawner.asked("callback"))
    # what was begun when it was ready
    await asyncio.sleep(0)
    await spawner.poll()
    for callback in spawner._callbacks:
        await callback()
    spawner.stop_polling()
    await spawner.stop(now=True)
    spawner.run_post_stop_hook()
    return spawner.user.asked


ALL = [
    "pre_spawn",
    "start_polling",
    "poll",
    "callback",
    "stop_polling",
    "stop now=True",
    "post_stop",
]


RECORDED = [*ALL[: ALL.index("poll")], "poll", *ALL[ALL.index("poll") :]]


async def test_every_method_of_the_original_runs_once_and_it_is_polled_when_ready(recorder):
    assert await live(make(recorder)) == RECORDED
    assert recorder.faults == 0
    assert len(recorder.outbox.waiting(10)) == 3


@pytest.mark.parametrize(("statuses", "again"), [([-9], 1), ([-9, None], 0), ([None], 0)])
async def test_polling_goes_on_when_a_server_was_found_dead_before_it_was_ready(
    recorder, statuses, again
):
    spawner = make(recorder)
    spawner.run_pre_spawn_hook()
    spawner.start_polling()
    for status in statuses:
        recorder.polled(spawner, status, None)
    before = spawner.user.asked.count("start_polling")
    spawner.add_poll_callback(lambda: None)
    assert spawner.user.asked.count("start_polling") - before == again


async def test_without_a_recorder_the_subclass_is_the_original():
    assert await live(make(None)) == ALL


async def test_a_recorder_that_fails_everywhere_harms_no_spawn(recorder, caplog):
    recorder._runs = Broken()
    assert await live(make(recorder)) == RECORDED
    assert recorder.faults >= 6
    assert all(r.exc_info for r in caplog.records if r.levelno == logging.ERROR)


async def test_a_full_recorder_of_faults_does_not_hide_the_originals_error(recorder):
    recorder._runs = Broken()
    with pytest.raises(OSError, match="no answer"):
        await make(recorder, "stubborn").stop()


def test_a_recorder_that_fails_lets_the_hub_start_and_refuse(recorder):
    recorder.outbox = recorder._runs = Broken()
    recorder.settle_unknown(list)
    recorder.rejected(Request("ada", ""), OSError())
    assert recorder.faults == 2


async def test_a_server_that_is_ready_is_known_to_live_then(recorder):
    spawner = make(recorder)
    spawner.run_pre_spawn_hook()
    spawner.start_polling()
    before = recorder._wall()
    spawner.add_poll_callback(lambda: None)
    await asyncio.sleep(0.01)
    [note] = recorder.outbox.notes()
    assert recorder._runs.of(note).alive_at >= before


@pytest.mark.parametrize(
    ("address", "own", "told"),
    [
        ("http://proxy/s", {}, "http://proxy/s"),
        ("http://proxy/s", {"JUPYTERHUB_METRICS_SAMPLES_URL": "http://own"}, "http://own"),
        ("", {}, None),
    ],
)
def test_a_server_is_told_where_to_post_unless_its_environment_says_so(address, own, told):
    class Environment(Plain):
        def get_env(self):
            return dict(own)

    recorder = MetricsRecorder()
    recorder.samples_address = address
    user = SimpleNamespace(name="ada", groups=[], settings={RECORDER_SETTING: recorder}, asked=[])
    row = SimpleNamespace(id=1, name="", server=None, started=None, oauth_client=None)
    spawner = recording(Environment)(user=user, orm_spawner=row, hub=None)
    assert spawner.get_env().get("JUPYTERHUB_METRICS_SAMPLES_URL") == told
