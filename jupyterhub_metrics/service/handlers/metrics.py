"""Answers Prometheus."""

from __future__ import annotations

from .base import JSONHandler


class MetricsHandler(JSONHandler):
    """``GET metrics``, for bearers of the metrics token."""

    def get(self) -> None:
        if not self.from_operator():
            error = "found no metrics token; expected it as a bearer token"
            self.answer(403, {"error": error, "field": "Authorization"})
            return
        headers = self.request.headers
        body, described = self.wiring.metrics.render(
            headers.get("Accept", ""), headers.get("Accept-Encoding", "")
        )
        for name, value in described.items():
            self.set_header(name, value)
        self.finish(body)
