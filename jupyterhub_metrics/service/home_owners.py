"""Whose home a directory is, by its name. Pure. Called by :mod:`.user_families`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from . import slugs

NAMES: Final = (slugs.escaped, slugs.safe, str)
"""What the home of a user may be called: as KubeSpawner's two schemes have it, or as the user."""


@dataclass(frozen=True)
class Homes:
    """Bytes by namespace and name of a directory, as last read, and users that the groups and
    sessions of late do not name, as Hub and name."""

    sizes: Mapping[tuple[str, str], float]
    further_users: Iterable[tuple[str, str]] = ()


@dataclass(frozen=True)
class Owned:
    """Bytes by namespace and name of a user; ``unknown`` directories are nobody's."""

    sizes: Mapping[tuple[str, str], float] = field(default_factory=dict)
    unknown: int = 0


def owned(sizes: Mapping[tuple[str, str], float], users: Iterable[tuple[str, str]]) -> Owned:
    """The sizes by whose they are, of ``users`` as namespace and name.

    Of two directories of one user the larger one counts: one is from before the other scheme. A
    directory that could be of two users is of neither.
    """
    claims: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for namespace, username in users:
        for name in {named(username) for named in NAMES}:
            if (namespace, name) in sizes:
                claims[namespace, name].add(username)
    found: dict[tuple[str, str], float] = {}
    unknown = len(sizes)
    for (namespace, name), claimants in claims.items():
        if len(claimants) == 1:
            [username] = claimants
            size = max(sizes[namespace, name], found.get((namespace, username), 0.0))
            found[namespace, username] = size
            unknown -= 1
    return Owned(found, unknown)
