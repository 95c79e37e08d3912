"""A batch of events in the shape that the statements of ``sql/queries/events.sql`` take. Pure.

Called by :mod:`.store`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from ..model import Event, canonical
from .digests import digest, digest_of
from .facts import parts_of, stored_facts

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Batch:
    """Columns. ``repeated`` is what many events say, each once, and ``found_by`` the part of it
    by which it is found again; ``rows`` has a value for each event, and for what is repeated its
    place there, from 1, or None. Events are filed at ``filed_at``."""

    repeated: list[list[Any]]
    found_by: list[list[Any]]
    rows: list[list[Any]]
    filed_at: list[datetime]


def batch_of(events: Sequence[Event]) -> Batch:
    """The batch of these events, of which there is at least one."""
    servers: dict[tuple[str, str, str], int] = {}
    circumstances: dict[tuple[str | int | None, ...], int] = {}
    facts: dict[str, int] = {}
    nodes: dict[str, int] = {}
    rows = []
    for event in events:
        parts = parts_of(stored_facts(event.facts))
        told = (event.kind, event.source, event.reason, event.actor, event.exit_status)
        rows.append(
            (
                event.id,
                event.session_id,
                event.started_at,
                event.occurred_at,
                event.not_before,
                event.not_after,
                _place(servers, (event.hub, event.username, event.server_name)),
                _place(circumstances, told),
                *(
                    _place(facts, canonical(part)) if part else None
                    for part in (parts.request, parts.server, parts.other)
                ),
                None if parts.node is None else _place(nodes, parts.node),
            )
        )
    names = _columns(servers)
    circumstance_digests = [digest_of(told) for told in circumstances]
    fact_digests = [digest(text) for text in facts]
    return Batch(
        repeated=[
            *names,
            circumstance_digests,
            *_columns(circumstances),
            fact_digests,
            list(facts),
            list(nodes),
        ],
        found_by=[*names, circumstance_digests, fact_digests, list(nodes)],
        rows=_columns(rows),
        filed_at=[event.started_at or event.occurred_at for event in events],
    )


def _place(places: dict[_Value, int], value: _Value) -> int:
    """Values are numbered from 1 in the order of their first time."""
    return places.setdefault(value, len(places) + 1)


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
