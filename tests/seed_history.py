"""A small history of servers that says of each what is true. Used by the tests of seed names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jupyterhub_metrics.model import Event, session_id

HUB = "campus"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Human:
    """What is known of one user; ``name`` is the one in the Hub."""

    name: str
    email: str | None = None
    full_name: str | None = None
    department: str | None = None
    job_title: str | None = None

    @property
    def shown(self) -> str:
        return self.email or self.name


ADA = Human("ada", "ada@uni.example", "Ada Lovelace", "Mathematics", "Professor")
BOB = Human("bob", "bob@uni.example", "Bob Noyce", "Physics", "Student")
CYD = Human("cyd")
DAN = Human("dan", "dan@uni.example", "Dan Ritchie", "Physics")
PEOPLE = (ADA, BOB, CYD, DAN)


@dataclass(frozen=True)
class Life:
    """One run; ``image`` is the reference and ``base`` and ``version`` what it says."""

    human: Human
    started_at: datetime
    ended_at: datetime | None
    node: str
    image: str
    base: str
    version: str | None
    gpu: bool
    facts: dict[str, Any]
    server_name: str = ""
    ready: bool = True

    @property
    def pod(self) -> str:
        return f"jupyter-{self.human.name}" + (self.server_name and f"--{self.server_name}")

    @property
    def ready_at(self) -> datetime:
        return self.started_at + timedelta(seconds=20)

    def end(self, now: datetime) -> datetime:
        return self.ended_at or max(self.started_at, now - MINUTE)

    def hours(self, now: datetime) -> float:
        return (self.end(now) - self.started_at) / HOUR

    def events(self) -> list[Event]:
        of_session: dict[str, Any] = {
            "hub": HUB,
            "username": self.human.name,
            "server_name": self.server_name,
            "session_id": session_id(HUB, self.human.name, self.server_name, self.started_at),
            "started_at": self.started_at,
            "source": "hub",
        }
        facts = {
            "image": self.image,
            "pod_name": self.pod,
            "namespace": "jhub",
            **self.facts,
        }
        told = [Event(kind="requested", occurred_at=self.started_at, facts=facts, **of_session)]
        if self.ready:
            told.append(
                Event(
                    kind="ready",
                    occurred_at=self.ready_at,
                    facts={"node": self.node},
                    **of_session,
                )
            )
        if self.ended_at is not None:
            kind = "stopped" if self.ready else "failed"
            told.append(Event(kind=kind, occurred_at=self.ended_at, **of_session))
        return told


SCIPY = ("registry.example:5000/lab/scipy-notebook:2026-01", "scipy-notebook", "2026-01")
TORCH = ("quay.io/lab/pytorch@sha256:" + "a" * 64, "pytorch", "sha256:" + "a" * 64)
PLAIN = ("datascience-notebook:latest", "datascience-notebook", "latest")
SMALL = {"cpu_limit_cores": 2.0, "memory_limit_bytes": 2**31}
WITH_GPU = {**SMALL, "gpus": 1.0}


def lives(now: datetime) -> list[Life]:
    """The history, ending in ``now``. Times are whole seconds."""

    def life(
        human: Human,
        began: float,
        lasted: float | None,
        node: str,
        image: tuple[str, str, str],
        facts: dict[str, Any],
        gpu: bool = False,
        **rest: Any,
    ) -> Life:
        started_at = now - began * HOUR
        ended_at = None if lasted is None else started_at + lasted * HOUR
        return Life(human, started_at, ended_at, node, *image, gpu, facts, **rest)

    return [
        # three of 3, 56 and 11 minutes on one pod, and one over a day
        life(ADA, 30, 0.05, "node-cpu-1", SCIPY, SMALL),
        life(ADA, 29.75, 56 / 60, "node-cpu-1", SCIPY, SMALL),
        life(ADA, 28.5, 11 / 60, "node-cpu-1", SCIPY, SMALL),
        life(ADA, 27, 1.5, "node-cpu-2", PLAIN, SMALL),
        # runs, and has run for longer than a day
        life(ADA, 26.25, None, "node-gpu-1", TORCH, WITH_GPU, True, server_name="train"),
        # a GPU that was asked for counts, whatever the node's name; and the other way round
        life(BOB, 60, 12.1, "node-cpu-2", TORCH, WITH_GPU, True),
        life(BOB, 40, 6.5, "node-gpu-1", PLAIN, SMALL),
        life(BOB, 0.5, None, "node-cpu-1", SCIPY, SMALL),
        # nothing is known of what was asked for: the node's name tells
        life(CYD, 50, 2.75, "worker-a100-01", PLAIN, {}, True),
        life(CYD, 20, 0.001, "worker-cpu-02", PLAIN, {}),
        # long ago
        life(DAN, 45 * 24, 5, "node-cpu-1", SCIPY, SMALL),
        # never became ready: no session of these names
        life(DAN, 10, 0.1, "node-cpu-1", SCIPY, SMALL, ready=False),
        life(CYD, 0.01, None, "node-cpu-1", SCIPY, SMALL, ready=False, server_name="slow"),
    ]


def polls(now: datetime) -> list[datetime]:
    """When checks were, not often, so that the test is quick."""
    recent = [now - 70 * HOUR + n * HOUR / 2 for n in range(141)]
    return [now - 45 * DAY + n * HOUR for n in range(6)] + recent


@dataclass(frozen=True)
class Seen:
    """What a check saw of one run."""

    at: datetime
    life: Life

    @property
    def age(self) -> int:
        return round((self.at - self.life.started_at).total_seconds())


@dataclass(frozen=True)
class World:
    now: datetime
    since: datetime
    lives: Sequence[Life]
    seen: Sequence[Seen]

    @property
    def ready(self) -> list[Life]:
        return [life for life in self.lives if life.ready]

    @property
    def inside(self) -> list[Life]:
        """Runs that lie wholly in the window, which is how the dashboards ask."""
        return [
            life
            for life in self.ready
            if life.started_at >= self.since and life.end(self.now) <= self.now
        ]

    def of(self, human: Human) -> list[Life]:
        return [life for life in self.inside if life.human == human]

    def seen_after(self, moment: datetime) -> list[Seen]:
        return [one for one in self.seen if one.at >= moment]

    def first_seen(self) -> dict[Human, datetime]:
        first: dict[Human, datetime] = {}
        for life in self.lives:
            known = first.get(life.human, life.started_at)
            first[life.human] = min(known, life.started_at)
        return first


def world(base: datetime, now: datetime) -> World:
    """The history up to ``base``, a whole second, as it looks a little later; the window is the
    last three days."""
    history = lives(base)
    seen = [
        Seen(at, life)
        for at in polls(base)
        for life in history
        if life.ready and life.ready_at <= at and (life.ended_at is None or at < life.ended_at)
    ]
    return World(now, base - 3 * DAY, history, seen)
