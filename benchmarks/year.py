"""The year of truth: what 2,000 people of very unequal habits ran, session by session.

Used by the benchmarks of the store. The same seed gives the same year. Times are whole
microseconds since 1970 (UTC), so that sums are exact.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from jupyterhub_metrics.model import Event, session_id

HUB = "campus"
BEGIN = datetime(2025, 1, 1, tzinfo=timezone.utc)
DAYS = 365
USERS = 2_000
SESSIONS = 511_000
NODES = 40
IMAGES = 100
MEDIAN_HOURS, SIGMA, LONGEST_HOURS = 2.5, 1.2, 72

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_WEEKDAYS = (1.0, 1.05, 1.05, 1.0, 0.85, 0.35, 0.3)
_HOURS = (3, 2, 1, 1, 1, 2, 4, 9, 16, 20, 20, 18, 15, 18, 20, 19, 16, 12, 9, 8, 8, 7, 6, 4)
_HABITS = 1.3
"""Standard deviation of the logarithm of how often a person begins a session."""

_PROFILES = (
    # name, memory in GiB, cores, GPUs, weight
    ("small", 4, 1.0, 0, 50),
    ("medium", 8, 2.0, 0, 25),
    ("large", 32, 4.0, 0, 12),
    ("gpu", 32, 4.0, 1, 8),
    ("gpu-large", 64, 8.0, 2, 3),
    ("teaching", 2, 0.5, 0, 30),
)
_GPU_NODES = 8


@dataclass(frozen=True)
class Run:
    """One session; ``started_at <= ready_at <= ended_at``, of which the year may cut the end."""

    user: int
    server_name: str
    started_at: int
    ready_at: int
    ended_at: int
    profile: int
    image: int
    node: int

    @property
    def username(self) -> str:
        return f"user-{self.user:04}"

    @property
    def image_reference(self) -> str:
        return f"quay.io/campus/notebook-{self.image % 12}:2025.{self.image // 12:02}"

    @property
    def image_base(self) -> str:
        return f"notebook-{self.image % 12}"

    @property
    def image_version(self) -> str:
        return f"2025.{self.image // 12:02}"

    @property
    def node_name(self) -> str:
        return f"gpu-{self.node:02}" if self.node < _GPU_NODES else f"node-{self.node:02}"

    @property
    def gpus(self) -> int:
        return _PROFILES[self.profile][3]

    @property
    def memory_gib(self) -> int:
        return _PROFILES[self.profile][1]

    @property
    def cores(self) -> float:
        return _PROFILES[self.profile][2]


def year(
    seed: int = 4, *, users: int = USERS, sessions: int = SESSIONS, days: int = DAYS
) -> list[Run]:
    """All sessions that begin in the year, in the order of their starts.

    A user's runs of one server never overlap; who runs several at once has named servers.
    """
    # a repeatable generator, not a secret one
    dice = random.Random(seed)
    habits = list(itertools.accumulate(dice.lognormvariate(0, _HABITS) for _ in range(users)))
    day_weights = list(
        itertools.accumulate(_WEEKDAYS[(BEGIN + timedelta(days=d)).weekday()] for d in range(days))
    )
    hour_weights = list(itertools.accumulate(_HOURS))
    profile_weights = list(itertools.accumulate(profile[-1] for profile in _PROFILES))
    image_weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(IMAGES)))

    def drawn(weights: list[float] | list[int]) -> int:
        return bisect.bisect_right(weights, dice.random() * weights[-1])

    first = microseconds(BEGIN)
    starts = sorted(
        first + drawn(day_weights) * DAY + drawn(hour_weights) * HOUR + int(dice.random() * HOUR)
        for _ in range(sessions)
    )
    usual = [(drawn(profile_weights), drawn(image_weights)) for _ in range(users)]
    free: dict[int, list[tuple[int, int]]] = defaultdict(list)
    busy: dict[int, list[tuple[int, int]]] = defaultdict(list)
    runs = []
    for started_at in starts:
        user = drawn(habits)
        profile, image = usual[user]
        if dice.random() < 0.2:
            profile, image = drawn(profile_weights), drawn(image_weights)
        hours = min(MEDIAN_HOURS * math.exp(dice.gauss(0, SIGMA)), LONGEST_HOURS)
        ended_at = started_at + max(int(hours * HOUR), SECOND)
        waiting = int(min(8 * math.exp(dice.gauss(0, 0.8)), 300) * SECOND)
        gpu = _PROFILES[profile][3] > 0
        node = dice.randrange(_GPU_NODES) if gpu else dice.randrange(_GPU_NODES, NODES)
        runs.append(
            Run(
                user=user,
                server_name=_free_server(busy[user], free[user], started_at, ended_at),
                started_at=started_at,
                ready_at=min(started_at + waiting, ended_at),
                ended_at=ended_at,
                profile=profile,
                image=image,
                node=node,
            )
        )
    return runs


def _free_server(
    busy: list[tuple[int, int]], free: list[tuple[int, int]], started_at: int, ended_at: int
) -> str:
    """The first server that is free; ``busy`` by when it will be, ``free`` by number."""
    # the Hub needs a moment between two runs
    while busy and busy[0][0] + SECOND <= started_at:
        _, number = heapq.heappop(busy)
        heapq.heappush(free, (number, number))
    number = heapq.heappop(free)[0] if free else len(busy)
    heapq.heappush(busy, (ended_at, number))
    return f"work-{number}" if number else ""


def events(run: Run) -> list[Event]:
    """The three events that a Hub with KubeSpawner would have sent."""
    started_at, ready_at, ended_at = map(moment, (run.started_at, run.ready_at, run.ended_at))
    name, memory_gib, cores, gpus, _ = _PROFILES[run.profile]
    of_session = {
        "hub": HUB,
        "username": run.username,
        "server_name": run.server_name,
        "session_id": session_id(HUB, run.username, run.server_name, started_at),
        "started_at": started_at,
        "source": "hub",
    }
    facts = {
        "display_name": run.username.title(),
        "groups": [f"group-{run.user % 60:02}"],
        "spawner_class": "kubespawner.spawner.KubeSpawner",
        "profile": name,
        "user_options": {"profile": name},
        "image": run.image_reference,
        "image_name": f"quay.io/campus/{run.image_base}",
        "image_tag": run.image_version,
        "pod_name": f"jupyter-{run.username}" + (run.server_name and f"--{run.server_name}"),
        "namespace": "jhub",
        "cpu_guarantee_cores": cores,
        "cpu_limit_cores": cores * 2,
        "memory_guarantee_bytes": memory_gib << 30,
        "memory_limit_bytes": memory_gib << 30,
        "started_by": f"user:{run.username}",
        **({"gpus": float(gpus)} if gpus else {}),
    }
    culled = run.ended_at % 2
    return [
        Event(kind="requested", occurred_at=started_at, facts=facts, **of_session),
        Event(
            kind="ready", occurred_at=ready_at, facts={**facts, "node": run.node_name}, **of_session
        ),
        Event(
            kind="stopped",
            occurred_at=ended_at,
            reason="stopped_by_service" if culled else "stopped_by_user",
            actor="service:culler" if culled else f"user:{run.username}",
            **of_session,
        ),
    ]


def seconds_of_users(runs: Iterable[Run], since: datetime, until: datetime) -> dict[str, int]:
    """Microseconds that each user's servers existed in ``[since, until)``; only users with some."""
    low, high = microseconds(since), microseconds(until)
    found: dict[str, int] = defaultdict(int)
    for run in runs:
        inside = min(run.ended_at, high) - max(run.started_at, low)
        if inside > 0:
            found[run.username] += inside
    return dict(found)


def overlapping(runs: Iterable[Run], since: datetime, until: datetime) -> Iterator[Run]:
    """The runs that exist at some moment of ``[since, until)``."""
    low, high = microseconds(since), microseconds(until)
    return (run for run in runs if run.started_at < high and run.ended_at > low)


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


def average_running(runs: Iterable[Run], days: int = DAYS) -> float:
    """How many sessions ran at the same time, on average over the year."""
    until = BEGIN + timedelta(days=days)
    return sum(seconds_of_users(runs, BEGIN, until).values()) / (days * DAY)
