"""Asks the Hub whose token it is and what it may do, and remembers the answer for a while.

Called by :mod:`.scrape_access` and :mod:`.server_tokens`. ``HubAuth`` of JupyterHub would do, but
it logs each token that the Hub does not know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from tornado.httpclient import HTTPRequest, HTTPResponse

from ..errors import SourceUnavailable
from ..sources.web import NoAnswer, WebClient

REMEMBERED_SECONDS: Final = 60.0
"""How long a token that was revoked may still be taken."""

MAX_REMEMBERED: Final = 1000
TIMEOUT_SECONDS: Final = 5.0
MAX_TOKEN_CHARACTERS: Final = 1024


@dataclass(frozen=True)
class Bearer:
    """Who holds a token, as the Hub has it: ``kind`` is user or service."""

    kind: str
    name: str
    scopes: frozenset[str]


class HubTokens:
    """The Hub behind its REST API at ``url``. ``close`` ends its connections."""

    def __init__(
        self, url: str, scope: str = "", *, seconds: Callable[[], float] = monotonic
    ) -> None:
        self._url = f"{url.rstrip('/')}/user"
        self._scope = scope
        self._seconds = seconds
        self._known: dict[str, tuple[float, Bearer | None]] = {}
        self._web = WebClient()

    async def holds_scope(self, token: str) -> bool | None:
        """Whether the token's bearer holds the scope; None for a token that the Hub does not know.

        Raises SourceUnavailable, as :meth:`bearer`.
        """
        found = await self.bearer(token)
        return None if found is None else self._scope in found.scopes

    def knows(self, token: str) -> bool:
        """Whether the Hub need not be asked."""
        return self._remembered(_digest(token)) is not None

    async def bearer(self, token: str) -> Bearer | None:
        """Who holds the token; None for one that the Hub does not know.

        An answer may be 60 seconds old. Raises SourceUnavailable if the Hub does not answer.
        """
        if len(token) > MAX_TOKEN_CHARACTERS or not (token.isascii() and token.isprintable()):
            return None
        key, now = _digest(token), self._seconds()
        remembered = self._remembered(key)
        if remembered is not None:
            return remembered[1]
        answer = self._judged(await self._ask(token))
        self._known.pop(key, None)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (now, answer)
        return answer

    def close(self) -> None:
        self._web.close()

    def _remembered(self, key: str) -> tuple[float, Bearer | None] | None:
        """When the Hub was asked and what it said; None if that is too long ago or never was."""
        known = self._known.get(key)
        fresh = known is not None and self._seconds() - known[0] < REMEMBERED_SECONDS
        return known if fresh else None

    async def _ask(self, token: str) -> HTTPResponse:
        request = HTTPRequest(self._url, headers={"Authorization": f"Bearer {token}"})
        try:
            return await self._web.fetch(request, timeout_seconds=TIMEOUT_SECONDS)
        except NoAnswer as error:
            raise self._silent(str(error)) from error

    def _judged(self, answer: HTTPResponse) -> Bearer | None:
        if answer.code in (401, 403):
            return None
        try:
            model = json.loads(answer.body or b"") if answer.code == 200 else None
        except ValueError:
            model = None
        scopes = model.get("scopes") if isinstance(model, dict) else None
        if not isinstance(model, dict) or not isinstance(scopes, list):
            raise self._silent(f"status {answer.code}")
        held = frozenset(scope for scope in scopes if isinstance(scope, str))
        return Bearer(str(model.get("kind")), str(model.get("name")), held)

    def _silent(self, found: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"the Hub does not say whose token it is: found {found} at {self._url}; expected its "
            "model of the user; check that it runs and JUPYTERHUB_API_URL"
        )


def _digest(token: str) -> str:
    """What stands for a token in memory."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
