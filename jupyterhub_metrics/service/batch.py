"""Splits a posted batch into events that can be stored and ones that cannot. Pure.

Called by ``handlers.ingest``. The format stands in ``docs/service.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import MalformedEvent, MetricsError
from ..model import KINDS, MAX_BATCH_EVENTS, Event
from ..wire import event_from_wire

RECORDER_HEALTH = (
    "outbox_events",
    "outbox_oldest_seconds",
    "lost_events",
    "set_aside_events",
    "faults",
)
"""What a recorder may say of its own health."""

UNREADABLE = "unreadable"
"""Stands in counts for the kind of an event whose kind cannot be told."""


class BatchRefused(MetricsError):
    """A batch as a whole is not what is expected; nothing of it was stored."""

    def __init__(self, status: int, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.field = field


@dataclass(frozen=True)
class Rejection:
    """One event that was not stored, and why. ``index`` counts from 0 in the batch."""

    index: int
    id: str
    kind: str
    field: str
    message: str

    def to_wire(self) -> dict[str, Any]:
        return {"index": self.index, "id": self.id, "field": self.field, "message": self.message}


@dataclass(frozen=True)
class Batch:
    """The events of one post: well-formed ones in their order, and the others.

    ``places`` says where in the post each of ``events`` stood; ``recorder`` is what the Hub's
    recorder says of its own health.
    """

    events: tuple[Event, ...]
    places: tuple[int, ...]
    rejected: tuple[Rejection, ...]
    recorder: Mapping[str, float] = field(default_factory=dict)

    @property
    def received(self) -> int:
        return len(self.events) + len(self.rejected)

    def refused_by_store(self, place: int, error: MalformedEvent) -> Rejection:
        """The rejection of ``events[place]``, whose values the database does not take."""
        event = self.events[place]
        return Rejection(
            self.places[place], str(event.id), event.kind, error.field, _message(error)
        )


def read_batch(body: bytes, hub: str) -> Batch:
    """The batch in ``body``, posted with the secret of ``hub``.

    A batch with the health of the recorder may be without events: it tells that the recorder is
    there. Raises BatchRefused with status 400 if the body is not ``{"hub": ..., "events": [...]}``
    with 1 to 1000 events, with status 403 if it names another Hub. An event that is malformed or of
    another Hub is rejected alone.
    """
    try:
        raw = json.loads(body)
    except RecursionError:
        raise BatchRefused(
            400, "malformed", "body", "found JSON nested too deep; expected a batch of events"
        ) from None
    except ValueError as error:
        where = f" (at character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise BatchRefused(
            400, "malformed", "body", f"found no JSON{where}; expected an object"
        ) from None
    if not isinstance(raw, dict):
        raise BatchRefused(400, "malformed", "body", "found no object; expected one")
    found = raw.get("hub")
    if not isinstance(found, str):
        raise BatchRefused(400, "malformed", "hub", "found no text; expected the Hub's name")
    if found != hub:
        raise BatchRefused(
            403,
            "wrong_hub",
            "hub",
            f"found {found[:64]!r}; expected {hub!r}, the Hub that this secret is bound to",
        )
    events = raw.get("events")
    least = 0 if isinstance(raw.get("recorder"), dict) else 1
    if not isinstance(events, list) or not least <= len(events) <= MAX_BATCH_EVENTS:
        shown = f"{len(events)} events" if isinstance(events, list) else "no list"
        raise BatchRefused(
            400, "malformed", "events", f"found {shown}; expected 1 to {MAX_BATCH_EVENTS} events"
        )
    return replace(_split(events, hub), recorder=_recorder_health(raw.get("recorder")))


def _recorder_health(raw: Any) -> dict[str, float]:
    """The known numbers; anything else is left out, for health must never cost an event."""
    values = raw if isinstance(raw, dict) else {}
    return {
        name: float(values[name])
        for name in RECORDER_HEALTH
        if type(values.get(name)) in (int, float) and 0 <= values[name] < 2**63
    }


def _split(raws: list[Any], hub: str) -> Batch:
    events: list[Event] = []
    places: list[int] = []
    rejected: list[Rejection] = []
    for index, raw in enumerate(raws):
        try:
            event = event_from_wire(raw)
            if event.hub != hub:
                raise MalformedEvent(
                    "hub", f"found {event.hub[:64]!r}; expected {hub!r}, as in the batch"
                )
        except MalformedEvent as error:
            rejected.append(_rejection(index, raw, error.field, _message(error)))
        except RecursionError:
            message = "found JSON nested too deep; expected a flat event"
            rejected.append(_rejection(index, raw, "facts", message))
        else:
            events.append(event)
            places.append(index)
    return Batch(tuple(events), tuple(places), tuple(rejected))


def _message(error: MalformedEvent) -> str:
    return str(error).removeprefix(f"{error.field}: ")


def _rejection(index: int, raw: Any, field: str, message: str) -> Rejection:
    values = raw if isinstance(raw, dict) else {}
    event_id, kind = values.get("id"), values.get("kind")
    return Rejection(
        index=index,
        id=event_id[:64] if isinstance(event_id, str) else "",
        kind=kind if isinstance(kind, str) and kind in KINDS else UNREADABLE,
        field=field,
        message=message,
    )
