"""Tells whoever runs the service whether it lives and whether it can do its work."""

from __future__ import annotations

from ..database import RETRY_AFTER_SECONDS
from .base import JSONHandler


class LiveHandler(JSONHandler):
    """``GET health/live``: 200 as long as the process answers at all."""

    def get(self) -> None:
        self.answer(200, {"live": True})


class ReadyHandler(JSONHandler):
    """``GET health/ready``: 200 once events can be stored, otherwise 503.

    The reason names the database's host and user, so only bearers of the metrics token get it.
    """

    def get(self) -> None:
        reason = self.wiring.database.reason
        if reason is None:
            self.answer(200, {"ready": True})
        else:
            self.set_header("Retry-After", str(RETRY_AFTER_SECONDS))
            told = {"reason": reason} if self.from_operator() else {}
            self.answer(503, {"ready": False, **told})
