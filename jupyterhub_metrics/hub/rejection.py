"""Requests for a server that never became a session.

No spawner method sees them, so ``hub.hooks`` looks from around the Hub's spawn handler.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from tornado.web import HTTPError

from ..model import Event


@dataclass
class Request:
    """One request for a server; ``recorded`` once an event tells what became of it.

    Tasks that the handler starts share the object, so the spawner's hook can mark it.
    """

    username: str
    server_name: str
    actor: str | None = None
    recorded: bool = False

    def rejected(self, hub: str, reason: str, at: datetime) -> Event:
        """The event that tells of it; the request counts as recorded from now on."""
        self.recorded = True
        return Event(
            kind="rejected",
            hub=hub,
            username=self.username,
            server_name=self.server_name,
            occurred_at=at,
            source="hub",
            reason=reason,
            actor=self.actor,
        )


_request: ContextVar[Request | None] = ContextVar("jupyterhub_metrics_request", default=None)


@contextlib.contextmanager
def requesting(request: Request) -> Iterator[None]:
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def current_request() -> Request | None:
    return _request.get()


def mark_recorded() -> None:
    """The request under way has become a session, which tells of it."""
    request = _request.get()
    if request is not None:
        request.recorded = True


def reason_of_rejection(error: BaseException) -> str | None:
    """Why JupyterHub refused, by its answer; None for what was no refusal of a new server.

    A 429 with ``Retry-After`` is JupyterHub's spawn throttle, one without its limit of active
    servers; 403 is a login that could not be refreshed; a start that is already pending is a
    RuntimeError (all in JupyterHub's ``BaseHandler.spawn_single_user``).
    """
    if isinstance(error, RuntimeError):
        return None
    if not isinstance(error, HTTPError):
        return "error"
    if error.status_code == 429:
        headers = getattr(error, "headers", None) or {}
        return "throttled" if "Retry-After" in headers else "server_limit"
    if error.status_code == 403:
        return "auth_expired"
    return "refused" if error.status_code < 500 else "error"
