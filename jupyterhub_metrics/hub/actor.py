"""Who is acting: a context variable set around the Hub's own paths.

Which spawner method runs proves nothing about who asked (KubeSpawner's ``poll`` calls ``stop``),
so the asker travels in the context, which tasks made on the way inherit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

HUB_SHUTDOWN = "hub:shutdown"
HUB_START = "hub:start"
HUB_POLL = "hub:poll"

_actor: ContextVar[str | None] = ContextVar("jupyterhub_metrics_actor", default=None)


@contextlib.contextmanager
def acting(actor: str | None) -> Iterator[None]:
    """Everything within, and every task started within, is done by ``actor``."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> str | None:
    """``user:NAME``, ``service:NAME``, one of the Hub's own, or None where nobody said."""
    return _actor.get()


def actor_of(requester: Any) -> str | None:
    """The actor for a handler's ``current_user``: a Hub user or service, or None."""
    name = getattr(requester, "name", None)
    if name is None:
        return None
    kind = "service" if getattr(requester, "kind", "user") == "service" else "user"
    return f"{kind}:{name}"


def stop_reason(actor: str | None, owner: str) -> str | None:
    """Why a running server that was asked to stop ended, by who asked; None if nobody said."""
    if actor is None:
        return None
    kind, _, name = actor.partition(":")
    if kind == "service":
        return "stopped_by_service"
    if kind == "user":
        return "stopped_by_user" if name == owner else "stopped_by_admin"
    return "hub_shutdown" if actor == HUB_SHUTDOWN else "stopped_by_hub"
