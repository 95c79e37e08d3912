"""What the panels of the dashboards must show, computed from a list of sessions and nothing else.

Slow and plain on purpose: loops over sessions, no database, no summaries.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOT_KNOWN = "not known"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Run:
    """One session. ``ready_at`` is None if it failed, ``ended_at`` if it runs."""

    hub: str
    username: str
    server_name: str
    started_at: datetime
    ready_at: datetime | None
    ended_at: datetime | None
    reason: str | None
    facts: Mapping[str, Any]

    @property
    def who(self) -> tuple[str, str]:
        return self.hub, self.username

    @property
    def identity(self) -> tuple[str, str, str, datetime]:
        return self.hub, self.username, self.server_name, self.started_at

    @property
    def image_base(self) -> str | None:
        image = self.facts.get("image")
        return image.rpartition("/")[2].partition(":")[0] if image else None

    @property
    def image_version(self) -> str | None:
        image = self.facts.get("image")
        return image.rpartition("/")[2].partition(":")[2] if image else None

    @property
    def on_gpu(self) -> bool:
        return bool(self.facts.get("gpus"))

    def hours(self, since: datetime, until: datetime) -> float:
        """How long it ran inside the range."""
        if self.ready_at is None:
            return 0.0
        return (
            max(min(self.ended_at or until, until) - max(self.started_at, since), 0 * HOUR) / HOUR
        )


@dataclass(frozen=True)
class Person:
    """What is known of a user; departments and titles hold from the beginning."""

    email: str
    full_name: str
    department: str
    job_title: str


@dataclass(frozen=True)
class Membership:
    group: str
    who: tuple[str, str]
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class Sample:
    """What a session used for some seconds, as far as it was measured."""

    at: datetime
    seconds: float
    memory_bytes: float | None
    cpu_cores: float | None
    oom_kills: int | None


@dataclass(frozen=True)
class World:
    """Everything there is to know, looked at from ``now`` on."""

    runs: Sequence[Run]
    people: Mapping[tuple[str, str], Person]
    members: Sequence[Membership]
    now: datetime
    samples: Mapping[Any, Mapping[str, Sequence[Sample]]] = field(default_factory=dict)
    """By the identity of a session, and by who measured: ``node`` or ``server``."""


@dataclass(frozen=True)
class Looked:
    """A dashboard that is looked at, and what its panels must show."""

    world: World
    since: datetime
    until: datetime
    hubs: Sequence[str]
    groups: Sequence[str] | None = None
    user: tuple[str, str] | None = None
    nodes: Sequence[str] | None = None
    images: Sequence[str] | None = None

    def over(self, length: timedelta) -> Looked:
        """Everyone's, over so long before the end."""
        return Looked(self.world, self.until - length, self.until, self.hubs)

    @property
    def people(self) -> set[tuple[str, str]] | None:
        if self.groups is None:
            return None
        return {
            one.who
            for one in self.world.members
            if one.group in self.groups
            and one.since < self.until
            and (one.until is None or one.until > self.since)
        }

    def runs(self) -> list[Run]:
        """Of the chosen Hubs, groups and user, whenever they were."""
        chosen = self.people
        return [
            run
            for run in self.world.runs
            if run.hub in self.hubs
            and (chosen is None or run.who in chosen)
            and (self.user is None or run.who == self.user)
        ]

    def hours(self, run: Run) -> float:
        return run.hours(self.since, self.until)

    def ran(self) -> list[Run]:
        return [run for run in self.runs() if self.hours(run) > 0]

    def started(self) -> list[Run]:
        return [run for run in self.runs() if self.since <= run.started_at < self.until]

    def summed(self, key: Callable[[Run], Any]) -> dict[Any, float]:
        found: defaultdict[Any, float] = defaultdict(float)
        for run in self.ran():
            found[key(run)] += self.hours(run)
        return dict(found)

    def users_by(self, key: Callable[[Run], Any]) -> dict[Any, int]:
        found: defaultdict[Any, set[tuple[str, str]]] = defaultdict(set)
        for run in self.ran():
            found[key(run)].add(run.who)
        return {one: len(who) for one, who in found.items()}

    def active_users(self) -> int:
        return len({run.who for run in self.ran()})

    def first_seen(self) -> dict[tuple[str, str], datetime]:
        found: dict[tuple[str, str], datetime] = {}
        for run in self.runs():
            found[run.who] = min(run.started_at, found.get(run.who, run.started_at))
        return found

    def step(self) -> timedelta:
        if self.until - self.since <= 36 * HOUR:
            return timedelta(minutes=5)
        return HOUR if self.until - self.since <= 45 * DAY else DAY

    def buckets(self) -> list[tuple[datetime, datetime]]:
        """As the range cuts them."""
        found, begins = [], self.since
        while begins < self.until:
            midnight = begins.replace(hour=0, minute=0, second=0, microsecond=0)
            ends = midnight + ((begins - midnight) // self.step() + 1) * self.step()
            found.append((begins, min(ends, self.until)))
            begins = ends
        return found

    def over_time(
        self, key: Callable[[Run], Any], *, users: bool = False
    ) -> dict[tuple[datetime, Any], float]:
        """Average running servers, or distinct users, by bucket and key, with zeros."""
        ran = self.ran()
        keys = {key(run) for run in ran}
        found: dict[tuple[datetime, Any], float] = {}
        for begins, ends in self.buckets():
            for one in keys:
                inside = [run for run in ran if key(run) == one and run.hours(begins, ends) > 0]
                found[begins, one] = (
                    len({run.who for run in inside})
                    if users
                    else sum(run.hours(begins, ends) for run in inside) / ((ends - begins) / HOUR)
                )
        return found

    def days(self) -> list[tuple[datetime, datetime]]:
        found, begins = [], self.since
        while begins < self.until:
            ends = begins.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
            found.append((begins, min(ends, self.until)))
            begins = ends
        return found

    def weekly(self) -> dict[tuple[datetime, Any], int]:
        """Distinct users of images by week on whole days, or by whole months."""
        users: defaultdict[tuple[datetime, Any], set[tuple[str, str]]] = defaultdict(set)
        months = self.until - self.since > 45 * DAY
        first = self.since.replace(hour=0, minute=0, second=0, microsecond=0)
        last = (self.until + DAY - timedelta(microseconds=1)).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        if months:
            first, last = first.replace(day=1), self.world.now
        day = first
        while day < last:
            bucket = day.replace(day=1) if months else day - day.weekday() * DAY
            for run in self.runs():
                if run.hours(day, min(day + DAY, self.world.now)) > 0:
                    users[bucket, run.image_base].add(run.who)
            day += DAY
        found: Counter[tuple[datetime, Any]] = Counter()
        for (bucket, image), who in users.items():
            found[max(bucket, self.since), image] = len(who)
        return dict(found)

    def ended(self) -> list[Run]:
        return [
            run
            for run in self.runs()
            if run.ended_at is not None and self.since <= run.ended_at < self.until
        ]

    def requested(self, what: str) -> float | None:
        """Hours times cores, GiB or GPUs; None where none is known."""
        keys = {
            "cores": ("cpu_guarantee_cores", 1),
            "gib": ("memory_guarantee_bytes", 2**30),
            "gpus": ("gpus", 1),
        }
        name, unit = keys[what]
        seen = [*self.ran(), *(run for run in self.started() if not self.hours(run))]
        known = [run for run in seen if run.facts.get(name) is not None]
        return sum(self.hours(run) * run.facts[name] / unit for run in known) if known else None

    def person(self, run: Run) -> Person | None:
        return self.world.people.get(run.who)

    def known(self, field: str) -> Callable[[Run], str]:
        """A key: what is known of a run's user."""
        return lambda run: getattr(self.person(run), field, None) or NOT_KNOWN

    def overlapping(self) -> list[Run]:
        return [
            run
            for run in self.runs()
            if run.started_at < self.until and (run.ended_at is None or run.ended_at > self.since)
        ]

    def present(self, at: datetime) -> list[Run]:
        """What runs at the moment before."""
        return [run for run in self.runs() if run.hours(at - timedelta(microseconds=1), at) > 0]
