"""Decides who may scrape: bearers of the metrics token, or of a Hub's token with a scope.

Called by ``handlers.metrics``. Never open unless a loopback address was set for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from ..errors import MetricsError, SourceUnavailable
from .credentials import bearer, same
from .hub_tokens import HubTokens
from .metrics import Metrics

log = logging.getLogger(__name__)

LOG_SECONDS: Final = 60.0
"""Refusals are logged once in so long, whoever knocks however often."""


class ScrapeRefused(MetricsError):
    """The scrape is answered with this status and text."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ScrapeAccess:
    """One service's rule."""

    def __init__(
        self,
        metrics_token: str | None,
        hub_tokens: HubTokens | None,
        metrics: Metrics,
        *,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._metrics_token = metrics_token
        self._hub_tokens = hub_tokens
        self._metrics = metrics
        self._seconds = seconds
        self._logged_at: float | None = None
        self._unlogged = 0

    def is_operator(self, authorization: str) -> bool:
        """Whether the header carries the metrics token, which only operators have."""
        token = bearer(authorization)
        return (
            self._metrics_token is not None
            and token is not None
            and same(token, self._metrics_token)
        )

    async def check(self, authorization: str) -> None:
        """Returns if the bearer may scrape; raises ScrapeRefused otherwise."""
        if self.is_operator(authorization):
            return
        try:
            await self._check_hub_token(bearer(authorization))
        except ScrapeRefused as refused:
            self._note(refused)
            raise

    def close(self) -> None:
        if self._hub_tokens is not None:
            self._hub_tokens.close()

    async def _check_hub_token(self, token: str | None) -> None:
        if token is None:
            raise ScrapeRefused(
                401,
                "no_token",
                "found no token; expected one as a bearer token; see docs/metrics.md",
            )
        if self._hub_tokens is None:
            raise ScrapeRefused(401, "bad_token", "found a wrong token; expected the metrics token")
        try:
            holds = await self._hub_tokens.holds_scope(token)
        except SourceUnavailable as error:
            raise ScrapeRefused(503, "hub_unavailable", str(error)) from error
        if holds is None:
            raise ScrapeRefused(
                401, "bad_token", "found a wrong token; expected the metrics token or the Hub's"
            )
        if not holds:
            raise ScrapeRefused(
                403,
                "no_scope",
                "found a token of the Hub without the scope of Scraping.hub_scope; expected it; "
                "grant it to the token's owner in a role",
            )

    def _note(self, refused: ScrapeRefused) -> None:
        self._metrics.scrapes_refused.labels(refused.reason).inc()
        now = self._seconds()
        if self._logged_at is not None and now - self._logged_at < LOG_SECONDS:
            self._unlogged += 1
            return
        log.warning(
            "A scrape was refused (%d more since the last line): %s", self._unlogged, refused
        )
        self._logged_at, self._unlogged = now, 0
