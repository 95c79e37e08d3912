"""Puts sessions into words for people. Pure; called by ``service.usage_page``."""

from __future__ import annotations

from ..model import Session

_STOPS = {
    "hub_shutdown": "the Hub shut down",
    "stopped_by_hub": "stopped by the Hub",
}


def end_in_words(session: Session, viewer: str) -> str:
    """Why the session ended, or what it does now, told to the user named ``viewer``.

    An unfamiliar reason, such as one that a newer Hub sends, is shown as it came.
    """
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
        return f"stopped by {_asker_in_words(session, reason, viewer)}"
    if reason == "died":
        return f"died{_status_in_words(session)}"
    return _STOPS.get(reason) or f"ended: {_plain(reason)}"


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
    why = {
        "timeout": "it took too long",
        "exception": "an error occurred",
        "exited": f"it exited{_status_in_words(session)}",
        "hub_restarted": "the Hub restarted",
    }
    return f"did not start: {why.get(reason) or _plain(reason)}"


def _asker_in_words(session: Session, reason: str, viewer: str) -> str:
    """Who asked for the stop: ``reason`` says in which role, the session by which name."""
    if reason == "stopped_by_user":
        return "you" if viewer == session.username else session.username
    kind, name = _name(session.ended_by)
    if reason == "stopped_by_service":
        return f"the service {name}" if name else "a service"
    if kind == "user" and name == viewer:
        return "you as an administrator"
    return f"an administrator ({name})" if name else "an administrator"


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
