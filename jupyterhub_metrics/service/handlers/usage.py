"""Shows one user's usage: the visitor's own, or that of someone whom the visitor may see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from ...model import Session
from ...store import DayRow, DrawnSession, KnownServer, Reading, SessionPlace, Window
from ..api.asking import Question
from ..api.parameters import CURSOR, HUB, SERVER
from ..drawings import calendar_since
from ..figures import Amounts, added_up
from ..page_period import Period
from ..usage_page import MAX_DRAWN, ROWS, usage_page
from .page import VisitedPage, api_link

MAX_RUNNING: Final = 100


class UsageHandler(VisitedPage):
    """The root, for the visitor's own usage, and ``users/NAME``."""

    parameters = (SERVER, HUB, CURSOR)

    async def show(self, *names: str) -> None:
        viewer = self.viewer
        shown = names[0] if names else viewer.name
        question, period = await self.question()
        hub, reading = question.hub, question.reading
        name = await self.wiring.privacy.name_of(reading, viewer, hub, shown)
        viewer.require_user(shown if name is None else name, hub)
        servers = [] if name is None else await reading.servers_of_user(hub, name)
        if name is None or (name != viewer.username and not servers):
            self.refuse(404, "There is no such user.")
            return
        self.note_visit(viewer, user=name)
        await self._render(question, period, name, shown, servers)

    async def _render(
        self,
        question: Question,
        period: Period,
        name: str,
        shown: str,
        servers: Sequence[KnownServer],
    ) -> None:
        viewer, reading, hub = question.viewer, question.reading, question.hub
        hidden = self.wiring.privacy.hides(viewer, hub, name)
        server = None if hidden else server_of_form(question.values.get("server"))
        place = session_place(self.place(period, "sessions"))
        listed = await reading.sessions_of_user(hub, name, period.window, server, place, ROWS + 1)
        # where the table has all of them, they need not be asked for again
        drawn: Sequence[Session | DrawnSession] = (
            [seen.session for seen in listed]
            if place is None and len(listed) <= ROWS
            else await reading.drawn_sessions_of_user(hub, name, period.window, server, MAX_DRAWN)
        )
        since = calendar_since(period.drawn_until, period.zone)
        if period.month is not None:
            first = period.before[0]
            days = await reading.days_of_user(
                hub, name, min(since, first), period.until, first, period.zone
            )
            amounts, before = months_of(days, period)
        else:
            days = await reading.days_of_user(
                hub, name, since, period.until, period.until, period.zone
            )
            amounts, before = await amounts_of(reading, period, hub, name)
        runs = any(known.open for known in servers)
        page = usage_page(
            shown,
            viewer.name,
            period,
            amounts,
            before,
            days,
            await reading.running([hub], name, None, None, MAX_RUNNING) if runs else (),
            drawn,
            listed,
            hidden=hidden,
        )
        arguments = {"user": shown, **period.time_arguments, "limit": "1000"}
        if server is not None:
            arguments["server"] = server
        if hub != viewer.hub:
            arguments["hub"] = hub
        next_place = None if page.next_place is None else place_of(*page.next_place)
        self.render_page(
            "usage.html",
            page=page,
            period=period,
            servers=[] if hidden else [known.server_name for known in servers],
            server=server,
            exports=api_link(self.wiring.prefix, "sessions", arguments),
            cursor=self.cursor(period, "sessions", next_place),
            first=place is None,
        )


DEFAULT: Final = " "
"""What the form sends for the default server."""


def server_of_form(chosen: str | None) -> str | None:
    """The name of the server that the form's filter names; None for all."""
    return "" if chosen == DEFAULT else chosen


def months_of(days: Sequence[DayRow], period: Period) -> tuple[Amounts, Amounts]:
    """Usage of the month and of the one before, out of that of their days."""
    months = ((period.since, period.until), period.before)
    now, before = (
        added_up(row for row in days if since <= row.bucket < until) for since, until in months
    )
    return now, before


async def amounts_of(
    reading: Reading, period: Period, hub: str, name: str
) -> tuple[Amounts, Amounts]:
    """A user's usage in the period and in the time before it."""
    now = await reading.usage_of_user(hub, name, period.window, "hub")
    before = await reading.usage_of_user(hub, name, Window(*period.before), "hub")
    return added_up(now), added_up(before)


def session_place(place: list[str] | None) -> SessionPlace | None:
    """Where a page of sessions began, out of a cursor."""
    if place is None:
        return None
    return datetime.fromisoformat(place[0]), UUID(place[1])


def place_of(started_at: datetime, session_id: str) -> list[str]:
    """Where a page of sessions ended, for a cursor."""
    return [started_at.isoformat(), session_id]
