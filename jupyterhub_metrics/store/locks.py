"""The lock of a Hub, which makes those who write for it take turns. Called by :mod:`.store`."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import asyncpg

from .queries import query


@asynccontextmanager
async def writing_for(connection: asyncpg.Connection, hubs: Iterable[str]) -> AsyncIterator[None]:
    """A transaction for which other writers of these Hubs wait."""
    async with connection.transaction():
        await lock_hubs(connection, hubs)
        yield


async def lock_hubs(connection: asyncpg.Connection, hubs: Iterable[str]) -> None:
    """Take the locks of these Hubs until the transaction ends."""
    # in an order that two writers share, so that neither waits for ever
    await connection.execute(query("lock_hubs"), sorted({_key(hub) for hub in hubs}))


def _key(hub: str) -> int:
    digest = hashlib.blake2b(hub.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
