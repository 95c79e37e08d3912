"""A Hub within a test's own process, as pytest-jupyterhub gives it to those who write spawners.

In a pytest of its own: JupyterHub's mock leaves its proxy, its log handler and its database to
the garbage collector, which the warnings of this suite would not forgive.
"""

from __future__ import annotations

import pytest

TEST = '''
import contextlib
import json
import socket
import sys
from pathlib import Path

import pytest
from jupyterhub.spawner import Spawner
from traitlets.config import Config

from jupyterhub_metrics.hub import setup
from jupyterhub_metrics.hub.spawner import RECORDER_SETTING, RecordingSpawner


class NoServer(Spawner):
    async def start(self):
        return "127.0.0.1", 9

    async def poll(self):
        return None

    async def stop(self, now=False):
        pass


def free_ports(count):
    """Asked for together: one by one the same might come twice, as it does to the mock."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


async def test_recorded(hub_app, tmp_path):
    c = Config()
    public, api, hub = free_ports(3)
    c.JupyterHub.bind_url = f"http://127.0.0.1:{public}/"
    c.JupyterHub.hub_port = hub
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{api}"
    c.JupyterHub.spawner_class = NoServer
    proxy = Path(sys.executable).with_name("configurable-http-proxy")
    c.ConfigurableHTTPProxy.command = [str(proxy)]
    c.Spawner.http_timeout = 1
    setup(c, hub_name="mock", data_dir=tmp_path / "metrics", service_url="http://127.0.0.1:9")
    app = await hub_app(config=c)
    user = app.users["admin"]
    assert isinstance(user.spawners[""], RecordingSpawner)
    with pytest.raises(Exception) as caught:
        await user.spawn()
    assert caught.value.reason == "timeout"
    outbox = app.tornado_settings[RECORDER_SETTING].outbox
    requested, failed = (json.loads(item.body) for item in outbox.waiting(10))
    assert (requested["kind"], failed["kind"]) == ("requested", "failed")
    assert failed["reason"] == "timeout"
    assert requested["session_id"] == failed["session_id"]
    assert requested["facts"]["spawner_class"].endswith("NoServer")
    assert outbox.notes() == []
'''


def test_a_hub_within_a_test_is_recorded(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess("-W", "ignore", "-o", "asyncio_mode=auto")
    result.assert_outcomes(passed=1)
