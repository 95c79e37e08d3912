"""The numbers of a Hub's lock, which makes those who write for it take turns. Pure.

Called by :mod:`.store`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def hub_locks(hubs: Iterable[str]) -> list[int]:
    """One for each Hub, in an order that two writers share, so that neither waits for ever."""
    return sorted({_key(hub) for hub in hubs})


def _key(hub: str) -> int:
    digest = hashlib.blake2b(hub.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
