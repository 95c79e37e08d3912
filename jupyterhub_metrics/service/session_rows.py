"""Sessions as pages list them: what runs, and what has run. Pure.

Called by the modules that make pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..model import Session
from ..store import DrawnSession, SeenSession
from .wording import (
    bytes_in_words,
    duration_in_words,
    end_in_words,
    number_in_words,
    use_in_words,
)

DEFAULT_SERVER = "default server"


@dataclass(frozen=True)
class Running:
    """A server that starts or runs now; ``facts`` are those that are known, with their labels."""

    username: str
    hub: str
    server: str
    started_at: datetime
    starting: bool
    for_words: str
    idle_words: str | None
    last_activity_at: datetime | None
    facts: tuple[tuple[str, str], ...]
    simulated: bool
    profile: str | None
    image: str | None
    node: str | None
    resources: str
    uses: str | None


@dataclass(frozen=True)
class Row:
    """A session of the period, newest first. Times are None where they are not known.

    ``ended_after`` and ``ended_before`` are there only for an end that nobody saw.
    """

    username: str
    server: str
    started_at: datetime
    ready_words: str | None
    ended_at: datetime | None
    ended_after: datetime | None
    ended_before: datetime | None
    duration_words: str | None
    whole_words: str | None
    end_words: str
    state: str
    simulated: bool
    profile: str | None
    used_words: str | None


def server_of(session: Session | DrawnSession, *, hidden: bool = False) -> str:
    """What people call the server; ``hidden``: without its name."""
    if hidden:
        return "named server" if session.server_name else DEFAULT_SERVER
    return session.display_name or session.server_name or DEFAULT_SERVER


def running_of(
    seen: SeenSession, now: datetime, *, hidden: bool = False, username: str | None = None
) -> Running:
    """A server that starts or runs; ``username`` is shown in place of the session's own."""
    session = seen.session
    idle = None
    if seen.last_activity_at is not None:
        seconds = (now - seen.last_activity_at).total_seconds()
        idle = duration_in_words(seconds) if seconds >= 60 else None
    resources = _resources(session)
    known = (
        ("Profile", session.profile),
        ("Image", session.image),
        ("Node", session.node),
        ("Requested", resources),
        ("Used", _used_now(seen)),
    )
    return Running(
        username=session.username if username is None else username,
        hub=session.hub,
        server=server_of(session, hidden=hidden),
        started_at=session.started_at,
        starting=session.state == "starting",
        for_words=duration_in_words((now - session.started_at).total_seconds()),
        idle_words=idle,
        last_activity_at=seen.last_activity_at,
        facts=tuple((label, value) for label, value in known if value),
        simulated=session.simulated,
        profile=session.profile,
        image=session.image,
        node=session.node,
        resources=resources,
        uses=_used_now(seen),
    )


def row_of(
    seen: SeenSession,
    viewer: str,
    since: datetime,
    until: datetime,
    now: datetime,
    *,
    hidden: bool = False,
    username: str | None = None,
) -> Row:
    """A session in a table of ``[since, until)``."""
    session = seen.session
    waiting = session.waiting_seconds()
    was_seen = session.ended_after == session.ended_before
    duration, whole = None, None
    if session.state in ("running", "ended"):
        inside = session.seconds_between(since, until, now)
        duration = duration_in_words(inside)
        if session.seconds(now) > inside:
            whole = duration_in_words(session.seconds(now))
    return Row(
        username=session.username if username is None else username,
        server=server_of(session, hidden=hidden),
        started_at=session.started_at,
        ready_words=None if waiting is None else duration_in_words(waiting),
        ended_at=session.ended_at,
        ended_after=None if was_seen else session.ended_after,
        ended_before=None if was_seen else session.ended_before,
        duration_words=duration,
        whole_words=whole,
        end_words=end_in_words(session, viewer, seen.last_activity_at, hidden=hidden),
        state=session.state,
        simulated=session.simulated,
        profile=session.profile,
        used_words=_used(seen),
    )


def _used(seen: SeenSession) -> str | None:
    """How much of its memory the session ever used; None if nobody measured it."""
    if seen.measured is None or seen.measured.memory_peak_bytes is None:
        return None
    return use_in_words(_memory(seen.session), seen.measured.memory_peak_bytes)


def _used_now(seen: SeenSession) -> str | None:
    measured = seen.measured
    if measured is None or measured.memory_last_bytes is None:
        return None
    parts = [bytes_in_words(measured.memory_last_bytes)]
    if measured.cpu_last_cores is not None:
        parts.insert(0, f"{number_in_words(round(measured.cpu_last_cores, 2))} cores")
    if measured.memory_peak_bytes is not None:
        parts.append(f"at most {bytes_in_words(measured.memory_peak_bytes)}")
    return ", ".join(parts)


def _memory(session: Session) -> int | None:
    """What was asked for: the guarantee, or the limit where no other guarantee was given."""
    asked = session.memory_guarantee_bytes
    return session.memory_limit_bytes if asked is None else asked


def _resources(session: Session) -> str:
    """The guarantee, or the limit where no other guarantee was given, as usage counts it."""
    cores = session.cpu_guarantee_cores
    cores = session.cpu_limit_cores if cores is None else cores
    memory = _memory(session)
    parts = []
    if cores is not None:
        parts.append(f"{number_in_words(cores)} {'core' if cores == 1 else 'cores'}")
    if memory is not None:
        parts.append(bytes_in_words(memory))
    if session.gpus:
        parts.append(f"{number_in_words(session.gpus)} {'GPU' if session.gpus == 1 else 'GPUs'}")
    return ", ".join(parts)
