"""A Hub that knows whose a token is, and nothing else: for pages and the API without a real Hub.

Used where a real one would only cost time: speed, privacy, several Hubs.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from ports import free_port
from tornado.web import Application, RequestHandler

ACCESS = "access:services!service=jupyterhub-metrics"


class Logins:
    """``models`` are the Hub's models of users by their tokens."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.port = free_port()
        self.asked = 0

    @property
    def environment(self) -> dict[str, str]:
        """What the Hub would tell the service."""
        return {
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{self.port}/hub/api",
            "JUPYTERHUB_API_TOKEN": "the-services-token",
        }

    def log_in(self, name: str, *scopes: str, admin: bool = False) -> dict[str, str]:
        """Headers of a request by this user."""
        token = f"token-of-{name}-{len(self.models)}"
        model = {"kind": "user", "name": name, "admin": admin, "groups": []}
        self.models[token] = {**model, "scopes": [ACCESS, *scopes], "session_id": None}
        return {"Authorization": f"Bearer {token}"}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        logins = self

        class Whoami(RequestHandler):
            def get(self) -> None:
                logins.asked += 1
                token = self.request.headers["Authorization"].partition(" ")[2]
                model: Mapping[str, Any] | None = logins.models.get(token)
                if model is None:
                    self.send_error(403)
                else:
                    self.finish(json.dumps(model))

        server = Application([("/hub/api/user", Whoami)], log_function=lambda _: None).listen(
            self.port, "127.0.0.1"
        )
        try:
            yield
        finally:
            server.stop()
            await server.close_all_connections()
