"""A real Hub with auth state: the named fields reach ``users``, its tokens reach nothing."""

from __future__ import annotations

import asyncio
import json

from hub_client import Visitor
from hub_database import database_of, hub_environment, settled_sessions
from hub_process import HubProcess
from observer import Observer

CONFIG = """
from jupyterhub.auth import DummyAuthenticator
from jupyterhub.utils import maybe_future

class Campus(DummyAuthenticator):
    async def authenticate(self, handler, data):
        if await maybe_future(super().authenticate(handler, data)) is None:
            return None
        return {{"name": data["username"], "auth_state": {state}}}

c.JupyterHub.authenticator_class = Campus
c.Campus.password = c.DummyAuthenticator.password
c.Authenticator.enable_auth_state = True
c.CryptKeeper.keys = ["{key}"]

def own_hook(spawner, auth_state):
    note_hook("auth_state", spawner)

c.Spawner.auth_state_hook = own_hook
c.MetricsRecorder.auth_state_facts = {{
    "email": "user.mail", "full_name": "user.name", "job_title": "user.access_token",
    "department": "refresh",
}}
"""
TOKEN = "gho_16C7e42F292c6912E7710c838347Ae178B4a"
STATE = {
    "refresh": TOKEN,
    "user": {"mail": "ada@uni.example", "name": "Ada Lovelace", "access_token": TOKEN},
}


async def test_the_named_fields_reach_users_and_tokens_stay() -> None:
    before = CONFIG.format(state=repr(STATE), key="ab" * 32)
    hub = HubProcess(before=before, environment=hub_environment())
    observer = Observer(hub)
    try:
        await hub.start()
        await observer.add_user("ada")
        await asyncio.to_thread(Visitor(hub.url).log_in, "ada", hub.password)
        await observer.start_ready("ada", by="ada")
        await settled_sessions(hub, {"running": 1})
        async with database_of(hub) as connection:
            user = dict(await connection.fetchrow("SELECT * FROM users WHERE hub = $1", hub.name))
            told = await connection.fetch("SELECT facts FROM events WHERE hub = $1", hub.name)
        assert user["email"] == "ada@uni.example"
        assert user["full_name"] == "Ada Lovelace"
        assert user["department"] is user["job_title"] is None
        assert not any(TOKEN in row["facts"] for row in told)
        log = hub.log.read_text()
        assert TOKEN not in log
        assert "auth_state_facts['job_title']: found the field 'user.access_token'" in log
        hooks = (hub.folder / "hooks.jsonl").read_text().splitlines()
        names = [json.loads(line)[0] for line in hooks]
        assert names == ["auth_state", "pre_spawn"], "the deployment's own hooks still run"
    finally:
        await observer.close()
        await hub.close()
