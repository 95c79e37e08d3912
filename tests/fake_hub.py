"""A small Hub's REST API that pages as JupyterHub does, and that can be made to misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ports import free_port
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

TOKEN = "the-services-token"


class FakeHub:
    """``users`` and ``groups`` are what it lists; ``fault`` answers in its place if it says so.

    ``fault`` is given the handler and the path and returns True if it has answered.
    """

    def __init__(self, *, page_limit: int = 200) -> None:
        self.users: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.fault: Callable[[RequestHandler, str], bool] = lambda handler, path: False
        self.asked: list[str] = []
        self.page_limit = page_limit
        self.port = free_port()
        self._server: HTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hub/api"

    def start(self) -> None:
        hub = self

        class List(RequestHandler):
            def get(self, path: str) -> None:
                hub.asked.append(self.request.uri or "")
                if hub.fault(self, path):
                    return
                assert self.request.headers["Authorization"] == f"Bearer {TOKEN}"
                assert "pagination" in self.request.headers["Accept"]
                items = hub.users if path == "users" else hub.groups
                offset = int(self.get_argument("offset", "0"))
                limit = min(int(self.get_argument("limit", "50")), hub.page_limit)
                page = {"offset": offset, "limit": limit, "total": len(items), "next": None}
                self.write({"items": items[offset : offset + limit], "_pagination": page})

        application = Application([("/hub/api/(users|groups)", List)], log_function=lambda _: None)
        self._server = application.listen(self.port, "127.0.0.1")

    async def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None

    def run(self, username: str, started: str, server_name: str = "", **values: Any) -> None:
        """One more user with one running server."""
        model = {
            "name": server_name,
            "started": started,
            "last_activity": started,
            "ready": True,
            "pending": None,
            **values,
        }
        self.users.append({"name": username, "kind": "user", "servers": {server_name: model}})


def answers(status: int, body: str | bytes, content_type: str = "application/json") -> Any:
    """A fault: always this answer."""

    def fault(handler: RequestHandler, path: str) -> bool:
        handler.set_status(status)
        handler.set_header("Content-Type", content_type)
        handler.finish(body)
        return True

    return fault


def refuses(path: str) -> Any:
    """A fault: what JupyterHub says to a token without the scope for this list."""
    message = f"Action is not authorized with current scopes; requires any of [list:{path}]"
    refused = answers(403, json.dumps({"status": 403, "message": message}))
    return lambda handler, asked: asked == path and refused(handler, asked)


def half_a_page(handler: RequestHandler, path: str) -> bool:
    """A fault: the connection ends in the middle of an answer."""
    body = b'{"items": [{"name": "ada", "servers": {'
    stream = handler.detach()
    stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    stream.write(b"Content-Length: 5000\r\n\r\n" + body)
    stream.close()
    return True
