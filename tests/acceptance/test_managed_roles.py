"""Where the authenticator manages roles, it assigns who may read what."""

from __future__ import annotations

import asyncio

from hub_client import Visitor
from hub_process import HubProcess

AUTHENTICATOR = """
from jupyterhub.auth import DummyAuthenticator

class Managing(DummyAuthenticator):
    manage_roles = True

    async def authenticate(self, handler, data):
        name = await super().authenticate(handler, data)
        roles = [{"name": "user"}]
        if name == "olga":
            roles.append({
                "name": "owner-of-team",
                "scopes": ["custom:jupyterhub-metrics:read!group=team"],
            })
        if name == "otto":
            roles.append({"name": "reads-all", "scopes": ["custom:jupyterhub-metrics:read"]})
        return name and {"name": name, "roles": roles}

c.JupyterHub.authenticator_class = Managing
c.Managing.password = c.DummyAuthenticator.password
c.Managing.manage_roles = True
c.Managing.allow_all = True
"""


async def test_owners_and_operators_are_those_whom_the_authenticator_names() -> None:
    hub = HubProcess(before=AUTHENTICATOR)

    def seen_by(username: str) -> dict[str, int]:
        visitor = Visitor(hub.url)
        visitor.log_in(username, hub.password)
        paths = ("", "groups/team", "groups/other", "users")
        return {path: visitor.open(f"{hub.service_url}/{path}").status for path in paths}

    try:
        await hub.start()
        found = {name: await asyncio.to_thread(seen_by, name) for name in ("olga", "otto", "una")}
    finally:
        await hub.close()
    assert found == {
        "olga": {"": 200, "groups/team": 200, "groups/other": 403, "users": 403},
        "otto": {"": 200, "groups/team": 200, "groups/other": 200, "users": 200},
        "una": {"": 200, "groups/team": 403, "groups/other": 403, "users": 403},
    }
