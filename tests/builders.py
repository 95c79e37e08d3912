"""Makes events for tests, short to write: times are seconds after ``T0``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from jupyterhub_metrics.model import Event, session_id

T0 = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def event(
    kind: str,
    occurred: float = 0,
    *,
    username: str = "ada",
    server_name: str = "",
    hub: str = "campus",
    started: float = 0,
    bounds: tuple[float, float] | None = None,
    source: str = "hub",
    **rest: Any,
) -> Event:
    """An event of the session that ``username`` started at ``started``; none if rejected."""
    started_at = at(started)
    before, after = bounds or (occurred, occurred)
    of_session = {
        "session_id": session_id(hub, username, server_name, started_at),
        "started_at": started_at,
    }
    return Event(
        kind=kind,
        hub=hub,
        username=username,
        server_name=server_name,
        occurred_at=at(occurred),
        not_before=at(before),
        not_after=at(after),
        source=source,
        **({} if kind == "rejected" else of_session),
        **rest,
    )
