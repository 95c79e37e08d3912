"""The sampling loop: its times, its buffer, and a database that goes and comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from jupyterhub_metrics.errors import DatabaseUnavailable
from jupyterhub_metrics.sampler.failures import SampleRefused
from jupyterhub_metrics.sampler.loop import Buffer, SamplingLoop
from jupyterhub_metrics.sampler.ring import Account
from jupyterhub_metrics.sampler.rounds import Found, PodUse
from jupyterhub_metrics.sampler.samples import Sample


class Readings:
    """Rounds that each give one sample, the first none."""

    def __init__(self) -> None:
        self.nodes = self.others = 0
        self.fails = False

    def node(self) -> Found:
        self.nodes += 1
        if self.fails:
            raise RuntimeError("a file of a kind that nobody knows")
        return Found() if self.nodes == 1 else Found((Sample(self.nodes, True, "n"),))

    def containers(self) -> Found:
        self.others += 1
        return Found()


class Ring:
    """Takes samples unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.taken: list[Sample | PodUse] = []
        self.refused: Callable[[Sample], bool] = lambda sample: False
        self.asked = 0
        self.account = Account(1)

    async def write(self, samples: list[Sample], pods: list[PodUse] | None = None) -> Account:
        self.asked += 1
        if self.away:
            raise DatabaseUnavailable("the database is away")
        if any(self.refused(sample) for sample in samples):
            raise SampleRefused("a sample is none")
        self.taken += [*samples, *(pods or [])]
        return self.account


def loop_of(
    readings: Readings, ring: Ring, *, samples: int | None = None, most: int = 100
) -> SamplingLoop:
    return SamplingLoop(
        readings,  # type: ignore[arg-type]
        ring,
        node_seconds=0.01,
        container_seconds=0.01,
        batch_seconds=0.02,
        buffer=Buffer(most),
        samples=samples,
    )


async def test_so_many_samples_are_taken_and_all_are_written() -> None:
    readings, ring = Readings(), Ring()
    assert await loop_of(readings, ring, samples=5).run(asyncio.Event()) == 0
    assert [sample.sample_time for sample in ring.taken if isinstance(sample, Sample)] == [
        2, 3, 4, 5, 6,
    ]  # fmt: skip
    # several in one transaction
    assert ring.asked < 5 or len(ring.taken) == 5


async def test_a_lost_database_fills_the_buffer_which_drains_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    readings, ring, stop = Readings(), Ring(), asyncio.Event()
    ring.away = True
    running = asyncio.create_task(loop_of(readings, ring, most=10_000).run(stop))
    while readings.nodes < 6 or not ring.asked:
        await asyncio.sleep(0.01)
    assert ring.taken == []
    ring.away = False
    while len(ring.taken) < 5:
        await asyncio.sleep(0.01)
    stop.set()
    assert await running == 0
    times = [sample.sample_time for sample in ring.taken if isinstance(sample, Sample)]
    assert times == list(range(2, len(times) + 2))
    lines = [record.getMessage() for record in caplog.records]
    assert sum("kept here" in line for line in lines) == 1
    assert any("there again" in line for line in lines)


async def test_what_could_not_be_written_at_the_end_is_told() -> None:
    readings, ring = Readings(), Ring()
    ring.away = True
    assert await loop_of(readings, ring, samples=3).run(asyncio.Event()) == 3


async def test_a_sample_that_is_refused_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    readings, ring = Readings(), Ring()
    ring.refused = lambda sample: sample.sample_time == 3
    assert await loop_of(readings, ring, samples=4).run(asyncio.Event()) == 0
    times = [sample.sample_time for sample in ring.taken if isinstance(sample, Sample)]
    assert times == [2, 4, 5]
    assert "A sample is dropped" in caplog.text


async def test_a_reading_that_fails_is_logged_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    readings, ring = Readings(), Ring()
    readings.fails = True
    sampling = loop_of(readings, ring, samples=2)
    await sampling.run(asyncio.Event())
    assert (readings.nodes, sampling.errors) == (3, 3)
    assert "nobody knows" in caplog.text


async def test_a_clock_that_is_ahead_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    readings, ring = Readings(), Ring()
    ring.account = Account(0, 0, 1)
    await loop_of(readings, ring, samples=5).run(asyncio.Event())
    assert caplog.text.count("ahead of the database's clock") == 1


def test_a_full_buffer_loses_the_oldest_and_counts_them() -> None:
    buffer = Buffer(3)
    buffer.add(Found(tuple(Sample(time, True, "n") for time in range(5))))
    assert (len(buffer), buffer.lost) == (3, 2)
    batch = buffer.batch(2)
    assert [one.sample_time for one in batch if isinstance(one, Sample)] == [2, 3]
    # some of it goes while it is being written
    buffer.add(Found((Sample(5, True, "n"),)))
    buffer.drop(batch)
    assert [one.sample_time for one in buffer.batch() if isinstance(one, Sample)] == [4, 5]
