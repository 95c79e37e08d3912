"""Talks to a test Hub: its REST API with a token, and its pages like a person with cookies."""

from __future__ import annotations

import http.cookiejar
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest


@dataclass(frozen=True)
class Answer:
    """``status`` is 0 when nobody answered; the two times bracket the exchange (epoch seconds)."""

    status: int
    body: bytes
    asked_at: float
    answered_at: float

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class HubClient:
    """Requests with a bearer token; at most 64 at once."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token
        self._http: AsyncHTTPClient | None = None

    async def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        token: str | None = "",
        timeout_seconds: float = 20.0,
    ) -> Answer:
        """``url`` is a whole URL or a path of the Hub's REST API; ``token=None`` sends none."""
        if self._http is None:
            self._http = AsyncHTTPClient(force_instance=True, max_clients=64)
        if not url.startswith("http"):
            url = f"{self.url}/hub/api{url}"
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self._token}"
        if body is None:
            payload = b"" if method in ("POST", "PUT", "PATCH") else None
        else:
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        asked_at = time.time()
        try:
            response = await self._http.fetch(
                HTTPRequest(
                    url,
                    method=method,
                    headers=headers,
                    body=payload,
                    allow_nonstandard_methods=True,
                    follow_redirects=False,
                    request_timeout=timeout_seconds,
                    connect_timeout=timeout_seconds,
                ),
                raise_error=False,
            )
        except (OSError, HTTPClientError):
            return Answer(0, b"", asked_at, time.time())
        status = 0 if response.code == 599 else response.code
        return Answer(status, response.body or b"", asked_at, time.time())

    async def get(self, url: str, **options: Any) -> Answer:
        return await self.request("GET", url, **options)

    async def add_user(self, name: str) -> str:
        """Create a user; gives an API token of that user's own."""
        path = f"/users/{urllib.parse.quote(name, safe='')}"
        created = await self.request("POST", path)
        assert created.status in (201, 409), created.text
        minted = await self.request("POST", f"{path}/tokens", {"note": "test"})
        assert minted.status == 201, minted.text
        return str(minted.json()["token"])

    async def server(self, username: str, server_name: str) -> dict[str, Any] | None:
        """What the Hub says about a server; None when it says that there is none."""
        path = f"/users/{urllib.parse.quote(username, safe='')}?include_stopped_servers=0"
        answer = await self.get(path)
        assert answer.status == 200, answer.text
        model: dict[str, Any] | None = answer.json()["servers"].get(server_name)
        return model

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


class Visitor:
    """A person with a cookie jar. Blocking: call it in a thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._jar)
        )

    def open(self, url: str, *, data: bytes | None = None, **headers: str) -> Answer:
        """Follow ``url`` through every redirect, as a browser would; ``data`` makes it a POST."""
        request = urllib.request.Request(url, data=data, headers=headers)
        asked_at = time.time()
        try:
            with self._opener.open(request, timeout=20) as response:
                return Answer(response.status, response.read(), asked_at, time.time())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), asked_at, time.time())

    def log_in(self, username: str, password: str) -> None:
        """Fill in the Hub's own login form, XSRF field included."""
        self.open(f"{self.url}/hub/login")
        form = {"username": username, "password": password, "_xsrf": self.cookie("_xsrf")}
        answer = self.open(
            f"{self.url}/hub/login?next=%2Fhub%2Ftoken",
            data=urllib.parse.urlencode(form).encode(),
        )
        assert answer.status == 200, answer.text[:500]
        assert username in answer.text, "the login form did not log in"

    def cookie(self, name: str) -> str:
        """Value of the newest cookie of that name, for the Hub's own pages."""
        values = [c.value for c in self._jar if c.name == name and c.path in ("/hub/", "/")]
        return values[-1] or "" if values else ""
