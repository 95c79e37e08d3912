"""Series of single users: who is in which group, what each one requests, uses and keeps. Pure.

Called by :mod:`.snapshots`, where they are switched on. The names and labels are those of
jupyterhub-groups-exporter, whose dashboards work on them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Metric

from ..store import Member, UserRequests
from . import slugs
from .home_owners import Homes, Owned, owned
from .present_families import family

LABELS: Final = ("namespace", "usergroup", "username", "username_escaped", "username_safe")

AMOUNTS: Final = {
    "memory_requested_bytes": (
        "memory_requests_bytes",
        "Memory that a user's open sessions request",
    ),
    "cpu_requested_cores": (
        "cpu_requests_seconds",
        "Cores that a user's open sessions request: core seconds a second",
    ),
    "memory_used_bytes": (
        "memory_bytes",
        "Memory that a user's open sessions use, by samples of the last five minutes",
    ),
    "cpu_used_cores": (
        "cpu_seconds",
        "Cores that a user's open sessions use: core seconds a second, by samples of the last five "
        "minutes",
    ),
}
"""Of :class:`.UserRequests`, each as a series."""

NO_GROUP: Final = "none"
"""Stands for the group of those who are in none."""

MULTIPLE: Final = "multiple"
"""Stands for the groups of those who are in several."""


@dataclass(frozen=True)
class UserRules:
    """Which users are shown, and how.

    ``allowed_groups`` are the only ones that count, unless there are none. Who is in several of
    them is counted in each, or under ``multiple`` if ``count_in_each`` is false. ``namespaces``
    has the Kubernetes namespace of a Hub; another one's is its name. ``limit`` is how many users
    are shown at most.
    """

    allowed_groups: Collection[str] = ()
    count_in_each: bool = True
    namespaces: Mapping[str, str] = field(default_factory=dict)
    limit: int = 10_000

    def namespace_of(self, hub: str) -> str:
        return self.namespaces.get(hub, hub)


def user_families(
    rules: UserRules,
    members: Iterable[Member],
    users: Sequence[UserRequests],
    homes: Homes | None = None,
) -> list[Metric]:
    """Info, amounts and homes of every user and group, and how many users are shown and left out.

    Users are the members of groups, those who had a server lately, and those who have a home.
    Over the limit, those with open sessions come first, the others by Hub and name.
    """
    groups = _groups(rules, members)
    requests = {(user.hub, user.username): user for user in users}
    busy = {user for user, found in requests.items() if found.open_sessions}
    found_homes, housed = _homes(rules, homes, {*groups, *requests})
    everyone = sorted({*groups, *requests, *housed}, key=lambda user: (user not in busy, user))
    shown = everyone[: rules.limit]
    info: dict[tuple[str, ...], float] = {}
    amounts: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in AMOUNTS}
    sizes: dict[tuple[str, ...], float] = {}
    for hub, username in shown:
        requested = requests.get((hub, username))
        namespace = rules.namespace_of(hub)
        size = found_homes.sizes.get((namespace, username))
        names = (username, slugs.escaped(username), slugs.safe(username))
        for group in _counted_in(rules, groups.get((hub, username), [])):
            key = (namespace, group, *names)
            info[key] = 1.0
            if size is not None:
                sizes[key] = size
            # two Hubs may share a namespace, in which a user has one home
            for name in amounts:
                amount: float | None = getattr(requested, name, None)
                if amount is not None:
                    amounts[name][key] = amounts[name].get(key, 0.0) + amount
    return [
        family("jupyterhub_user_group_info", "Who is in which group; always 1", LABELS, info),
        *(
            family(f"jupyterhub_user_group_{series}", text, LABELS, amounts[name])
            for name, (series, text) in AMOUNTS.items()
        ),
        family(
            "jupyterhub_user_group_home_dir_bytes",
            "Size of a user's home directory, as last read",
            LABELS,
            sizes,
        ),
        _count("user_series_users", "Users who are shown one by one", len(shown)),
        _count("user_series_limit", "How many users may be shown one by one", rules.limit),
        _count(
            "user_series_left_out",
            "Users who are not shown one by one because of the limit",
            len(everyone) - len(shown),
        ),
        _count(
            "user_series_unknown_homes",
            "Directories that were read and are of no user, or could be of several",
            found_homes.unknown,
        ),
    ]


def _homes(
    rules: UserRules, homes: Homes | None, users: Collection[tuple[str, str]]
) -> tuple[Owned, set[tuple[str, str]]]:
    """Whose each home is, and the users, as Hub and name, who have one."""
    if homes is None:
        return Owned(), set()
    everyone = {*users, *homes.further_users}
    found = owned(homes.sizes, {(rules.namespace_of(hub), name) for hub, name in everyone})
    return found, {
        user for user in everyone if (rules.namespace_of(user[0]), user[1]) in found.sizes
    }


def _groups(rules: UserRules, members: Iterable[Member]) -> dict[tuple[str, str], list[str]]:
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for member in members:
        counts = not rules.allowed_groups or member.group_name in rules.allowed_groups
        groups[member.hub, member.username] += [member.group_name] if counts else []
    return groups


def _counted_in(rules: UserRules, groups: Sequence[str]) -> Sequence[str]:
    if not groups:
        return (NO_GROUP,)
    if len(groups) > 1 and not rules.count_in_each:
        return (MULTIPLE,)
    return groups


def _count(name: str, text: str, value: float) -> Metric:
    return family(f"jupyterhub_metrics_{name}", text, (), {(): value})
