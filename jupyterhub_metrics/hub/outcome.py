"""How a server's run ended, decided from what was noted, seen and asked. Pure.

Called by the recorder from the post-stop hook, where JupyterHub has already cleared its own
record of the run.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .actor import HUB_POLL, HUB_START, stop_reason

_EXIT_CODE = re.compile(r"\bExitCode=(-?\d{1,9})\b")


@dataclass(frozen=True)
class Ending:
    """What is known when the post-stop hook runs.

    ``found_gone`` is True if the poll at the beginning of the stop (or an earlier one) said that
    the process was gone, False if that poll said it was alive, None if there was no such poll.
    ``exit_status`` is the first status a poll gave that was not None: later ones may be made up
    (KubeSpawner deletes the pod within ``poll`` and then reports 1). ``awaiting_answer``: its
    process had been started.
    """

    owner: str
    was_ready: bool
    actor: str | None
    noted_stopper: str | None
    found_gone: bool | None
    exit_status: int | None
    alive_at: datetime
    gone_at: datetime | None
    now: datetime
    error: BaseException | None = None
    stop_error: BaseException | None = None
    awaiting_answer: bool = False
    status_is_kubespawners: bool = False


@dataclass(frozen=True)
class Outcome:
    """One event to record: its kind, bounds, reason, source, actor and exit status."""

    kind: str
    not_before: datetime
    not_after: datetime
    reason: str | None
    source: str = "hub"
    actor: str | None = None
    exit_status: int | None = None
    error: str | None = None


def decide(ending: Ending) -> list[Outcome]:
    """The events that tell the ending, in order: one, or a failure and a stop that raised."""
    if ending.was_ready:
        return [_end_of_running(ending)]
    outcomes = [_end_of_start(ending)]
    if ending.stop_error is not None and ending.actor != HUB_START:
        outcomes.append(_stop_failed(ending))
    return outcomes


def _end_of_running(ending: Ending) -> Outcome:
    if ending.stop_error is not None:
        return _stop_failed(ending)
    if ending.found_gone:
        stopper = ending.noted_stopper if ending.actor == HUB_START else None
        return Outcome(
            kind="stopped",
            not_before=ending.alive_at,
            not_after=max(ending.alive_at, ending.gone_at or ending.now),
            reason=stop_reason(stopper, ending.owner) or "died",
            source="hub_start" if ending.actor == HUB_START else "hub_poll",
            actor=stopper,
            exit_status=_believable_status(ending),
        )
    # An end that was asked for is known by its moment, whoever asked.
    actor = None if ending.actor == HUB_POLL else ending.actor
    return Outcome(
        kind="stopped",
        not_before=ending.now,
        not_after=ending.now,
        # code of the deployment within the Hub stops servers in no one's name
        reason=stop_reason(actor, ending.owner) or "stopped_by_hub",
        actor=actor,
    )


def end_of_leftover(ending: Ending) -> Outcome:
    """The end of a server whose stop had raised, as a poll found it later."""
    return Outcome(
        kind="stopped",
        not_before=ending.alive_at,
        not_after=max(ending.alive_at, ending.now),
        reason=stop_reason(ending.noted_stopper, ending.owner) or "died",
        source="hub_poll",
        actor=ending.noted_stopper,
        exit_status=_believable_status(ending),
    )


def _end_of_start(ending: Ending) -> Outcome:
    if ending.actor == HUB_START:
        return Outcome(
            kind="failed",
            not_before=ending.alive_at,
            not_after=max(ending.alive_at, ending.gone_at or ending.now),
            reason="hub_restarted",
            source="hub_start",
        )
    exit_status = None
    if ending.awaiting_answer and ending.found_gone:
        reason, exit_status = "exited", ending.exit_status
    elif ending.error is None:
        reason = "cancelled"
    elif is_timeout(ending.error):
        reason = "timeout"
    else:
        reason = "exception"
    return Outcome(
        kind="failed",
        not_before=ending.now,
        not_after=ending.now,
        reason=reason,
        # a poll ends a start only where the Hub has forgotten that somebody cancelled it
        actor=ending.actor if reason == "cancelled" and ending.actor != HUB_POLL else None,
        exit_status=exit_status,
        error=class_name(ending.error) if reason == "exception" else None,
    )


def _stop_failed(ending: Ending) -> Outcome:
    return Outcome(
        kind="stop_failed",
        not_before=ending.now,
        not_after=ending.now,
        reason="exception",
        actor=ending.actor,
        error=class_name(ending.stop_error),
    )


def _believable_status(ending: Ending) -> int | None:
    """None where a status may be made up: 0 after a Hub's restart, 1 of a KubeSpawner."""
    if ending.actor == HUB_START and ending.exit_status == 0:
        return None
    if ending.status_is_kubespawners and ending.exit_status == 1:
        return None
    return ending.exit_status


def exit_status_of(status: Any) -> int | None:
    """The number in what a poll returned: an int, or DockerSpawner's ``ExitCode=137, …``."""
    if isinstance(status, int) and not isinstance(status, bool):
        return status if abs(status) < 2**31 else None
    found = _EXIT_CODE.search(status) if isinstance(status, str) else None
    return int(found.group(1)) if found else None


def is_timeout(error: BaseException) -> bool:
    """Whether JupyterHub gave up waiting (it marks such an error with ``reason``)."""
    if getattr(error, "reason", None) == "timeout":
        return True
    return isinstance(error, asyncio.TimeoutError | TimeoutError)


def class_name(error: BaseException | None) -> str | None:
    """The class of an error, never its text, which may carry addresses or secrets."""
    if error is None:
        return None
    kind: type[Any] = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"
