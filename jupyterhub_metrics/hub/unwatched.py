"""Servers that JupyterHub calls ready and whose end it waits for no longer, or never did.

JupyterHub takes the route from its proxy before it stops a server, and forgets the stop where that
raises, as it does while the proxy is away (JupyterHub 5 at once, 6 after half a minute). One whose
start was cancelled is then called ready though nothing was told of it; one that died is not polled
again and called ready for ever. Called by the recording spawner, for the recorder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from jupyterhub.utils import AnyTimeoutError, make_ssl_context

from .._tasks import end, within
from .actor import HUB_POLL, acting
from .runs import row_id

LOOK_SECONDS = 0.5
LOOKS = 4
"""In a row: while the Hub cancels a start it calls the server ready for a second, too."""

ANSWER_SECONDS = 1.0
_TLS_PARTS = ("key", "cert", "ca")


class Unwatched:
    """``serves`` is told of a spawner whose server answers, though its start was cancelled.

    One that is gone is ended as the Hub does when its poll finds it gone.
    """

    def __init__(
        self,
        serves: Callable[[Any], None],
        log: logging.Logger,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._serves = serves
        self._log = log
        self._look_seconds = look_seconds
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def look_after(self, spawner: Any) -> None:
        """See that the Hub comes to a conclusion. Call it from the event loop."""
        number = row_id(spawner)
        if number in self._tasks:
            return
        name = f"metrics-unwatched-{spawner._log_name}"
        self._tasks[number] = asyncio.create_task(self._conclude(spawner), name=name)
        self._tasks[number].add_done_callback(lambda _: self._tasks.pop(number, None))

    @property
    def looking(self) -> bool:
        """Whether there is one whose conclusion is still to come."""
        return bool(self._tasks)

    async def close(self) -> None:
        """Look after none any more; the Hub's next start settles what is left."""
        await end(self._tasks.values())

    async def _conclude(self, spawner: Any) -> None:
        try:
            if await self._is_gone(spawner):
                self._log.warning(
                    "Server %s: found the Hub calling it ready though it is gone, as it does where "
                    "its proxy was away when it was to be stopped; ends it as the Hub's poll would",
                    spawner._log_name,
                )
                with acting(HUB_POLL):
                    await spawner.user.stop(spawner.name)
        except Exception:  # noqa: BLE001 - its traceback is logged
            self._log.exception(
                "Cannot end %s, which is gone; the Hub calls it ready until its next start",
                spawner._log_name,
            )

    async def _is_gone(self, spawner: Any) -> bool:
        """Whether it is gone and the Hub does nothing about it; False once the Hub knows more."""
        started, looks = spawner.orm_spawner.started, 0
        while True:
            await asyncio.sleep(self._look_seconds)
            if self._is_settled(spawner, started):
                return False
            looks = 0 if spawner.pending else looks + 1
            if looks < LOOKS:
                continue
            status = await spawner.poll()
            answers = status is None and await _answers(spawner)
            if self._is_settled(spawner, started):
                return False
            if spawner.pending:
                continue
            if answers:
                self._serves(spawner)
            if answers or status is not None:
                return not answers

    def _is_settled(self, spawner: Any, started: Any) -> bool:
        """It was ended, or started again, or the Hub waits for its end."""
        same = spawner.orm_spawner.started == started
        return not same or not spawner.active or bool(spawner._callbacks)


async def _answers(spawner: Any) -> bool:
    """Whether it answers what the Hub asks a server before it calls it ready.

    As ``jupyterhub.user.User`` asks, which does not where a start was cancelled.
    """
    key, cert, ca = (spawner.user.settings.get(f"internal_ssl_{part}") for part in _TLS_PARTS)
    tls = make_ssl_context(key, cert, cafile=ca)
    question = spawner.server.wait_up(ANSWER_SECONDS, http=True, ssl_context=tls, extra_path="api")
    try:
        # its own limit does not hold while one that has accepted says nothing
        await within(ANSWER_SECONDS, question)
    except AnyTimeoutError:
        return False
    return True
