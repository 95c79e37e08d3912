"""Answers Prometheus."""

from __future__ import annotations

from ..scrape_access import ScrapeRefused
from .base import JSONHandler


class OpenMetricsHandler(JSONHandler):
    """``GET metrics`` on the loopback address of ``Scraping.open_url``, for everyone there."""

    def compute_etag(self) -> None:
        """No answer is like the one before, and hashing it takes as long as sending it."""

    async def get(self) -> None:
        headers = self.request.headers
        body, described = self.wiring.metrics.render(
            headers.get("Accept", ""), headers.get("Accept-Encoding", "")
        )
        for name, value in described.items():
            self.set_header(name, value)
        self.finish(body)


class MetricsHandler(OpenMetricsHandler):
    """``GET metrics``, for those who may scrape."""

    async def get(self) -> None:
        try:
            await self.wiring.scrape_access.check(self.request.headers.get("Authorization", ""))
        except ScrapeRefused as refused:
            if refused.status == 401:
                self.set_header("WWW-Authenticate", "Bearer")
            self.answer(refused.status, {"error": str(refused), "field": "Authorization"})
            return
        await super().get()
