"""A simulated past: what the people of :mod:`.campus` ran, day by day.

Called by :mod:`.fill`. Pure: the same seed, people and day give the same sessions whatever range
is asked for, so that a later run continues an earlier one without overlap or doubling.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

from ..model import Event, session_id
from .campus import Person, people

MEDIAN_HOURS = 2.5
SPREAD = 0.8
"""Durations are log-normal: half are shorter than the median, a few are very long."""

DAY_BEGINS_HOUR = 5
"""A day of work lasts from this hour (UTC) to the same hour of the next day, when whatever still
runs is culled; so no session reaches into the next day's."""

_DAY = timedelta(days=1)
_WEEKEND_FACTOR = 0.2
_FAILED_SHARE = 0.03
_FAILURES = (("timeout", 5), ("exception", 2), ("exited", 2), ("cancelled", 3))
_START_HOURS = ((9.5, 1.2, 5), (13.8, 1.4, 4), (20.0, 1.5, 1))
"""Peaks of the starting times: hour (UTC), standard deviation in hours, weight."""


@dataclass(frozen=True)
class SimulatedSession:
    """One run, with ``started_at <= ready_at <= ended_at``; ``ready_at`` is None if it failed."""

    username: str
    server_name: str
    started_at: datetime
    ready_at: datetime | None
    ended_at: datetime
    reason: str
    actor: str | None
    exit_status: int | None
    facts: dict[str, object]


def history(
    *, seed: int, user_count: int, since: datetime, until: datetime
) -> Iterator[SimulatedSession]:
    """Every session that began and ended in ``[since, until]``, day by day.

    Sessions of one user and server never overlap. Times are whole milliseconds in UTC.
    """
    everyone = people(user_count, seed)
    # a day begins some hours into its date, so the first one may begin on the date before
    day = since.date() - _DAY
    while day <= until.date():
        for person in everyone:
            for server_name in person.servers:
                for session in _sessions_of_day(seed, person, server_name, day):
                    if since <= session.started_at and session.ended_at <= until:
                        yield session
        day += _DAY


def groups(*, seed: int, user_count: int) -> dict[str, list[str]]:
    """The groups with their members, who were in them all the time."""
    found: dict[str, list[str]] = {}
    for person in people(user_count, seed):
        found.setdefault(person.department.name, []).append(person.name)
    return found


def events(hub: str, session: SimulatedSession) -> list[Event]:
    """The events a Hub would have sent for a session, marked as a simulation."""
    identity = session_id(hub, session.username, session.server_name, session.started_at)

    def event(
        kind: str,
        at: datetime,
        facts: dict[str, object],
        *,
        reason: str | None = None,
        actor: str | None = None,
        exit_status: int | None = None,
    ) -> Event:
        return Event(
            kind=kind,
            hub=hub,
            username=session.username,
            server_name=session.server_name,
            session_id=identity,
            started_at=session.started_at,
            occurred_at=at,
            source="simulation",
            facts=facts,
            reason=reason,
            actor=actor,
            exit_status=exit_status,
        )

    told = [event("requested", session.started_at, session.facts)]
    if session.ready_at is not None:
        told.append(event("ready", session.ready_at, {}))
    told.append(
        event(
            "failed" if session.ready_at is None else "stopped",
            session.ended_at,
            {},
            reason=session.reason,
            actor=session.actor,
            exit_status=session.exit_status,
        )
    )
    return told


def _sessions_of_day(
    seed: int, person: Person, server_name: str, day: date
) -> Iterator[SimulatedSession]:
    # a simulation wants a repeatable generator, not a secret one
    dice = random.Random(f"{seed}/{person.name}/{server_name}/{day.isoformat()}")  # noqa: S311
    begin = datetime.combine(day, time(DAY_BEGINS_HOUR), timezone.utc)
    free_from, end = begin, begin + _DAY - timedelta(seconds=1)
    for wanted_at in sorted(_starts(dice, person, server_name, day)):
        started_at = max(wanted_at, free_from)
        if started_at >= end - timedelta(minutes=10):
            return
        session = _session(dice, person, server_name, started_at, end)
        yield session
        free_from = session.ended_at + timedelta(seconds=dice.uniform(5, 900))


def _starts(dice: random.Random, person: Person, server_name: str, day: date) -> Iterator[datetime]:
    midnight = datetime.combine(day, time(), timezone.utc)
    chance = person.diligence * (_WEEKEND_FACTOR if day.weekday() >= 5 else 1)
    if server_name:
        chance *= 0.3
    for weekday, hour in person.department.labs:
        if day.weekday() == weekday and not server_name and dice.random() < 0.8:
            yield midnight + timedelta(hours=hour, minutes=dice.gauss(3, 3))
    if dice.random() < chance:
        peaks = [peak for peak, _, _ in _START_HOURS]
        weights = [weight for _, _, weight in _START_HOURS]
        deviations = {peak: deviation for peak, deviation, _ in _START_HOURS}
        for _ in range(dice.choices((1, 2, 3, 4), (50, 30, 15, 5))[0]):
            peak = dice.choices(peaks, weights)[0]
            drawn = dice.gauss(peak, deviations[peak])
            yield midnight + timedelta(hours=min(max(drawn, DAY_BEGINS_HOUR), 26))


def _session(
    dice: random.Random, person: Person, server_name: str, started_at: datetime, end: datetime
) -> SimulatedSession:
    department = person.department
    profile = dice.choices(department.profiles, department.weights)[0]
    facts = profile.facts(dice.randrange(1000))
    facts["pod_name"] = f"jupyter-{person.name.replace('.', '-')}" + (
        f"--{server_name}" if server_name else ""
    )
    facts["groups"] = [department.name]
    facts["started_by"] = f"user:{person.name}"
    started_at = _whole_milliseconds(started_at)
    waiting = timedelta(seconds=min(dice.lognormvariate(2.7, 0.7), 240))
    if dice.random() < _FAILED_SHARE:
        reason = dice.choices([r for r, _ in _FAILURES], [w for _, w in _FAILURES])[0]
        waited = timedelta(seconds=300) if reason == "timeout" else waiting
        return SimulatedSession(
            username=person.name,
            server_name=server_name,
            started_at=started_at,
            ready_at=None,
            ended_at=_whole_milliseconds(started_at + waited),
            reason=reason,
            actor=f"user:{person.name}" if reason == "cancelled" else None,
            exit_status=1 if reason == "exited" else None,
            facts=facts,
        )
    ready_at = _whole_milliseconds(started_at + waiting)
    hours = MEDIAN_HOURS * dice.lognormvariate(0, SPREAD)
    ended_at = _whole_milliseconds(ready_at + timedelta(hours=hours))
    reason, actor, exit_status = _ending(dice, person)
    if ended_at > end:
        ended_at = end
        reason, actor, exit_status = "stopped_by_service", "service:culler", None
    return SimulatedSession(
        username=person.name,
        server_name=server_name,
        started_at=started_at,
        ready_at=ready_at,
        ended_at=ended_at,
        reason=reason,
        actor=actor,
        exit_status=exit_status,
        facts=facts,
    )


def _ending(dice: random.Random, person: Person) -> tuple[str, str | None, int | None]:
    """Reason, actor and exit status of a server that ran."""
    chance = dice.random()
    if chance < 0.48:
        return "stopped_by_user", f"user:{person.name}", None
    if chance < 0.92:
        return "stopped_by_service", "service:culler", None
    if chance < 0.94:
        return "stopped_by_admin", "user:admin", None
    # 137 is what a container that ran out of memory leaves behind
    return "died", None, 137 if chance < 0.99 else 1


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
