"""Reads events off the wire: what is malformed is told by its field. Format: ``docs/events.md``.

Called by the service on what Hubs post, and by the Hub's recorder on single facts, so that it
never sends what would be refused. Standard library only, no clock, no I/O.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timezone
from typing import Any, Final

from .errors import MalformedEvent
from .model import (
    KINDS,
    MAX_NAME_CHARACTERS,
    PERSON_FIELDS,
    SOURCES,
    Event,
    canonical,
    moment_of,
    session_id,
)

MAX_FACTS_BYTES: Final = 32 * 1024
MAX_ACTOR_CHARACTERS: Final = MAX_NAME_CHARACTERS + len("service:")
_TEXT_FACTS: Final = frozenset(
    {
        "display_name",
        "spawner_class",
        "profile",
        "image",
        "node",
        "namespace",
        "pod_name",
        "started_by",
        "username",
        *PERSON_FIELDS,
    }
)
_NUMBER_FACTS: Final = frozenset(
    {
        "cpu_guarantee_cores",
        "cpu_limit_cores",
        "memory_guarantee_bytes",
        "memory_limit_bytes",
        "gpus",
    }
)
_REASON = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def event_from_wire(raw: Any) -> Event:
    """An event from decoded JSON.

    Raises MalformedEvent, which names the first field that breaks the format and says what was
    found and what was expected. Unknown facts are kept; unknown top-level fields are refused.
    """
    if not isinstance(raw, dict):
        raise MalformedEvent("event", f"found {_kind_of(raw)}; expected an object")
    unknown = raw.keys() - _WIRE_FIELDS
    if unknown:
        name = min(unknown)
        raise MalformedEvent(name[:64], "found an unknown field; expected only documented ones")
    kind = _choice(raw, "kind", KINDS)
    occurred_at = _moment(raw, "occurred_at")
    if occurred_at is None:
        raise MalformedEvent("occurred_at", "found none; expected an RFC 3339 date and time")
    not_before = _moment(raw, "not_before") or occurred_at
    not_after = _moment(raw, "not_after") or occurred_at
    if not not_before <= occurred_at <= not_after:
        raise MalformedEvent(
            "not_before",
            "found bounds without occurred_at; expected before <= at <= after",
        )
    event_session = _uuid(raw, "session_id")
    started_at = _moment(raw, "started_at")
    hub = _text(raw, "hub", required=True)
    username = _text(raw, "username", required=True)
    server_name = _text(raw, "server_name", required=True, empty=True)
    if kind == "rejected":
        if event_session is not None:
            raise MalformedEvent("session_id", "found one on a rejected request; expected none")
    elif event_session is None or started_at is None:
        missing = "session_id" if event_session is None else "started_at"
        raise MalformedEvent(missing, f"found none; expected one on an event of kind {kind}")
    elif event_session != session_id(hub, username, server_name, started_at):
        raise MalformedEvent(
            "session_id",
            "found one that is not derived from hub, username, server_name and started_at; "
            "expected the derived one",
        )
    event_id = _uuid(raw, "id")
    if event_id is None:
        raise MalformedEvent("id", "found none; expected a UUID")
    event = Event(
        kind=kind,
        hub=hub,
        username=username,
        server_name=server_name,
        session_id=event_session,
        started_at=started_at,
        occurred_at=occurred_at,
        not_before=not_before,
        not_after=not_after,
        source=_choice(raw, "source", SOURCES),
        reason=_reason(raw),
        actor=_text(raw, "actor", longest=MAX_ACTOR_CHARACTERS) or None,
        exit_status=_exit_status(raw),
        facts=_facts(raw),
    )
    if event.id != event_id:
        raise MalformedEvent("id", "found one that is not derived from the rest of the event")
    return event


_WIRE_FIELDS: Final = frozenset(
    {
        "id",
        "kind",
        "hub",
        "session_id",
        "username",
        "server_name",
        "started_at",
        "occurred_at",
        "not_before",
        "not_after",
        "source",
        "reason",
        "actor",
        "exit_status",
        "facts",
    }
)


def _kind_of(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _text(
    raw: dict[str, Any],
    name: str,
    *,
    required: bool = False,
    empty: bool = False,
    longest: int = MAX_NAME_CHARACTERS,
) -> str:
    value = raw.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise MalformedEvent(name, f"found {_kind_of(value)}; expected text")
    if required and not empty and not value:
        raise MalformedEvent(name, "found empty text; expected at least one character")
    if len(value) > longest:
        raise MalformedEvent(name, f"found {len(value)} characters; expected at most {longest}")
    if _UNSTORABLE.search(value):
        raise MalformedEvent(name, "found a NUL or a lone surrogate; expected storable text")
    return value


def _choice(raw: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = raw.get(name)
    if value not in choices:
        shown = repr(value)[:60]
        raise MalformedEvent(name, f"found {shown}; expected one of {', '.join(choices)}")
    return str(value)


def _uuid(raw: dict[str, Any], name: str) -> uuid.UUID | None:
    value = raw.get(name)
    if value is None:
        return None
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise MalformedEvent(name, f"found {str(value)[:60]!r}; expected a UUID") from None


def _moment(raw: dict[str, Any], name: str) -> datetime | None:
    value = raw.get(name)
    if value is None:
        return None
    try:
        moment = moment_of(value)
    except (ValueError, AttributeError, TypeError):
        raise MalformedEvent(
            name, f"found {str(value)[:60]!r}; expected an RFC 3339 date and time"
        ) from None
    if moment.tzinfo is None:
        raise MalformedEvent(name, f"found {value!r} without a time zone; expected one, such as Z")
    try:
        utc = moment.astimezone(timezone.utc)
    except OverflowError:
        utc = None
    if utc is None or not 2000 <= utc.year < 2200:
        raise MalformedEvent(name, f"found {value!r}; expected a year from 2000 to 2199")
    return utc


def _reason(raw: dict[str, Any]) -> str | None:
    value = raw.get("reason")
    if value is None:
        return None
    if not isinstance(value, str) or not _REASON.fullmatch(value):
        raise MalformedEvent(
            "reason", f"found {str(value)[:60]!r}; expected lower-case letters, digits and _"
        )
    return value


def _exit_status(raw: dict[str, Any]) -> int | None:
    value = raw.get("exit_status")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31:
        raise MalformedEvent("exit_status", f"found {str(value)[:60]}; expected a 32-bit integer")
    return value


def _facts(raw: dict[str, Any]) -> dict[str, Any]:
    facts = raw.get("facts")
    if facts is None:
        return {}
    if not isinstance(facts, dict):
        raise MalformedEvent("facts", f"found {_kind_of(facts)}; expected an object")
    for name, value in facts.items():
        check_fact(name, value)
    try:
        text = canonical(facts, allow_nan=False)
    except ValueError:
        raise MalformedEvent("facts", "found NaN or an infinity; expected numbers") from None
    if _UNSTORABLE.search(text) or _ESCAPED_NUL.search(text):
        raise MalformedEvent("facts", "found a NUL or a lone surrogate; expected storable text")
    if len(text.encode()) > MAX_FACTS_BYTES:
        raise MalformedEvent("facts", f"found over {MAX_FACTS_BYTES} bytes; expected fewer")
    return facts


def check_fact(name: str, value: Any) -> None:
    """Raises MalformedEvent if a fact that this code knows has another type than it should.

    Any value will do for an unknown one.
    """
    where = f"facts.{name[:64]}"
    if name in _TEXT_FACTS:
        if not isinstance(value, str):
            raise MalformedEvent(where, f"found {_kind_of(value)}; expected text")
        bounded = name == "username" or name in PERSON_FIELDS
        if bounded and not 0 < len(value) <= MAX_NAME_CHARACTERS:
            raise MalformedEvent(
                where, f"found {len(value)} characters; expected 1 to {MAX_NAME_CHARACTERS}"
            )
    elif name in _NUMBER_FACTS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MalformedEvent(where, f"found {_kind_of(value)}; expected a number")
        if not 0 <= value < 2**63:
            raise MalformedEvent(where, f"found {value}; expected a number from 0 to 2^63")
    elif name == "groups":
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise MalformedEvent(where, "found something else; expected a list of texts")
    elif name == "user_options" and not isinstance(value, dict):
        raise MalformedEvent(where, f"found {_kind_of(value)}; expected an object")
