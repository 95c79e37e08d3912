"""The fold of events into a session, written down a second time, for tests to compare with.

It follows ``docs/store.md`` rule by rule and shares no code with the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jupyterhub_metrics.image import parse_image
from jupyterhub_metrics.model import Event, Session

FACTS_RANK = {
    "requested": 1,
    "ready": 2,
    "failed": 3,
    "stopped": 4,
    "stop_failed": 5,
    "corrected": 6,
}
COLUMNS_FROM_FACTS = (
    "started_by",
    "display_name",
    "spawner_class",
    "profile",
    "image",
    "node",
    "namespace",
    "pod_name",
    "cpu_guarantee_cores",
    "cpu_limit_cores",
    "memory_guarantee_bytes",
    "memory_limit_bytes",
    "gpus",
)


def reference_session(events: Sequence[Event]) -> Session:
    """The session that all these events are about."""
    first = events[0]
    started_at = first.started_at
    end = chosen_end(events)
    ended_at = max(end.occurred_at, started_at) if end else None
    ready = [event for event in events if event.kind == "ready"]
    exact_ready = [event for event in ready if event.not_before == event.not_after]
    ready_at = None
    if exact_ready:
        ready_at = max(min(event.occurred_at for event in exact_ready), started_at)
        if ended_at is not None:
            ready_at = min(ready_at, ended_at)
    if end is None:
        state = "running" if ready else "starting"
    else:
        told = end.source in ("hub", "hub_start")
        counted = [event for event in ready if not told or event.source != "hub_api"]
        state = "failed" if end.kind == "failed" and not counted else "ended"
    facts = merged_facts(events)
    reference = parse_image(facts["image"]) if "image" in facts else None
    seen = exact_ready or any(event.kind == "requested" for event in events)
    return Session(
        id=first.session_id,
        hub=first.hub,
        username=name_after_renames(events),
        server_name=first.server_name,
        started_at=started_at,
        state=state,
        ready_at=ready_at,
        ended_at=ended_at,
        ended_after=max(end.not_before, started_at) if end else None,
        ended_before=max(end.not_after, started_at) if end else None,
        end_reason=end.reason if end else None,
        end_source=end.source if end else None,
        ended_by=end.actor if end else None,
        exit_status=end.exit_status if end else None,
        groups=tuple(facts.get("groups", ())),
        user_options=facts.get("user_options", {}),
        image_name=reference.name if reference else None,
        image_tag=reference.tag if reference else None,
        image_digest=reference.digest if reference else None,
        simulated=any(event.source == "simulation" for event in events),
        inferred=not seen or (end is not None and certainty(end) > 0),
        **{name: facts.get(name) for name in COLUMNS_FROM_FACTS},
    )


def certainty(end: Event) -> int:
    """0 for an end seen at the moment itself, 1 from the container's record, 2 an interval."""
    if end.source == "container":
        return 1
    return 0 if end.not_before == end.not_after else 2


def chosen_end(events: Sequence[Event]) -> Event | None:
    ends = [
        event
        for event in events
        if event.kind in ("stopped", "failed")
        or (event.kind == "corrected" and event.facts.get("corrects") in (None, "end"))
    ]
    seen_alive = [
        event.not_before
        for event in events
        if event.kind == "corrected" and event.facts.get("corrects") == "alive"
    ]
    if seen_alive:
        ends = [end for end in ends if not certainty(end) or end.not_after > max(seen_alive)]
    return min(
        ends,
        key=lambda end: (certainty(end), end.not_after - end.not_before, end.id),
        default=None,
    )


def name_after_renames(events: Sequence[Event]) -> str:
    renames = [event for event in events if event.kind == "renamed" and event.facts.get("username")]
    if not renames:
        return events[0].username
    last = max(renames, key=lambda event: (event.occurred_at, event.id))
    return last.facts["username"]


def merged_facts(events: Sequence[Event]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    describing = [event for event in events if event.kind in FACTS_RANK]
    describing.sort(key=lambda event: (FACTS_RANK[event.kind], event.occurred_at, event.id))
    for event in describing:
        merged.update({name: value for name, value in event.facts.items() if value is not None})
    return merged
