"""Answers the REST API: ``GET api/v1/...``, and its own description."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from ..api.asking import Answer, Question
from ..api.openapi import document
from ..api.parameters import FORMATS, read_arguments
from ..api.rendering import CSV_TYPE, JSON_TYPE, as_csv, as_json, preferred
from ..api.resources import RESOURCES, Resource
from .base import JSONHandler
from .visiting import ANSWERED, VisitedHandler

_BY_NAME = {resource.name: resource for resource in RESOURCES}


class ResourceHandler(VisitedHandler, JSONHandler):
    """``GET api/v1/<resource>`` for who has a token or a browser's login."""

    async def prepare(self) -> None:
        # each answer is asked for anew, and not sent again if it is the same (ETag)
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Vary", "Accept, Authorization, Cookie")
        await self.identify()

    async def get(self, name: str) -> None:
        resource = _BY_NAME.get(name)
        if resource is None:
            self.answer(404, {"error": f"found no resource {name[:40]!r}", "field": "path"})
        elif self.current_user is None:
            self._ask_to_log_in()
        else:
            try:
                await self._answer(resource)
            except ANSWERED as error:
                status, field, text = self.status_of(error)
                self.answer(status, {"error": text, "field": field})

    async def _answer(self, resource: Resource) -> None:
        given = self.given()
        values = read_arguments(resource.parameters, given)
        kind = self._format(values)
        if not kind:
            text = f"found Accept: {self.request.headers.get('Accept', '')[:100]}"
            self.answer(406, {"error": f"{text}; expected JSON or CSV", "field": "Accept"})
            return
        asked = {key: texts[0] for key, texts in given.items()}
        viewer, reading, privacy = self.viewer, self.store.reading, self.wiring.privacy
        await privacy.learn(reading)
        question = Question(viewer, values, reading, privacy, self.wiring.clock())
        if "cursor" in values:
            place = self.wiring.cursors.read(self._bound(resource), asked, values["cursor"])
            question = question.continued(place)
        answer = await resource.ask(question)
        if answer.place is not None:
            answer = replace(answer, place=question.place_after(answer.place))
        self.note_visit(viewer, user=values.get("user"), group=values.get("group"))
        self._send(resource, answer, asked, kind)

    def _format(self, values: dict[str, Any]) -> str:
        chosen: str | None = values.get("format")
        return chosen or preferred(self.request.headers.get("Accept", ""))

    def _bound(self, resource: Resource) -> str:
        """What a cursor holds for: one resource, asked by one visitor."""
        return f"{resource.name}\0{self.visitor.get('kind')}\0{self.visitor.get('name')}"

    def _send(self, resource: Resource, answer: Answer, asked: dict[str, str], kind: str) -> None:
        cursor = None
        if answer.place is not None:
            cursor = self.wiring.cursors.write(self._bound(resource), asked, answer.place)
            query = urlencode({**asked, "cursor": cursor})
            self.set_header("Link", f'<{self.request.path}?{query}>; rel="next"')
        if kind == FORMATS[1]:
            self.set_header("Content-Type", CSV_TYPE)
            name = f"{resource.name}.csv"
            self.set_header("Content-Disposition", f'attachment; filename="{name}"')
            self.finish(as_csv(resource, answer.rows))
        else:
            self.set_header("Content-Type", JSON_TYPE)
            self.finish(as_json(resource, answer, cursor))

    def _ask_to_log_in(self) -> None:
        headers = self.request.headers
        if headers.get("Sec-Fetch-Mode") == "navigate" and "Authorization" not in headers:
            # a link that was followed in a browser
            self.redirect(self.get_login_url())
            return
        self.set_header("WWW-Authenticate", "Bearer")
        text = "found no valid login or token; expected a token of the Hub as a bearer token"
        self.answer(401, {"error": text, "field": "Authorization"})


class DocumentHandler(JSONHandler):
    """``GET api/v1/openapi.json``, for anyone: it tells nothing of anybody."""

    def get(self) -> None:
        self.answer(200, _document(self.wiring.prefix))


@lru_cache(maxsize=1)
def _document(prefix: str) -> dict[str, Any]:
    return document(prefix)
