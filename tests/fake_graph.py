"""A small Microsoft Graph with its login, that can be made to misbehave.

Written from the documentation (the addresses stand in ``sources/graph.py``), not from a tenant:
the token's request and errors, a list of users with ``$select``, ``$top`` and
``@odata.nextLink``, throttling with ``Retry-After``, and errors as ``{"error": {"code": ...}}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ports import free_port
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

TENANT = "campus.example"
CLIENT = "11111111-2222-3333-4444-555555555555"
SECRET = "the~secret&of=the application"
TOKEN = "eyJ0.a-token.of-graph"


class FakeGraph:
    """``users`` is the directory; ``fault`` answers in its place if it returns True."""

    def __init__(self, *, page_users: int = 2) -> None:
        self.users: list[dict[str, Any]] = []
        self.fault: Callable[[RequestHandler, str], bool] = lambda handler, path: False
        self.asked: list[str] = []
        self.page_users = page_users
        self.port = free_port()
        self._server: HTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return {
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_CLIENT_SECRET": SECRET,
        }

    def add(self, principal: str, **properties: Any) -> None:
        blank = {"mail": None, "displayName": None, "department": None, "jobTitle": None}
        self.users.append({"userPrincipalName": principal, **blank, **properties})

    def start(self) -> None:
        graph = self

        class Token(RequestHandler):
            def post(self, tenant: str) -> None:
                graph.asked.append("token")
                if graph.fault(self, "token"):
                    return
                assert tenant == TENANT
                assert self.get_body_argument("grant_type") == "client_credentials"
                assert self.get_body_argument("scope") == f"{graph.url}/.default"
                if (
                    self.get_body_argument("client_id") != CLIENT
                    or self.get_body_argument("client_secret", strip=False) != SECRET
                ):
                    self.set_status(401)
                    self.write(
                        {
                            "error": "invalid_client",
                            "error_description": "AADSTS7000215: Invalid client secret provided.",
                            "error_codes": [7000215],
                        }
                    )
                    return
                self.write({"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN})

        class Users(RequestHandler):
            def get(self) -> None:
                graph.asked.append(self.request.uri or "")
                if graph.fault(self, "users"):
                    return
                assert self.request.headers["Authorization"] == f"Bearer {TOKEN}"
                selected = self.get_query_argument("$select").split(",")
                offset = int(self.get_query_argument("$skiptoken", "0"))
                until = offset + min(int(self.get_query_argument("$top")), graph.page_users)
                body: dict[str, Any] = {
                    "@odata.context": f"{graph.url}/v1.0/$metadata#users({','.join(selected)})",
                    "value": [
                        {name: user[name] for name in selected}
                        for user in graph.users[offset:until]
                    ],
                }
                if until < len(graph.users):
                    query = f"$select={','.join(selected)}&$top=999&$skiptoken={until}"
                    body["@odata.nextLink"] = f"{graph.url}/v1.0/users?{query}"
                self.write(body)

        application = Application(
            [("/([^/]+)/oauth2/v2.0/token", Token), ("/v1.0/users", Users)],
            log_function=lambda _: None,
        )
        self._server = application.listen(self.port, "127.0.0.1")

    async def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None


def refuses(status: int, code: str, *, times: int = 1000, **headers: str) -> Any:
    """A fault: Graph's own error for so many requests for users."""
    left = [times]

    def fault(handler: RequestHandler, path: str) -> bool:
        if path != "users" or not left[0]:
            return False
        left[0] -= 1
        handler.set_status(status)
        for name, value in headers.items():
            handler.set_header(name.replace("_", "-"), value)
        handler.finish({"error": {"code": code, "message": "as documented", "innerError": {}}})
        return True

    return fault


def answers(body: Any) -> Any:
    """A fault: always this in place of a list of users."""

    def fault(handler: RequestHandler, path: str) -> bool:
        if path == "users":
            handler.finish(body)
        return path == "users"

    return fault
