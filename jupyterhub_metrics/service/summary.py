"""What the Hub's own pages say of usage. Called by ``handlers.summary``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from ..store import Reading, UserOrder, Window
from .access import Viewer
from .figures import added_up, amount_in_words
from .periods import Month
from .privacy import Privacy
from .wording import hours_in_words

TOP: Final = 5


async def own_summary(reading: Reading, hub: str, username: str, now: datetime) -> dict[str, Any]:
    """One user's month beside the last one, and what runs; in words. Months are those of UTC."""
    month = Month.at(now, "UTC")
    amounts = added_up(
        await reading.usage_of_user(hub, username, Window(month.since, month.until), "hub")
    )
    before = month.previous
    last = added_up(
        await reading.usage_of_user(hub, username, Window(before.since, before.until), "hub")
    )
    running = await reading.running([hub], username, None, None, 1)
    return {
        "month": month.words,
        "hours": hours_in_words(amounts.seconds),
        "gpu_hours": None if amounts.gpu_hours is None else amount_in_words(amounts.gpu_hours),
        "last_month": before.words,
        "last_hours": hours_in_words(last.seconds),
        "running": (running[0].total or 0) if running else 0,
    }


async def everyones_summary(
    reading: Reading, privacy: Privacy, viewer: Viewer, now: datetime
) -> dict[str, Any]:
    """Who used most this month and how many servers run, in words."""
    month = Month.at(now, "UTC")
    window = Window(month.since, month.until)
    users = await reading.users(viewer.hubs, window, UserOrder(), None, TOP)
    running = await reading.running(viewer.hubs, None, None, None, 1)
    return {
        "month": month.words,
        "users": users[0].total if users else 0,
        "running": (running[0].total or 0) if running else 0,
        "searchable": not privacy.pseudonyms,
        "top": [
            {
                "name": privacy.shown(viewer, row.hub, row.username),
                "hours": hours_in_words(row.seconds),
                "gpu_hours": amount_in_words(row.gpu_hours),
            }
            for row in users
        ],
    }
