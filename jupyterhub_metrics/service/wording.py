"""Puts sessions into words for people. Pure; called by what makes pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from ..model import Session

_STOPS: Final = {
    "hub_shutdown": "the Hub shut down",
    "stopped_by_hub": "stopped by the Hub",
    "completed": "ended by itself",
    "evicted": "evicted: its node was short of resources",
    "deadline_exceeded": "stopped: it ran longer than it may",
    "node_lost": "lost: its node went away",
    "preempted": "evicted: something more important needed its place",
    "unseen": "ended; nobody saw when or why",
}

_FAILURES: Final = {
    "timeout": "it took too long",
    "exception": "an error occurred",
    "hub_restarted": "the Hub restarted",
    "completed": "it ended by itself",
    "evicted": "its node was short of resources",
    "deadline_exceeded": "it took longer than it may",
    "node_lost": "its node went away",
    "preempted": "something more important needed its place",
    "unseen": "nobody saw why",
}

_SOMEBODY: Final = "its user"
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


def end_in_words(
    session: Session,
    viewer: str,
    last_activity_at: datetime | None = None,
    *,
    hidden: bool = False,
) -> str:
    """Why the session ended, or what it does now, told to the user named ``viewer``.

    ``last_activity_at`` is the last activity that a check saw, if one did. An unfamiliar
    reason, such as one that a newer Hub sends, is shown as it came. ``hidden``: without names.
    """
    if hidden:
        session = replace(session, username=_SOMEBODY, ended_by=_unnamed(session))
    if session.state == "starting":
        return "starting"
    if session.state == "running":
        return "running"
    if session.state == "failed":
        return _failure_in_words(session, viewer)
    reason = session.end_reason
    if reason is None:
        return "ended"
    if reason in ("stopped_by_user", "stopped_by_admin", "stopped_by_service"):
        asker = _asker_in_words(session, reason, viewer)
        return f"stopped by {asker}{_idle_in_words(session, last_activity_at)}"
    if reason in ("died", "error"):
        word = "died" if reason == "died" else "ended with an error"
        return f"{word}{_status_in_words(session)}"
    if reason == "oom_killed":
        return f"killed: {_memory_in_words(session)}"
    return _STOPS.get(reason) or f"ended: {_plain(reason)}"


def _unnamed(session: Session) -> str | None:
    """Who asked, without a name; a service is nobody in particular."""
    kind, name = _name(session.ended_by)
    if kind != "user":
        return session.ended_by
    return f"user:{_SOMEBODY}" if name == session.username else None


def _failure_in_words(session: Session, viewer: str) -> str:
    reason = session.end_reason
    if reason is None:
        return "did not start"
    if reason == "cancelled":
        if session.ended_by is None:
            return "start cancelled"
        by_owner = _name(session.ended_by) == ("user", session.username)
        asker = _asker_in_words(
            session, "stopped_by_user" if by_owner else _guess(session.ended_by), viewer
        )
        return f"start cancelled by {asker}"
    if reason in ("exited", "error"):
        return f"did not start: it exited{_status_in_words(session)}"
    if reason == "oom_killed":
        return f"did not start: {_memory_in_words(session)}"
    return f"did not start: {_FAILURES.get(reason) or _plain(reason)}"


def _asker_in_words(session: Session, reason: str, viewer: str) -> str:
    """Who asked for the stop: ``reason`` says in which role, the session by which name."""
    if reason == "stopped_by_user":
        return "you" if viewer == session.username else session.username
    kind, name = _name(session.ended_by)
    if reason == "stopped_by_service":
        if _is_culler(session):
            return "the idle culler"
        return f"the service {name}" if name else "a service"
    if kind == "user" and name == viewer:
        return "you as an administrator"
    return f"an administrator ({name})" if name else "an administrator"


def _is_culler(session: Session) -> bool:
    """Whether a service named like JupyterHub's idle culler asked for the stop."""
    kind, name = _name(session.ended_by)
    return kind == "service" and "cull" in name.lower()


def _idle_in_words(session: Session, last_activity_at: datetime | None) -> str:
    """How long nobody had used what the idle culler stopped; empty where that is not known."""
    if not _is_culler(session) or last_activity_at is None or session.ended_at is None:
        return ""
    minutes = int((session.ended_at - last_activity_at).total_seconds() // 60)
    return f" after {minutes} min without activity" if minutes > 0 else ""


def _memory_in_words(session: Session) -> str:
    limit = session.memory_limit_bytes
    return "out of memory" if not limit else f"out of memory at {bytes_in_words(limit)}"


def _guess(actor: str) -> str:
    return "stopped_by_service" if _name(actor)[0] == "service" else "stopped_by_admin"


def _name(actor: str | None) -> tuple[str, str]:
    """Kind and name of an actor such as ``user:bob``."""
    if actor is None:
        return "", ""
    kind, colon, name = actor.partition(":")
    return (kind, name) if colon else ("", actor)


def _status_in_words(session: Session) -> str:
    return "" if session.exit_status is None else f" (exit status {session.exit_status})"


def _plain(reason: str) -> str:
    return reason.replace("_", " ")


def bytes_in_words(size: int) -> str:
    """``size`` in bytes as ``4.0 GiB``, ``512.0 MiB`` or ``900 bytes``."""
    if size < 1024:
        return f"{size} bytes"
    amount, units = size / 1024, list(_UNITS)
    while len(units) > 1 and round(amount, 1) >= 1024:
        amount /= 1024
        units.pop(0)
    return f"{amount:.1f} {units[0]}"


def use_in_words(asked_bytes: int | None, peak_bytes: int) -> str:
    """What was used of the memory that was asked for, if some was."""
    peak = bytes_in_words(peak_bytes)
    if asked_bytes is None:
        return f"used at most {peak}"
    if peak_bytes > asked_bytes:
        return f"asked for {bytes_in_words(asked_bytes)}, used up to {peak}"
    return f"asked for {bytes_in_words(asked_bytes)}, never used more than {peak}"


def duration_in_words(seconds: float) -> str:
    """``seconds`` as ``2 d 03 h``, ``2 h 05 min``, ``5 min 07 s`` or ``7 s``.

    Rounded down, so that the words never say more than was used.
    """
    whole = int(max(0.0, seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, day_hours = divmod(hours, 24)
    if days:
        return f"{days} d {day_hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    if minutes:
        return f"{minutes} min {rest:02} s"
    return f"{rest} s"


def hours_in_words(seconds: float) -> str:
    """Hours with one decimal; what is used but would round to nothing is ``< 0.1``."""
    hours = max(0.0, seconds) / 3600
    return "< 0.1" if 0 < hours < 0.1 else f"{hours:,.1f}"


def number_in_words(number: float) -> str:
    """``number`` with as many decimals as it needs, at most two."""
    return f"{number:,.2f}".rstrip("0").rstrip(".")
