"""Requests that never became a session, and stops that were no end, on a real Hub."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hub_client import Visitor
from hub_database import hub_environment, rows_of, sessions_of
from hub_process import POLL_SECONDS, HubProcess, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEFORE = """
from jupyterhub.auth import DummyAuthenticator
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.spawner import SimpleLocalProcessSpawner

# JupyterHub 6.1 reads this when a login by cookie has expired, and sets it for tokens only.
BaseHandler._token_authenticated = False

class Moody(DummyAuthenticator):
    async def refresh_user(self, user, handler=None):
        return user.name != "expired"

    async def pre_spawn_start(self, user, spawner):
        if user.name == "unlucky":
            raise RuntimeError("the licence server says no")

class Stubborn(SimpleLocalProcessSpawner):
    async def stop(self, now=False):
        if self.user.name == "stubborn":
            raise OSError("the machine does not answer; password=hidden")
        return await super().stop(now)

c.JupyterHub.authenticator_class = Moody
Moody.password = c.DummyAuthenticator.password
c.Authenticator.refresh_pre_spawn = True
c.JupyterHub.concurrent_spawn_limit = 1
c.JupyterHub.active_server_limit = 4
c.JupyterHub.spawner_class = Stubborn
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[HubProcess]:
    hub = HubProcess(before=BEFORE, environment=hub_environment())
    try:
        await hub.start()
        yield hub
    finally:
        await hub.close()


async def start(hub: HubProcess, name: str, **options: Any) -> int:
    token = await hub.client.add_user(name)
    path = f"/users/{name}/server"
    return (await hub.client.request("POST", path, options or None, token=token)).status


async def rejection_of(hub: HubProcess, name: str) -> dict[str, Any]:
    """The one event that tells of the user; it must belong to no session."""
    found: list[dict[str, Any]] = []

    async def stored() -> bool:
        found[:] = [row for row in await rows_of(hub, "events") if row["username"] == name]
        return bool(found)

    await until(stored, f"an event of {name} is stored")
    assert not [row for row in await sessions_of(hub) if row["username"] == name]
    (row,) = found
    assert (row["kind"], row["session_id"]) == ("rejected", None)
    return row


async def ready(hub: HubProcess, name: str) -> None:
    async def answers() -> bool:
        model = await hub.client.server(name, "")
        return bool(model and model["ready"])

    await until(answers, f"the server of {name} is ready")


async def test_a_throttled_request_is_counted_and_makes_no_session(hub: HubProcess) -> None:
    assert await start(hub, "slowpoke", mode="silent") == 202
    assert await start(hub, "throttled") == 429
    row = await rejection_of(hub, "throttled")
    assert (row["reason"], row["actor"]) == ("throttled", "user:throttled")
    assert (await hub.client.request("DELETE", "/users/slowpoke/server")).status in (202, 204)

    async def over() -> bool:
        return [row["state"] for row in await sessions_of(hub)] == ["failed"]

    await until(over, "the cancelled start is stored")


async def test_a_login_that_cannot_be_refreshed_is_an_expired_one(hub: HubProcess) -> None:
    visitor = Visitor(hub.url)
    await asyncio.to_thread(visitor.log_in, "expired", hub.password)
    form = urllib.parse.urlencode({"_xsrf": visitor.cookie("_xsrf")}).encode()
    await asyncio.to_thread(visitor.open, f"{hub.url}/hub/spawn/expired", data=form)
    assert (await rejection_of(hub, "expired"))["reason"] == "auth_expired"


async def test_an_authenticator_that_refuses_before_the_start_makes_no_session(
    hub: HubProcess,
) -> None:
    await start(hub, "unlucky")
    row = await rejection_of(hub, "unlucky")
    assert row["reason"] == "pre_spawn_failed"


async def test_a_stop_that_raised_is_no_end_until_the_process_is_gone(hub: HubProcess) -> None:
    assert await start(hub, "stubborn") in (201, 202)
    await ready(hub, "stubborn")
    await hub.client.request("DELETE", "/users/stubborn/server")

    async def is_told() -> bool:
        return any(row["kind"] == "stop_failed" for row in await rows_of(hub, "events"))

    await until(is_told, "the failed stop is stored")
    (session,) = [row for row in await sessions_of(hub) if row["username"] == "stubborn"]
    assert (session["state"], session["ended_at"]) == ("running", None)
    events = [row for row in await rows_of(hub, "events") if row["username"] == "stubborn"]
    assert {row["kind"] for row in events} == {"requested", "ready", "stop_failed"}
    (failed,) = [row for row in events if row["kind"] == "stop_failed"]
    assert json.loads(failed["facts"])["error"] == "OSError"
    assert failed["actor"] == "service:observer"
    assert "hidden" not in repr(events)

    # the Hub has forgotten it, and its process lives on
    model = await hub.client.server("stubborn", "")
    assert model is None
    [diary] = [
        diary
        for diary in (json.loads(path.read_text()) for path in hub.servers.glob("*.json"))
        if diary["username"] == "stubborn"
    ]
    await asyncio.sleep(POLL_SECONDS + 1)
    os.kill(diary["pid"], signal.SIGKILL)
    killed_at = time.time()
    found: list[dict[str, Any]] = []

    async def ended() -> bool:
        found[:] = [row for row in await sessions_of(hub) if row["username"] == "stubborn"]
        return found[0]["state"] == "ended"

    await until(ended, "its true end is stored")
    after, before = found[0]["ended_after"].timestamp(), found[0]["ended_before"].timestamp()
    assert after <= killed_at <= before
    assert before - after <= POLL_SECONDS + 1
    told = found[0]["end_reason"], found[0]["ended_by"], found[0]["end_source"]
    assert told == ("stopped_by_service", "service:observer", "hub_poll")


async def test_a_full_hub_rejects_by_its_limit_of_servers(hub: HubProcess) -> None:
    """The limit counts what the Hub believes to run, so it comes last."""
    for number in range(4):
        assert await start(hub, f"guest{number}") in (201, 202)
        await ready(hub, f"guest{number}")
    assert await start(hub, "latecomer") == 429
    assert (await rejection_of(hub, "latecomer"))["reason"] == "server_limit"


async def test_rejections_are_counted_where_prometheus_asks(hub: HubProcess) -> None:
    token = (hub.data_dir / "secrets" / "metrics_token").read_text().strip()
    text = (await hub.client.get(f"{hub.service_url}/metrics", token=token)).text
    assert f'jupyterhub_metrics_recorder_lost_events{{hub="{hub.name}"}} 0.0' in text
    for reason in ("throttled", "auth_expired", "pre_spawn_failed", "server_limit"):
        (line,) = [
            line
            for line in text.splitlines()
            if "rejected" in line and f'reason="{reason}"' in line and not line.startswith("#")
        ]
        assert float(line.rsplit(" ", 1)[1]) == 1.0, line
