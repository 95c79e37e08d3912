"""Asks over HTTP. Called by what asks the Hub, Microsoft Graph and exporters."""

from __future__ import annotations

from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

from ..errors import MetricsError

_REASON_CHARACTERS = 200


class NoAnswer(MetricsError):
    """Nobody answered, or not to the end; its text says why, in one line."""


class WebClient:
    """Connections of its own, which the first request makes in the event loop that it runs in."""

    def __init__(self, **settings: Any) -> None:
        """``settings`` are those of Tornado's client."""
        self._settings = settings
        self._http: AsyncHTTPClient | None = None

    async def fetch(self, request: HTTPRequest, *, timeout_seconds: float) -> HTTPResponse:
        """The answer, whatever its status; raises NoAnswer if there is none in that time.

        Nobody is followed elsewhere: a token is for the address that it is sent to.
        """
        if self._http is None:
            self._http = AsyncHTTPClient(force_instance=True, **self._settings)
        request.connect_timeout = request.request_timeout = timeout_seconds
        request.follow_redirects = False
        try:
            return await self._http.fetch(request, raise_error=False)
        except (HTTPClientError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:_REASON_CHARACTERS]
            raise NoAnswer(reason or type(error).__name__) from error

    def close(self) -> None:
        """Ends the connections; a further request makes new ones."""
        if self._http is not None:
            self._http.close()
            self._http = None
