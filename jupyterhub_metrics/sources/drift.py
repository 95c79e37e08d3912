"""Finds where events, the Hub and the cluster disagree, and the events that settle it. Pure.

Called by ``service.checker`` with what each of them said. The rules stand in ``docs/drift.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ..model import Event
from ..store.checks import CheckedSession
from .comparison import DEFAULT_RULES, Comparison, Memory, Rules
from .known import check_ended, check_open
from .strangers import clock_disagreements, orphans, rename, unannounced
from .world import HubServer, HubView, Pod, PodView

__all__ = ["DRIFTS", "Findings", "Memory", "Rules", "diff"]

DRIFTS: Final = (
    "missing",
    "unannounced",
    "renamed",
    "ended_but_running",
    "outlived",
    "pod_gone",
    "pod_finished",
    "pod_moved",
    "pod_orphaned",
    "clock",
)
"""Every kind of disagreement; see the table in ``docs/drift.md``."""


@dataclass(frozen=True)
class Findings:
    """The events that settle what can be settled, and how often each kind of drift was found.

    ``waiting`` are open sessions that are left alone for now: their events may be on the way, or
    they were missed once. ``seen`` is when each session was last vouched for, ``server_of`` and
    ``pod_of`` what runs for it, ``unrecorded`` how many servers only polls can see. ``memory``
    goes into the next comparison.
    """

    corrections: tuple[Event, ...]
    counts: Mapping[str, int]
    waiting: frozenset[UUID]
    seen: Mapping[UUID, datetime]
    server_of: Mapping[UUID, HubServer]
    pod_of: Mapping[UUID, Pod]
    unrecorded: int
    memory: Memory


def diff(
    hub_name: str,
    sessions: Sequence[CheckedSession],
    hub: HubView | None,
    pods: PodView | None,
    memory: Memory,
    *,
    rules: Rules = DEFAULT_RULES,
    pods_expected: bool = False,
) -> Findings:
    """What the three views disagree about.

    ``sessions`` were read after the views were taken: all open ones, and of the ended ones those
    that start when a server of ``hub`` does, and those lately ended without an exact moment.
    ``hub`` and ``pods`` are None where that source did not answer, which ends nothing;
    ``pods_expected`` then says that servers are pods all the same. ``memory`` is that of the
    comparison before.
    """
    found = Comparison(hub_name, sessions, hub, pods, memory, rules, pods_expected=pods_expected)
    unrecorded = 0
    if hub is not None:
        for session, server in found.matched.renamed:
            rename(found, hub, session, server)
        unrecorded = len(unannounced(found, hub))
        found.counts["pod_orphaned"] = orphans(found, hub)
    for session in sessions:
        if session.open:
            check_open(found, session)
            unrecorded += not session.recorded and session.id in found.matched.server_of
        else:
            check_ended(found, session)
    found.counts["clock"] = clock_disagreements(found)
    return Findings(
        corrections=tuple(found.corrections),
        counts={kind: found.counts[kind] for kind in DRIFTS},
        waiting=frozenset(found.waiting),
        seen=found.seen,
        server_of=found.matched.server_of,
        pod_of=found.pod_of,
        unrecorded=unrecorded,
        memory=found.memory(),
    )
