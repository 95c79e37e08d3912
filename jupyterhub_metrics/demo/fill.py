"""Fills the demo's past through the same door as a Hub's own events: the ingest endpoint.

Who was in which group, which a service learns from the Hub, goes to the demo's own database.
Called by :mod:`.running`. Events derive their ids from their content, so a past that is sent again
after an interruption changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from ..errors import ConfigurationError, MetricsError
from ..model import Event
from ..store import dsn_of_running, open_store
from .folder import DemoFolder, Filled
from .history import SimulatedSession, events, groups, history

BATCH_EVENTS = 500
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 5.0


def lacking(wanted: Filled, filled: Filled | None) -> Iterator[SimulatedSession]:
    """The sessions of the wanted past that are not in the database yet.

    Raises ConfigurationError if the past there comes from another seed: two pasts of the same
    people would overlap.
    """
    if filled is not None and filled.seed != wanted.seed:
        raise ConfigurationError(
            f"found a past simulated with --seed {filled.seed}; expected the same seed, not "
            f"{wanted.seed}; repeat that seed, or name another folder with --data"
        )
    sessions = history(
        seed=wanted.seed, user_count=wanted.users, since=wanted.since, until=wanted.until
    )
    if filled is None or filled.users < wanted.users:
        return sessions
    return (
        session
        for session in sessions
        if session.started_at < filled.since or session.ended_at > filled.until
    )


async def fill(
    folder: DemoFolder,
    wanted: Filled,
    *,
    url: str,
    hub: str,
    report: Callable[[float, int], None],
) -> int:
    """Send what is lacking of the wanted past; gives how many sessions were sent.

    ``report(fraction, sessions)`` is called after each batch. Waits for a service that is away for
    as long as it takes. Raises MetricsError if the service refuses, or its database is away.
    """
    await _fill_groups(folder, wanted, hub)
    filled = folder.filled()
    sessions = lacking(wanted, filled)
    token = await asyncio.to_thread(folder.events_token.read_text)
    length = (wanted.until - wanted.since).total_seconds() or 1.0
    sent = 0
    for reached_at, count, batch in _batches(hub, sessions):
        await _post(url, token.strip(), hub, batch)
        sent += count
        report((reached_at - wanted.since).total_seconds() / length, sent)
    await asyncio.to_thread(folder.note_filled, together(wanted, filled))
    return sent


async def _fill_groups(folder: DemoFolder, wanted: Filled, hub: str) -> None:
    """Memberships end with the past: what lasts is for checks of the real Hub to say."""
    dsn = await asyncio.to_thread(dsn_of_running, folder.data_dir)
    if dsn is None:
        raise MetricsError(
            f"found no database running over {folder.data_dir}; expected the usage service's; "
            "start the demo again"
        )
    members = groups(seed=wanted.seed, user_count=wanted.users)
    store = await open_store(dsn, migrate="never", max_connections=1)
    try:
        await store.add_memberships(hub, members, wanted.since, wanted.until)
    finally:
        await store.close()


def together(wanted: Filled, filled: Filled | None) -> Filled:
    """What is in the database once the wanted past was added to the filled one.

    It never claims too much: what it forgets is only sent once more.
    """
    if filled is None or filled.users < wanted.users:
        return wanted
    if filled.until < wanted.since or wanted.until < filled.since:
        return wanted
    return replace(
        wanted, since=min(wanted.since, filled.since), until=max(wanted.until, filled.until)
    )


def _batches(
    hub: str, sessions: Iterable[SimulatedSession]
) -> Iterator[tuple[datetime, int, list[Event]]]:
    """Events in batches, whole sessions each, with the last start and the number of sessions."""
    batch: list[Event] = []
    count = 0
    session = None
    for session in sessions:
        batch.extend(events(hub, session))
        count += 1
        if len(batch) >= BATCH_EVENTS:
            yield session.started_at, count, batch
            batch, count = [], 0
    if session is not None and batch:
        yield session.started_at, count, batch


async def _post(url: str, token: str, hub: str, batch: list[Event]) -> None:
    request = HTTPRequest(
        url,
        method="POST",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        body=json.dumps({"hub": hub, "events": [event.to_wire() for event in batch]}),
        request_timeout=60,
    )
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except OSError:
            status = 599
        else:
            status = answer.code
        if status == 200:
            rejected = json.loads(answer.body).get("rejected", [])
            if rejected:
                raise MetricsError(f"the service rejected a simulated event: {rejected[0]}")
            return
        if status < 500:
            raise MetricsError(
                f"the service refused the simulated past: status {status}: {answer.body.decode()}"
            )
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, LAST_PAUSE_SECONDS)
