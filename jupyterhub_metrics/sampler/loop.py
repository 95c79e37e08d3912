"""Samples at fixed times into the ring, through a buffer that outlives the database's absences.

Called by :mod:`.command`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from .._tasks import end
from ..errors import MetricsError
from .failures import SampleRefused
from .ring import Account, Complaints
from .rounds import Found, PodUse, Rounds
from .samples import Sample

log = logging.getLogger(__name__)

MOST_IN_A_BATCH: Final = 2000
LONGEST_PAUSE_SECONDS: Final = 60.0
LAST_WORDS_SECONDS: Final = 10.0
"""How long a stop waits for what is still in the buffer."""


class Ring(Protocol):
    """Where samples go. Raises DatabaseUnavailable, SchemaMismatch or SampleRefused."""

    async def write(self, samples: list[Sample], pods: list[PodUse] | None = None) -> Account: ...


class Buffer:
    """What is not written yet: at most ``most`` samples; then the oldest go, and are counted."""

    def __init__(self, most: int) -> None:
        self._samples: deque[Sample | PodUse] = deque(maxlen=most)
        self.lost = 0

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, found: Found) -> None:
        """Keep what a round found."""
        fresh: list[Sample | PodUse] = [*found.samples, *found.pods]
        for one in fresh:
            self.lost += len(self._samples) == self._samples.maxlen
            self._samples.append(one)

    def batch(self, most: int = MOST_IN_A_BATCH) -> tuple[Sample | PodUse, ...]:
        """The oldest, which stay until :meth:`drop` is told of them."""
        return tuple(self._samples[place] for place in range(min(most, len(self._samples))))

    def drop(self, written: tuple[Sample | PodUse, ...]) -> None:
        """Let go of a batch that is written; some of it may have gone already."""
        for one in written:
            if self._samples and self._samples[0] is one:
                self._samples.popleft()


class SamplingLoop:
    """Reads the node and the containers, each at its interval, until it is stopped."""

    def __init__(
        self,
        rounds: Rounds,
        ring: Ring,
        *,
        node_seconds: float,
        container_seconds: float,
        batch_seconds: float,
        buffer: Buffer,
        samples: int | None = None,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._rounds = rounds
        self._ring = ring
        self._intervals = {rounds.node: node_seconds, rounds.containers: container_seconds}
        self._batch_seconds = batch_seconds
        self._buffer = buffer
        # the first reading is only what the second one is compared with
        self._left = None if samples is None else samples + 1
        self._seconds = seconds
        self._complaints = Complaints(log.warning)
        self._complaint = ""
        self._told_lost = 0
        self.errors = 0

    async def run(self, stop: asyncio.Event) -> int:
        """Samples until ``stop`` is set or all were taken; gives how many could not be written."""
        writing = asyncio.create_task(self._write_for_ever(), name="write samples")
        reading = [
            asyncio.create_task(
                self._read_for_ever(read, every, stop), name=f"read {read.__name__}"
            )
            for read, every in self._intervals.items()
        ]
        try:
            await asyncio.gather(*reading)
        finally:
            await end((*reading, writing))
        with contextlib.suppress(asyncio.TimeoutError, MetricsError):
            await asyncio.wait_for(self._write_all(), LAST_WORDS_SECONDS)
        return len(self._buffer)

    async def _write_all(self) -> None:
        while self._buffer:
            await self._write()

    async def _read_for_ever(
        self, read: Callable[[], Found], every: float, stop: asyncio.Event
    ) -> None:
        left, due = self._left, self._seconds()
        while not stop.is_set() and left != 0:
            try:
                self._buffer.add(await asyncio.to_thread(read))
            except Exception:
                self.errors += 1
                log.exception("A reading failed for a reason this code does not know")
            left = None if left is None else left - 1
            # a reading that took too long, or a suspended machine, is not caught up with
            due = max(due + every, self._seconds())
            if left != 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(due - self._seconds(), 0))

    async def _write_for_ever(self) -> None:
        pause = self._batch_seconds
        while True:
            await asyncio.sleep(pause)
            try:
                await self._write_all()
                pause = self._batch_seconds
            except MetricsError as error:
                pause = min(max(2 * pause, 1.0), max(LONGEST_PAUSE_SECONDS, self._batch_seconds))
                self._complain(str(error))
            except Exception:
                self.errors += 1
                log.exception("Samples were not written for a reason this code does not know")

    async def _write(self) -> None:
        """One batch. Raises DatabaseUnavailable or SchemaMismatch, and keeps it then."""
        batch = self._buffer.batch()
        try:
            await self._take(batch)
        except SampleRefused:
            for one in batch:
                try:
                    await self._take((one,))
                except SampleRefused as error:
                    log.warning("A sample is dropped: %s", error)
        self._buffer.drop(batch)
        if self._complaint:
            log.info(
                "The database is there again; %d samples wait to be written", len(self._buffer)
            )
            self._complaint = ""
        if self._buffer.lost > self._told_lost:
            log.warning(
                "%d samples were lost: the buffer was full", self._buffer.lost - self._told_lost
            )
            self._told_lost = self._buffer.lost

    async def _take(self, batch: tuple[Sample | PodUse, ...]) -> None:
        samples = [one for one in batch if isinstance(one, Sample)]
        pods = [one for one in batch if isinstance(one, PodUse)]
        self._complaints.note(await self._ring.write(samples, pods))

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            log.warning("Samples are kept here until they can be written: %s", complaint)
            self._complaint = complaint
