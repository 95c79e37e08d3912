"""Which server a token is of, by the Hub's word, and how often it may post.

Called by ``handlers.samples``. A server's own token holds ``access:servers!server=USER/SERVER``.
Whom a server was shared with may hold that scope too; therefore the token must be its user's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from ..errors import SourceUnavailable
from .batch import BatchRefused
from .credentials import bearer
from .hub_tokens import HubTokens

SCOPE: Final = "access:servers!server="

POSTS_IN_A_ROW: Final = 10
POSTS_PER_SECOND: Final = 0.5
"""Of one server: as many at once, and then one every two seconds."""

ASKED_IN_A_ROW: Final = 50
ASKED_PER_SECOND: Final = 20.0
"""Tokens that are not known yet, all together: each is a question to the Hub."""

MAX_SERVERS: Final = 20_000


@dataclass(frozen=True)
class Server:
    """A user's server; the default one has an empty name."""

    username: str
    server_name: str


class Limits:
    """So many in a row, and then so many a second, for each key by itself."""

    def __init__(self, in_a_row: float, per_second: float, seconds: Callable[[], float]) -> None:
        self._most = in_a_row
        self._per_second = per_second
        self._seconds = seconds
        self._left: dict[object, tuple[float, float]] = {}

    def wait_seconds(self, key: object) -> float:
        """0 if one more may be now, which is counted; else after how long one may."""
        now = self._seconds()
        left, at = self._left.pop(key, (self._most, now))
        left = min(left + (now - at) * self._per_second, self._most)
        waits = max((1 - left) / self._per_second, 0.0)
        if len(self._left) >= MAX_SERVERS:
            # whoever has not come for longest has the most left
            self._left.pop(next(iter(self._left)))
        self._left[key] = (left if waits else left - 1, now)
        return waits


class ServerTokens:
    """One service's rule. ``hub_tokens`` is None where the Hub cannot be asked."""

    def __init__(
        self, hub_tokens: HubTokens | None, *, seconds: Callable[[], float] = monotonic
    ) -> None:
        self._hub_tokens = hub_tokens
        self._posts = Limits(POSTS_IN_A_ROW, POSTS_PER_SECOND, seconds)
        self._asked = Limits(ASKED_IN_A_ROW, ASKED_PER_SECOND, seconds)

    async def server_of(self, authorization: str) -> Server:
        """The server whose own token the header carries, which may post now.

        Raises BatchRefused with 401, 403, 429 or 503.
        """
        token = bearer(authorization)
        if token is None:
            raise _refused(
                401,
                "bad_token",
                "found no token; expected that of a user's server",
            )
        if self._hub_tokens is None:
            raise _refused(
                503, "hub_unavailable", "this service cannot ask the Hub whose token it is"
            )
        if not self._hub_tokens.knows(token):
            self._require(self._asked, "tokens")
        try:
            holder = await self._hub_tokens.bearer(token)
        except SourceUnavailable as error:
            raise _refused(503, "hub_unavailable", str(error)) from error
        if holder is None:
            raise _refused(401, "bad_token", "found a wrong token; expected that of a server")
        begins = f"{SCOPE}{holder.name}/"
        names = [scope[len(begins) :] for scope in holder.scopes if scope.startswith(begins)]
        if holder.kind != "user" or len(names) != 1:
            raise _refused(
                403,
                "no_server",
                f"found a token that is no server's own; expected the scope {SCOPE}USER/SERVER "
                "of its user; post from the server, with its JUPYTERHUB_API_TOKEN",
            )
        server = Server(holder.name, names[0])
        self._require(self._posts, server)
        return server

    def close(self) -> None:
        if self._hub_tokens is not None:
            self._hub_tokens.close()

    def _require(self, limits: Limits, key: object) -> None:
        waits = limits.wait_seconds(key)
        if waits:
            raise TooMany(waits)


class TooMany(BatchRefused):
    """The server posts too often; ``seconds`` is after how long it may again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            429,
            "too_many",
            "request",
            "found too many posts; expected one every 2 s at most; send more samples in each",
        )
        self.seconds = seconds


def _refused(status: int, reason: str, message: str) -> BatchRefused:
    return BatchRefused(status, reason, "Authorization", message)
