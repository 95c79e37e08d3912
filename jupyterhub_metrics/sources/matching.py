"""Which server of the Hub and which pod is which session's. Pure; called by :mod:`.comparison`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from ..store.checks import CheckedSession
from .world import HubServer, Pod

START_TOLERANCE: Final = timedelta(seconds=1)
"""Some Hubs' databases cut a start to the second."""

POD_TOLERANCE: Final = timedelta(seconds=2)
"""A cluster's clock may be this far behind: a pod is made after its session was requested."""

Key = tuple[str, str]


@dataclass
class Matched:
    """``server_of`` and ``pods_of`` by session; what no session explains stands beside them.

    ``vague`` are the (user, server) that the Hub shows without a start: about them it says
    nothing. ``renamed`` are sessions whose server the Hub shows under another user's name.
    """

    server_of: dict[UUID, HubServer] = field(default_factory=dict)
    unannounced: list[HubServer] = field(default_factory=list)
    vague: set[Key] = field(default_factory=set)
    renamed: list[tuple[CheckedSession, HubServer]] = field(default_factory=list)
    pods_of: dict[UUID, list[Pod]] = field(default_factory=lambda: defaultdict(list))
    pods_of_unannounced: dict[Key, list[Pod]] = field(default_factory=lambda: defaultdict(list))
    unclaimed_pods: list[Pod] = field(default_factory=list)


def match(
    sessions: Sequence[CheckedSession],
    servers: Iterable[HubServer],
    pods: Iterable[Pod],
) -> Matched:
    """Each server and each pod with the session it is of."""
    matched = Matched()
    by_key: dict[Key, list[CheckedSession]] = defaultdict(list)
    by_pod: dict[Key, list[CheckedSession]] = defaultdict(list)
    for session in sessions:
        by_key[session.username, session.server_name].append(session)
        if session.original_username != session.username:
            by_key[session.original_username, session.server_name].append(session)
        if session.namespace and session.pod_name:
            by_pod[session.namespace, session.pod_name].append(session)
    for server in servers:
        _match_server(server, by_key, matched)
    _match_renamed(sessions, matched)
    strangers = {(one.username, one.server_name): one for one in matched.unannounced}
    for pod in pods:
        candidates = by_pod.get((pod.namespace, pod.name), ())
        owner = _owner_of(pod, candidates) or _owner_of(pod, _annotated(pod, by_key))
        key = (pod.username or "", pod.server_name or "")
        stranger = strangers.get(key) if strangers else None
        if stranger is not None and _is_later(stranger, owner, pod):
            matched.pods_of_unannounced[key].append(pod)
        elif owner is None:
            matched.unclaimed_pods.append(pod)
        else:
            matched.pods_of[owner.id].append(pod)
    return matched


def _match_server(
    server: HubServer, by_key: Mapping[Key, list[CheckedSession]], matched: Matched
) -> None:
    key = (server.username, server.server_name)
    if server.started_at is None:
        matched.vague.add(key)
        return
    nearest, least = None, START_TOLERANCE
    for session in by_key.get(key, ()):
        apart = abs(session.started_at - server.started_at)
        if apart > least or session.username != server.username:
            continue
        if nearest is None or apart < least:
            nearest, least = session, apart
    if nearest is not None:
        matched.server_of[nearest.id] = server
    else:
        matched.unannounced.append(server)


def _match_renamed(sessions: Sequence[CheckedSession], matched: Matched) -> None:
    """A server under a new name shows the very start that its session has, to the microsecond.

    Where starts are whole seconds, two users may share one, and nothing is concluded.
    """
    if not matched.unannounced:
        return
    lost: dict[tuple[str, datetime], list[CheckedSession]] = defaultdict(list)
    for session in sessions:
        if session.open and session.id not in matched.server_of:
            lost[session.server_name, session.started_at].append(session)
    rest = []
    for server in matched.unannounced:
        started_at = server.started_at
        candidates = lost.get((server.server_name, started_at), []) if started_at else []
        if len(candidates) == 1 and started_at is not None and started_at.microsecond:
            matched.renamed.append((candidates[0], server))
            matched.server_of[candidates[0].id] = server
        else:
            rest.append(server)
    matched.unannounced = rest


def _is_later(server: HubServer, owner: CheckedSession | None, pod: Pod) -> bool:
    """Whether the server that nobody announced had begun when the pod was made, and the session
    that is known before it."""
    started_at, created_at = server.started_at, pod.created_at
    if started_at is None or (created_at and started_at > created_at + POD_TOLERANCE):
        return False
    return owner is None or owner.started_at < started_at


def _annotated(pod: Pod, by_key: Mapping[Key, list[CheckedSession]]) -> Sequence[CheckedSession]:
    if pod.username is None:
        return ()
    return by_key.get((pod.username, pod.server_name or ""), ())


def _owner_of(pod: Pod, candidates: Sequence[CheckedSession]) -> CheckedSession | None:
    """The latest session that had begun when the pod was made, an open one first.

    A clock that was set back dates a later start before one that has ended.
    """
    owner = None
    for session in candidates:
        if owner is None or (session.open, session.started_at) > (owner.open, owner.started_at):
            owner = session if had_begun(session, pod) else owner
    return owner


def had_begun(session: CheckedSession, pod: Pod) -> bool:
    """Whether the session may have when the pod was made; True if that is not known."""
    return pod.created_at is None or session.started_at <= pod.created_at + POD_TOLERANCE
