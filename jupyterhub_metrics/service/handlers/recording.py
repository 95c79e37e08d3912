"""Shows operators how well sessions are recorded, and people what the API can be asked."""

from __future__ import annotations

from datetime import timedelta

from ..api.openapi import document
from ..recording_page import recording_page, samples_of
from .page import VisitedPage

LOOKED_BACK = timedelta(days=7)


class RecordingHandler(VisitedPage):
    """``recording``: the recorder, the checks and what they found, for operators."""

    async def show(self, *names: str) -> None:
        viewer = self.viewer
        viewer.require_operator("recording")
        now = self.wiring.clock()
        # the page is wanted most while the database is away
        database = self.wiring.database
        seen = (
            []
            if database.reason
            else await self.store.reading.how_seen(viewer.hubs, now - LOOKED_BACK, now)
        )
        page = recording_page(
            samples_of(self.wiring.metrics.registry.collect()),
            seen,
            database_answers=database.reason is None,
        )
        self.render_page("recording.html", page=page, now=now)


class ApiPageHandler(VisitedPage):
    """``api``: the OpenAPI document as a page."""

    async def show(self, *names: str) -> None:
        self.render_page("api.html", document=document(self.wiring.prefix))
