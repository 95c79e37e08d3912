"""What handlers for people and programs share: who is visiting, and refusals that name a field."""

from __future__ import annotations

import logging
from typing import Any

from ...errors import DatabaseUnavailable, MetricsError, SchemaMismatch, UnknownZone
from ...store import Store
from ..access import Forbidden, Viewer, viewer_of
from ..api.parameters import BadRequest
from ..auth import Visitor
from ..database import RETRY_AFTER_SECONDS
from .base import SecureHandler

log = logging.getLogger(__name__)

ANSWERED = (BadRequest, Forbidden, UnknownZone, DatabaseUnavailable, SchemaMismatch)
"""Errors that are told to the visitor; every other one is a fault of ours."""


class VisitedHandler(Visitor, SecureHandler):
    """A handler that answers those whom the Hub knows."""

    def initialize(self) -> None:
        self.hub_auth = self.wiring.hub_auth

    @property
    def viewer(self) -> Viewer:
        """Who is visiting; only after ``identify`` has found someone."""
        return viewer_of(self.visitor, self.wiring.hub_name, further_hubs=self.wiring.further_hubs)

    @property
    def store(self) -> Store:
        """The open store. Raises DatabaseUnavailable."""
        return self.wiring.database.store()

    def given(self) -> dict[str, list[str]]:
        """The arguments of the address as text. Raises BadRequest for bytes that are none."""
        given: dict[str, list[str]] = {}
        for name, values in self.request.query_arguments.items():
            try:
                given[name] = [value.decode("utf-8") for value in values]
            except UnicodeDecodeError:
                raise BadRequest(
                    name[:100], "found bytes that are no text; expected UTF-8"
                ) from None
        return given

    def status_of(self, error: MetricsError) -> tuple[int, str, str]:
        """Status, field and text of an answer to this error, which is one of ``ANSWERED``."""
        if isinstance(error, BadRequest):
            return 400, error.field, str(error)
        if isinstance(error, Forbidden):
            return 403, error.field, str(error)
        if isinstance(error, UnknownZone):
            return 400, "zone", str(error)
        self.wiring.database.lost(error)
        self.set_header("Retry-After", str(RETRY_AFTER_SECONDS))
        # its own text names the database's host and user
        return 503, "database", "the usage records cannot be read at the moment; try again soon"

    def note_visit(self, viewer: Viewer, **whose: Any) -> None:
        """Leave a trace of who reads what of others."""
        for kind, name in whose.items():
            if name is not None and not (kind == "user" and name == viewer.username):
                who = "Operator" if viewer.is_operator else "Owner"
                log.info("%s %r read the usage of %s %r", who, viewer.name, kind, name)
