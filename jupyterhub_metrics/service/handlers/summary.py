"""Tells a Hub what its own pages show of usage."""

from __future__ import annotations

from ...errors import DatabaseUnavailable, SchemaMismatch
from ..access import Viewer
from ..credentials import bearer
from ..database import RETRY_AFTER_SECONDS
from ..summary import everyones_summary, own_summary
from .base import JSONHandler


class SummaryHandler(JSONHandler):
    """``GET api/v1/summary``, for bearers of a Hub's secret, who say for whom they ask.

    ``user`` is who is logged in there, ``everyone`` that this is an operator, ``group`` (any number
    of times) what groups they own.
    """

    async def get(self) -> None:
        token = bearer(self.request.headers.get("Authorization", ""))
        hub = None if token is None else self.wiring.hub_secrets.hub_of(token)
        if hub is None:
            self.set_header("WWW-Authenticate", "Bearer")
            text = "found no secret of a Hub; expected its events secret as a bearer token"
            self.answer(401, {"error": text, "field": "Authorization"})
            return
        username = self.get_query_argument("user", strip=False, default="")
        is_operator = self.get_query_argument("everyone", default="") == "1"
        viewer = Viewer(username, hub, username, is_operator, (hub,))
        wiring = self.wiring
        try:
            reading = wiring.database.store().reading
            await wiring.privacy.learn(reading)
            told = {
                "own": await own_summary(reading, hub, username, wiring.clock()),
                "everyone": await everyones_summary(reading, wiring.privacy, viewer, wiring.clock())
                if is_operator
                else None,
                "groups": self.get_query_arguments("group", strip=False),
            }
        except (DatabaseUnavailable, SchemaMismatch) as error:
            wiring.database.lost(error)
            self.set_header("Retry-After", str(RETRY_AFTER_SECONDS))
            self.answer(503, {"error": "the database is away", "field": "database"})
            return
        self.answer(200, told)
