"""A Hub in the test's own process, as pytest-jupyterhub gives it to those who write spawners."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jupyterhub.spawner import Spawner
from traitlets.config import Config

from jupyterhub_metrics.hub import setup
from jupyterhub_metrics.hub.spawner import RECORDER_SETTING, RecordingSpawner

# JupyterHub's own mock leaves a log handler and a database session to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:The `version` property of an event schema",
)


class NoServer(Spawner):
    """Says that it runs, and starts nothing."""

    async def start(self) -> tuple[str, int]:
        return "127.0.0.1", 9

    async def poll(self) -> int | None:
        return None

    async def stop(self, now: bool = False) -> None:
        """Nothing is there to stop."""


async def test_a_hub_within_a_test_is_recorded(hub_app, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    c = Config()
    c.JupyterHub.spawner_class = NoServer
    c.ConfigurableHTTPProxy.command = [
        str(Path(sys.executable).with_name("configurable-http-proxy"))
    ]
    c.Spawner.http_timeout = 1
    setup(c, hub_name="mock", data_dir=tmp_path / "metrics", service_url="http://127.0.0.1:9")
    app = await hub_app(config=c)
    user = app.users["admin"]
    assert isinstance(user.spawners[""], RecordingSpawner)
    with pytest.raises(TimeoutError):
        await user.spawn()
    outbox = app.tornado_settings[RECORDER_SETTING].outbox
    requested, failed = (json.loads(item.body) for item in outbox.waiting(10))
    assert (requested["kind"], failed["kind"], failed["reason"]) == (
        "requested",
        "failed",
        "timeout",
    )
    assert requested["session_id"] == failed["session_id"]
    assert requested["facts"]["spawner_class"].endswith("NoServer")
    assert outbox.notes() == []
