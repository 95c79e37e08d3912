"""What the questions of ``seed_queries.sql`` must give for the history of ``seed_history``.

Written down a second time in Python, from the list of runs; it shares no code with the store.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from seed_history import ADA, DAY, HOUR, PEOPLE, Human, Life, Seen, World

Row = tuple[Any, ...]


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    return hour_of(moment).replace(hour=0)


def week_of(moment: datetime) -> datetime:
    return day_of(moment) - moment.weekday() * DAY


def distinct(pairs: Iterable[tuple[Any, Any]]) -> list[Row]:
    """For each key the number of different values; a key that is a tuple is spread."""
    found: dict[Any, set[Any]] = defaultdict(set)
    for key, value in pairs:
        found[key].add(value)
    return [(*(key if isinstance(key, tuple) else (key,)), len(v)) for key, v in found.items()]


def summed(pairs: Iterable[tuple[Any, float]]) -> dict[Any, float]:
    found: dict[Any, float] = defaultdict(float)
    for key, amount in pairs:
        found[key] += amount
    return found


def hours_present(w: World, until: datetime) -> Iterator[tuple[datetime, Life, datetime, datetime]]:
    """Each hour of each run, with the part of it in which it ran; whole hours, then ``until``."""
    for life in w.ready:
        end = life.ended_at or until
        hour = hour_of(life.started_at)
        while hour < end:
            yield hour, life, max(hour, life.started_at), min(hour + HOUR, end)
            hour += HOUR


def node_hours(w: World) -> dict[tuple[datetime, str], tuple[int, int, float]]:
    """Users, pods and average age of each hour and node, from exact runs."""
    users, pods = defaultdict(set), defaultdict(set)
    aged: dict[Any, float] = defaultdict(float)
    lasted: dict[Any, float] = defaultdict(float)
    for hour, life, since, until in hours_present(w, w.now):
        key = hour, life.node
        users[key].add(life.human)
        pods[key].add(life.pod)
        seconds = (until - since).total_seconds()
        middle = since + (until - since) / 2
        aged[key] += seconds * (middle - life.started_at).total_seconds()
        lasted[key] += seconds
    return {key: (len(users[key]), len(pods[key]), aged[key] / lasted[key]) for key in users}


def image_hours(w: World) -> dict[tuple[datetime, str, str | None], tuple[int, int]]:
    users, pods = defaultdict(set), defaultdict(set)
    for hour, life, _, _ in hours_present(w, w.now):
        key = hour, life.base, life.version
        users[key].add(life.human)
        pods[key].add(life.pod)
    return {key: (len(users[key]), len(pods[key])) for key in users}


def containers_over_a_day(w: World) -> list[Row]:
    latest: dict[tuple[Human, str], Seen] = {}
    for one in w.seen:
        latest[one.life.human, one.life.pod] = one
    return [
        (one.life.human.shown, full_name(one.life), one.life.node, one.age / 3600, one.life.base)
        for one in latest.values()
        if one.age > 86400
    ]


def full_name(life: Life) -> str:
    return life.human.full_name or life.human.name


def runtime_by_user(w: World) -> list[Row]:
    pods: dict[tuple[Human, str], list[Seen]] = defaultdict(list)
    for one in w.seen_after(w.now - 30 * DAY):
        pods[one.life.human, one.life.pod].append(one)
    oldest = summed((human, max(o.age for o in seen)) for (human, _), seen in pods.items())
    return [
        (
            human.shown,
            human.full_name or human.name,
            seconds / 3600,
            sum(1 for key in pods if key[0] == human),
            max(one.at for key, seen in pods.items() if key[0] == human for one in seen),
        )
        for human, seconds in oldest.items()
    ]


def top_users(w: World) -> list[Row]:
    return [
        (
            human.shown,
            human.full_name or human.shown,
            sum(life.hours(w.now) for life in w.of(human)),
            len(w.of(human)),
            max(life.end(w.now) for life in w.of(human)),
        )
        for human in PEOPLE
        if w.of(human)
    ]


def application_usage(w: World) -> list[Row]:
    return [
        (
            base,
            ", ".join(sorted({life.version or "" for life in w.inside if life.base == base})),
            len({life.human for life in w.inside if life.base == base}),
            sum(1 for life in w.inside if life.base == base),
        )
        for base in {life.base for life in w.inside}
    ]


def users_added(w: World) -> list[Row]:
    return [(sum(1 for first in w.first_seen().values() if w.since <= first <= w.now),)]


def users_growth(w: World) -> list[Row]:
    days = Counter(day_of(first) for first in w.first_seen().values() if first >= w.since)
    return list(days.items())


def users_total(w: World) -> list[Row]:
    days = Counter(day_of(first) for first in w.first_seen().values())
    return [(day, sum(n for other, n in days.items() if other <= day)) for day in days]


def stats(w: World, human: Human) -> Row:
    mine = [life for life in w.ready if life.human == human]
    return (
        sum(life.hours(w.now) for life in mine),
        sum(life.hours(w.now) for life in mine if life.gpu),
        sum(life.hours(w.now) for life in mine if not life.gpu),
        len(mine),
        len({life.base for life in mine}),
        min(life.started_at for life in mine),
        max(life.end(w.now) for life in mine),
    )


def numbered(w: World, human: Human) -> list[Row]:
    places = Counter[tuple[str, str]]()
    rows = []
    for life in sorted(w.ready, key=lambda life: life.started_at):
        if life.human == human:
            places[life.pod, life.node] += 1
            rows.append((life.pod, life.node, places[life.pod, life.node], life.started_at))
    return rows


def node_distribution(w: World) -> list[Row]:
    hours = summed((life.node, life.hours(w.now)) for life in w.inside)
    users = dict(distinct((life.node, life.human) for life in w.inside))
    return [(node, amount, users[node]) for node, amount in hours.items()]


def departments(w: World) -> list[Row]:
    hours = summed((life.human.department or "Unknown", life.hours(w.now)) for life in w.inside)
    users = dict(distinct((life.human.department or "Unknown", life.human) for life in w.inside))
    return [(department, users[department], amount) for department, amount in hours.items()]


def export_per_user(w: World) -> list[Row]:
    rows = []
    for human in PEOPLE:
        total, gpu, cpu, count, _, _, last = stats(w, human)
        bases = summed((life.base, life.hours(w.now)) for life in w.ready if life.human == human)
        named = (human.full_name, human.shown, human.department, human.job_title)
        amounts = (round(gpu, 2), round(cpu, 2), round(total, 2), count, last)
        rows.append((*named, *amounts, max(bases, key=lambda base: bases[base])))
    return rows


def at_most_an_hour_old(w: World) -> list[Seen]:
    return [one for one in w.seen if one.at > w.now - HOUR]


TRUTH: dict[str, Callable[[World], list[Row]]] = {
    "readme_containers_over_a_day": containers_over_a_day,
    "readme_daily_active_users": lambda w: distinct(
        (day_of(one.at), one.life.human) for one in w.seen_after(w.now - 30 * DAY)
    ),
    "readme_node_heatmap": lambda w: distinct(
        ((hour_of(one.at), one.life.node), one.life.pod) for one in w.seen_after(w.now - 7 * DAY)
    ),
    "readme_runtime_by_user": runtime_by_user,
    "readme_peak_usage_times": lambda w: distinct(
        ((one.at.hour, one.at.isoweekday() % 7), one.life.pod)
        for one in w.seen_after(w.now - 30 * DAY)
    ),
    "readme_image_adoption": lambda w: distinct(
        ((week_of(one.at), one.life.base), one.life.human) for one in w.seen
    ),
    "readme_count_observations": lambda w: [(len(w.seen),)],
    "readme_export_observations": lambda w: [
        (
            one.at,
            one.life.human.shown,
            full_name(one.life),
            one.life.node,
            one.life.image,
            one.life.base,
            one.life.version,
            one.age,
            one.life.pod,
        )
        for one in w.seen
    ],
    "readme_export_hours": lambda w: [
        (hour, len({one.life.human for one in seen}), len({one.life.pod for one in seen}))
        for hour, seen in by_hour(w.seen_after(w.now - 30 * DAY)).items()
    ],
    "overview_active_users_now": lambda w: [
        (len({one.life.human for one in at_most_an_hour_old(w)}),)
    ],
    "overview_active_users_of_window": lambda w: [
        (len({life.human for life in w.ready if life.end(w.now) >= w.since}),)
    ],
    "overview_total_users": lambda w: [(len(PEOPLE),)],
    "overview_now": lambda w: [
        (
            len({one.life.node for one in at_most_an_hour_old(w)}),
            len({one.life.pod for one in at_most_an_hour_old(w)}),
            len({one.life.base for one in at_most_an_hour_old(w)}),
        )
    ],
    "overview_active_users_over_time": lambda w: distinct(
        (hour_of(one.at), one.life.human) for one in w.seen_after(w.since)
    ),
    "overview_applications_over_time": lambda w: distinct(
        (hour_of(one.at), one.life.pod) for one in w.seen_after(w.since)
    ),
    "overview_applications_per_node": lambda w: distinct(
        ((hour_of(one.at), one.life.node), one.life.pod) for one in w.seen_after(w.since)
    ),
    "overview_application_types": lambda w: distinct(
        ((hour_of(one.at), one.life.base), one.life.pod) for one in w.seen_after(w.since)
    ),
    "overview_top_users": top_users,
    "overview_application_usage": application_usage,
    "hours_of_nodes": lambda w: [
        (hour, node, pods)
        for (hour, node), (_, pods, _) in node_hours(w).items()
        if hour >= w.since
    ],
    "hours_of_nodes_added_up": lambda w: [
        (
            hour,
            sum(n[1] for key, n in node_hours(w).items() if key[0] == hour),
            mean([n[2] for key, n in node_hours(w).items() if key[0] == hour]),
        )
        for hour in {key[0] for key in node_hours(w)}
        if hour >= w.since
    ],
    "hours_of_images": lambda w: [
        (*key, amount)
        for key, amount in summed(
            ((hour, base), users) for (hour, base, _), (users, _) in image_hours(w).items()
        ).items()
        if key[0] >= w.since
    ],
    "users_added": users_added,
    "users_growth": users_growth,
    "users_total_over_time": users_total,
    "users_cpu_against_gpu": lambda w: [
        (
            sum(life.hours(w.now) for life in w.ready if life.gpu),
            sum(life.hours(w.now) for life in w.ready if not life.gpu),
        )
    ],
    "users_node_distribution": node_distribution,
    "users_container_versions": lambda w: [
        (*image, count)
        for image, count in Counter((life.base, life.version) for life in w.inside).items()
    ],
    "user_detail_user": lambda w: [
        (
            ADA.full_name,
            ADA.email,
            ADA.department,
            ADA.job_title,
            w.first_seen()[ADA],
            w.now,
        )
    ],
    "user_detail_of_all_time": lambda w: [stats(w, ADA)],
    "user_detail_hours": lambda w: [(sum(life.hours(w.now) for life in w.of(ADA)),)],
    "user_detail_cpu_hours": lambda w: [
        (sum(life.hours(w.now) for life in w.of(ADA) if "cpu" in life.node),)
    ],
    "user_detail_applications": lambda w: [(len({life.base for life in w.of(ADA)}),)],
    "user_detail_sessions": lambda w: [
        (
            life.started_at,
            life.end(w.now),
            round(life.hours(w.now), 2),
            life.node,
            f"{life.base}:{life.version}",
        )
        for life in w.of(ADA)
    ],
    "user_detail_numbered_sessions": lambda w: numbered(w, ADA),
    "demographics_departments": departments,
    "demographics_job_titles": lambda w: list(
        Counter(human.job_title or "Unknown" for human in PEOPLE).items()
    ),
    "demographics_departments_by_application": lambda w: distinct(
        ((life.base, life.human.department or "Unknown"), life.human) for life in w.inside
    ),
    "export_per_user": export_per_user,
}
"""For each question the rows that are true, in any order."""


def by_hour(seen: Iterable[Seen]) -> dict[datetime, list[Seen]]:
    found: dict[datetime, list[Seen]] = defaultdict(list)
    for one in seen:
        found[hour_of(one.at)].append(one)
    return found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
