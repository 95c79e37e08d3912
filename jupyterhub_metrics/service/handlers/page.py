"""Shows people their usage."""

from __future__ import annotations

import logging
from typing import Any

from jupyterhub.services.auth import HubOAuthCallbackHandler
from tornado.web import HTTPError, authenticated

from ...errors import DatabaseUnavailable
from ..auth import Visitor, may_see
from ..database import RETRY_AFTER_SECONDS
from ..usage_page import MAX_SESSIONS, month_of, usage_page
from .base import PageHandler

log = logging.getLogger(__name__)


class UsageHandler(Visitor, PageHandler):
    """The root, for the visitor's own usage, and ``users/NAME``, for an operator too."""

    def initialize(self) -> None:
        self.hub_auth = self.wiring.hub_auth

    async def prepare(self) -> None:
        super().prepare()
        await self.identify()

    @authenticated
    async def get(self, username: str | None = None) -> None:
        name = self.visitor["name"] if username is None else username
        if not may_see(self.visitor, name):
            raise HTTPError(403)
        now = self.wiring.clock()
        since, until = month_of(now)
        try:
            store = self.wiring.database.store()
            whose = (self.wiring.hub_name, name, since, until)
            sessions = await store.sessions_of_user(*whose, limit=MAX_SESSIONS)
            activity = await store.activity_of_user(*whose)
        except DatabaseUnavailable as error:
            self.wiring.database.lost(error)
            self.set_header("Retry-After", str(RETRY_AFTER_SECONDS))
            raise HTTPError(503) from None
        if name != self.visitor["name"]:
            log.info("Operator %r read the usage of %r", self.visitor["name"], name)
        last_activity = {
            key: measured.last_activity_at
            for key, measured in activity.items()
            if measured.last_activity_at is not None
        }
        page = usage_page(name, self.visitor["name"], sessions, now, last_activity)
        self.render_page("usage.html", page=page)


class LoginNotPossible(PageHandler):
    """In place of the pages where the service has no token to ask the Hub with."""

    def get(self, *_: Any) -> None:
        self.set_status(503)
        self.render_page(
            "error.html",
            status=503,
            text="This service cannot ask the Hub who you are: it has no API token.",
        )


class CallbackHandler(Visitor, HubOAuthCallbackHandler, PageHandler):
    """Where the Hub sends a visitor back to after logging in."""

    def initialize(self) -> None:
        self.hub_auth = self.wiring.hub_auth

    async def prepare(self) -> None:
        super().prepare()
        await self.identify()
