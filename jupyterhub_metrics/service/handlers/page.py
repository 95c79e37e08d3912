"""What all pages for visitors share: login, arguments, refusals as pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from jupyterhub.services.auth import HubOAuthCallbackHandler
from tornado.web import authenticated

from ..access import Viewer
from ..api.asking import Question
from ..api.parameters import Parameter, read_arguments
from ..page_period import PERIOD_PARAMETERS, Period, period_of
from .base import JSONHandler, PageHandler
from .visiting import ANSWERED, VisitedHandler


class VisitedPage(VisitedHandler, PageHandler):
    """A page for who is logged in. Subclasses have ``parameters`` and ``show``."""

    parameters: tuple[Parameter, ...] = ()

    async def prepare(self) -> None:
        super().prepare()
        await self.identify()

    @authenticated
    async def get(self, *names: str) -> None:
        try:
            await self.show(*names)
        except ANSWERED as error:
            status, field, text = self.status_of(error)
            self.set_status(status)
            shown = f"{field}: {text}" if status == 400 else None
            self.refuse(status, shown)

    async def show(self, *names: str) -> None:
        """Answers with the page; ``names`` are parts of the path."""
        raise NotImplementedError

    async def question(self, further: Iterable[Parameter] = ()) -> tuple[Question, Period]:
        """What is asked and for which time. Raises BadRequest, DatabaseUnavailable."""
        parameters = (*PERIOD_PARAMETERS, *self.parameters, *further)
        given = self.given()
        # a form sends its empty fields too
        filled = {name: texts for name, texts in given.items() if texts != [""]}
        values = read_arguments(parameters, filled)
        now = self.wiring.clock()
        asked = {name: texts[0] for name, texts in filled.items()}
        period = period_of(values, asked, now)
        reading = self.store.reading
        await self.wiring.privacy.learn(reading)
        question = Question(
            self.viewer,
            {**values, "since": period.since, "until": period.until},
            reading,
            self.wiring.privacy,
            now,
        )
        return question, period

    def place(self, period: Period, page: str) -> list[Any] | None:
        """Where the table's page before ended. Raises BadRequest for a forged cursor."""
        cursor = period.given.get("cursor")
        if cursor is None:
            return None
        return self.wiring.cursors.read(self._bound(page), period.given, cursor)

    def cursor(self, period: Period, page: str, place: list[Any] | None) -> str | None:
        """What leads to the next page of the table."""
        if place is None:
            return None
        return self.wiring.cursors.write(self._bound(page), period.given, place)

    def _bound(self, page: str) -> str:
        return f"page {page}\0{self.visitor.get('name')}"

    def render_page(self, template: str, **values: Any) -> None:
        viewer: Viewer | None = self.viewer if self.current_user else None
        super().render_page(template, viewer=viewer, **values)


class LoginNotPossible(PageHandler):
    """In place of the pages where the service has no token to ask the Hub with."""

    def get(self, *_: Any) -> None:
        self.set_status(503)
        self.render_page(
            "error.html",
            status=503,
            text="This service cannot ask the Hub who you are: it has no API token.",
        )


class TokenNotKnown(JSONHandler):
    """In place of the API where the service has no token to ask the Hub with."""

    def get(self, *_: Any) -> None:
        text = "this service cannot ask the Hub who you are: it has no API token"
        self.answer(503, {"error": text, "field": "Authorization"})


class CallbackHandler(VisitedHandler, HubOAuthCallbackHandler, PageHandler):
    """Where the Hub sends a visitor back to after logging in."""

    async def prepare(self) -> None:
        super().prepare()
        await self.identify()


def api_link(prefix: str, resource: str, arguments: Mapping[str, str]) -> str:
    """Address of the same rows in the REST API."""
    return f"{prefix}api/v1/{resource}?{urlencode(arguments)}"
