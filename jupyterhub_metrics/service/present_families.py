"""What is true now, as families of series. Pure.

Called by :mod:`.snapshots`. Made anew from each snapshot, so that no series outlives what it is
of. Numbers that nobody knows have no series.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from ..store import ActiveUsers, OpenSessions
from .labels import label_value

STATES: Final = ("starting", "running")
PERIODS: Final = {"now": "now", "24h": "day", "7d": "week", "30d": "month"}
"""The value of the label, and the field of ActiveUsers that it is of."""

REQUESTS: Final = {
    "memory_requested_bytes": "Memory that open sessions request",
    "cpu_requested_cores": "Cores that open sessions request",
    "gpus_requested": "GPUs that open sessions request",
}

USED: Final = {
    "memory_used_bytes": "Memory that open sessions use, by samples of the last five minutes",
    "cpu_used_cores": "Cores that open sessions use, by samples of the last five minutes",
}


@dataclass(frozen=True)
class Disk:
    """Of the file system that the service's folder lies on."""

    size_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Seen:
    """What one snapshot found, beside users one by one."""

    sessions: Sequence[OpenSessions]
    users: Sequence[ActiveUsers]
    database_bytes: int
    database_limit_bytes: int | None
    disk: Disk


def present_families(seen: Seen, hubs: Iterable[str]) -> list[Metric]:
    """The families of ``seen``; ``hubs`` have series also while nothing runs there."""
    limit = seen.database_limit_bytes
    known = {*hubs, *(group.hub for group in seen.sessions), *(users.hub for users in seen.users)}
    return [
        _open(seen.sessions, known),
        _running(seen.sessions),
        *(_requested(name, seen.sessions, known) for name in REQUESTS),
        *(_summed(name, USED[name], seen.sessions, {}) for name in USED),
        _users(seen.users, known),
        _single(
            "database_size_bytes", "What the whole database takes on disk", seen.database_bytes
        ),
        *([_single("database_limit_bytes", "How large it may become", limit)] if limit else []),
        _single("disk_size_bytes", "Size of the disk under the data folder", seen.disk.size_bytes),
        _single("disk_free_bytes", "What is free of it", seen.disk.free_bytes),
    ]


def family(
    name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]
) -> Metric:
    """A gauge from values by their labels; the labels of two series always differ."""
    made = GaugeMetricFamily(name, text, labels=labels)
    fit: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for key, value in values.items():
        fit[tuple(map(label_value, key))] += value
    for key, value in fit.items():
        made.add_metric(key, value)
    return made


def _open(sessions: Iterable[OpenSessions], hubs: Iterable[str]) -> Metric:
    values: dict[tuple[str, ...], float] = {(hub, state): 0.0 for hub in hubs for state in STATES}
    for group in sessions:
        values[group.hub, group.state] += group.sessions
    return family(
        "jupyterhub_metrics_sessions_open",
        "Sessions that start or run now",
        ["hub", "state"],
        values,
    )


def _running(sessions: Iterable[OpenSessions]) -> Metric:
    values: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for group in sessions:
        if group.state == "running":
            gpus = "" if group.gpus is None else f"{group.gpus:g}"
            key = (group.hub, group.profile or "", group.image or "", group.node or "", gpus)
            values[key] += group.sessions
    return family(
        "jupyterhub_metrics_sessions_running",
        "Sessions that run now, by what each one is",
        ["hub", "profile", "image", "node", "gpus"],
        values,
    )


def _requested(name: str, sessions: Sequence[OpenSessions], hubs: Iterable[str]) -> Metric:
    """0 where nothing is open; nothing where something is, and what it requests is not known."""
    busy = {group.hub for group in sessions}
    idle: dict[tuple[str, ...], float] = {(hub,): 0.0 for hub in hubs if hub not in busy}
    return _summed(name, REQUESTS[name], sessions, idle)


def _summed(
    name: str,
    text: str,
    sessions: Sequence[OpenSessions],
    values: dict[tuple[str, ...], float],
) -> Metric:
    """By Hub, of those sessions of which it is known."""
    for group in sessions:
        value: float | None = getattr(group, name)
        if value is not None:
            values[group.hub,] = values.get((group.hub,), 0.0) + value
    return family(f"jupyterhub_metrics_{name}", text, ["hub"], values)


def _users(users: Iterable[ActiveUsers], hubs: Iterable[str]) -> Metric:
    values: dict[tuple[str, ...], float] = {
        (hub, period): 0.0 for hub in hubs for period in PERIODS
    }
    for active in users:
        for period, name in PERIODS.items():
            values[active.hub, period] = getattr(active, name)
    return family(
        "jupyterhub_metrics_users_active",
        "Users who have a server that is ready, or had one within the period",
        ["hub", "period"],
        values,
    )


def _single(name: str, text: str, value: float) -> Metric:
    return family(f"jupyterhub_metrics_{name}", text, [], {(): value})
