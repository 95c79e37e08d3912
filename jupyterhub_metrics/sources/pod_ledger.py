"""The pods of one namespace as lists and watches tell of them, and those that went.

Kept by ``sources.pod_follower``, read by ``sources.pods``. No I/O and no clock: every call says
when. Nothing here ends a pod because an answer failed to come.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .pod_json import SeenPod
from .world import GonePod, Pod

log = logging.getLogger(__name__)

DRAIN: Final = timedelta(seconds=2)
"""What piled up while a connection stood still is taken to arrive without a pause, or within this
time of its first one; until then nobody knows whether more follows."""

MAX_UNACKNOWLEDGED: Final = 100_000
"""Pods that went and that nobody has taken note of; beyond it the oldest are let go."""


class InStep:
    """The last moment up to which all that happened is sure to be known.

    A list is sure of the moment at which it was asked for. A watch says nothing about when
    something happened: after a stall, old news arrives like new. So a moment at which all that
    had come was read counts only once ``DRAIN`` has passed since.
    """

    def __init__(self) -> None:
        self._sure: datetime | None = None
        self._dry: deque[datetime] = deque()

    def listed(self, asked_at: datetime) -> None:
        self._dry.clear()
        self._sure = asked_at

    def ran_dry(self, at: datetime) -> None:
        """All that a watch had brought was read at ``at``."""
        # a few a second are enough, and bound the queue
        if not self._dry or abs(at - self._dry[-1]) >= DRAIN / 8:
            self._dry.append(at)

    def until(self, now: datetime) -> datetime | None:
        """None before the first list. Never after ``now``, wherever the clock has jumped to."""
        while self._dry and self._dry[0] <= now - DRAIN:
            moment = self._dry.popleft()
            if self._sure is not None:
                self._sure = max(self._sure, moment)
        return None if self._sure is None else min(self._sure, now)


@dataclass(frozen=True)
class Seen:
    """What a complete list showed; it held at a moment in ``[asked_at, answered_at]``."""

    pods: Collection[SeenPod]
    asked_at: datetime
    answered_at: datetime


class PodLedger:
    """The state: pods by name, and the pods that went until they are acknowledged."""

    def __init__(self) -> None:
        self.in_step = InStep()
        self._pods: dict[str, Pod] = {}
        self._gone: deque[GonePod] = deque()
        self._overfull = False

    @property
    def pods(self) -> Collection[Pod]:
        return self._pods.values()

    @property
    def gone(self) -> Collection[GonePod]:
        return self._gone

    def replace(self, seen: Seen) -> None:
        """Takes a complete list in one step: whatever it lacks went since we were last in step."""
        gone_after = self.in_step.until(seen.asked_at)
        pods = {}
        for item in seen.pods:
            pods[item.pod.name] = self._best(item)
        for name, known in self._pods.items():
            found = pods.get(name)
            if found is None or found.uid != known.uid:
                self._went(known, gone_after or seen.asked_at, seen.answered_at)
        self._pods = pods
        self.in_step.listed(seen.asked_at)

    def put(self, seen: SeenPod, at: datetime) -> None:
        """A pod was added or changed, as heard at ``at``."""
        known = self._pods.get(seen.pod.name)
        if known is not None and known.uid != seen.pod.uid:
            self._went(known, self.in_step.until(at) or at, at)
        self._pods[seen.pod.name] = self._best(seen)

    def remove(self, seen: SeenPod, at: datetime) -> None:
        """A pod was deleted, as heard at ``at``; one that is not known has been told of before."""
        known = self._pods.get(seen.pod.name)
        if known is None or known.uid != seen.pod.uid:
            return
        last = self._best(seen)
        del self._pods[seen.pod.name]
        self._went(last, self.in_step.until(at) or at, at)

    def acknowledge(self, gone: Iterable[GonePod]) -> None:
        """Forgets these pods that went; others, and those that went since, stay."""
        done = set(gone)
        self._gone = deque(item for item in self._gone if item not in done)
        self._overfull = False

    def _best(self, seen: SeenPod) -> Pod:
        """The pod as seen; where only its identity could be read, as it was known before."""
        known = self._pods.get(seen.pod.name)
        if not seen.whole and known is not None and known.uid == seen.pod.uid:
            return known
        return seen.pod

    def _went(self, pod: Pod, gone_after: datetime, gone_before: datetime) -> None:
        if len(self._gone) >= MAX_UNACKNOWLEDGED:
            self._gone.popleft()
            if not self._overfull:
                log.error(
                    "found %d deleted pods that no check has taken note of; the oldest are let go; "
                    "see why the checks fail",
                    MAX_UNACKNOWLEDGED,
                )
            self._overfull = True
        self._gone.append(GonePod(pod, min(gone_after, gone_before), gone_before))
