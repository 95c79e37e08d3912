"""For each panel of the dashboards: what it must show, and how its rows say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
from panel_truth import DAY, HOUR, NOT_KNOWN, WEEKDAYS, Looked, Run

Rows = Sequence[asyncpg.Record]
Expectation = tuple[Callable[[Rows], Any], Callable[[Looked], Any]]
"""What rows say, and what they must say: dictionaries or lists that can be compared."""


def first(rows: Rows) -> dict[str, Any]:
    """The only row, by column."""
    assert len(rows) == 1
    return dict(rows[0])


def only(rows: Rows) -> dict[str, Any]:
    """The only value."""
    return {"value": next(iter(first(rows).values()))}


def by(*keys: str) -> Callable[[Rows], dict[Any, Any]]:
    """The other column's values, or tuples of them, by these columns."""

    def read(rows: Rows) -> dict[Any, Any]:
        found = {}
        for row in rows:
            rest = tuple(value for name, value in row.items() if name not in keys)
            found[tuple(row[key] for key in keys)] = rest[0] if len(rest) == 1 else rest
        assert len(found) == len(rows), "a key came twice"
        return found

    return read


def listed(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]


def one(compute: Callable[[Looked], Any]) -> Callable[[Looked], dict[str, Any]]:
    return lambda look: {"value": compute(look)}


def keyed(found: dict[Any, Any]) -> dict[Any, Any]:
    return {key if isinstance(key, tuple) else (key,): value for key, value in found.items()}


def node(run: Run) -> str:
    return run.facts.get("node") or NOT_KNOWN


def base(run: Run) -> str:
    return run.image_base or NOT_KNOWN


def gpus(run: Run) -> str:
    number = run.facts.get("gpus")
    return "no GPU told" if number is None else f"{number:g} GPUs"


def profile(run: Run) -> str:
    return run.facts.get("profile") or "no profile"


def hub(run: Run) -> str:
    return run.hub


def chosen_nodes(look: Looked, *, users: bool = False) -> dict[Any, float]:
    found = look.over_time(node, users=users)
    return {key: n for key, n in found.items() if look.nodes is None or key[1] in look.nodes}


def chosen_images(look: Looked) -> dict[Any, float]:
    found = look.over_time(base)
    return {key: n for key, n in found.items() if look.images is None or key[1] in look.images}


def seen(look: Looked) -> dict[str, int]:
    ran = look.over(HOUR).ran()
    return {
        "Applications": len({(*run.who, run.server_name) for run in ran}),
        "Application types": len({run.image_base for run in ran} - {None}),
        "Nodes": len({run.facts.get("node") for run in ran} - {None}),
    }


def failed_share(look: Looked) -> float | None:
    ended = [run for run in look.ended() if run.reason != "cancelled"]
    return sum(run.ready_at is None for run in ended) / len(ended) if ended else None


def why(look: Looked) -> dict[Any, int]:
    return keyed(dict(Counter(run.reason or NOT_KNOWN for run in look.ended())))


def last_seen(look: Looked, who: tuple[str, str]) -> Any:
    """None where that is now."""
    ends = [run.ended_at for run in look.world.runs if run.who == who]
    return None if None in ends else max(ends)


def top(*columns: str) -> Callable[[Looked], dict[Any, Any]]:
    """Of each user, in the order of hours."""

    def compute(look: Looked) -> dict[Any, Any]:
        hours = look.summed(lambda run: run.who)
        starts = Counter(run.who for run in look.started())
        found = {}
        for who in sorted(hours, key=lambda who: (-hours[who], who)):
            person = look.world.people.get(who)
            values = {
                "full_name": person and person.full_name,
                "user_email": person.email if person else who[1],
                "department": person and person.department,
                "hours": hours[who],
                "starts": starts[who],
            }
            found[who] = (*(values[name] for name in columns), last_seen(look, who))
        return found

    return compute


def top_rows(rows: Rows) -> dict[Any, Any]:
    hours = [row["hours"] for row in rows]
    assert hours == sorted(hours, reverse=True)
    return by("hub", "username")(rows)


def images(look: Looked) -> dict[Any, Any]:
    users, hours = look.users_by(image_of), look.summed(image_of)
    starts = Counter(image_of(run) for run in look.started())
    return {
        key: (users.get(key, 0), hours.get(key, 0), starts[key])
        for key in set(hours) | set(starts)
        if look.images is None or key[0] in look.images
    }


def image_of(run: Run) -> tuple[str | None, str | None]:
    return run.image_base, run.image_version


def named_images(look: Looked) -> dict[Any, Any]:
    return {(a or NOT_KNOWN, b or NOT_KNOWN): n for (a, b), n in images(look).items()}


def long_running(look: Looked) -> list[tuple[Any, ...]]:
    long = [run for run in look.present(look.until) if look.until - run.started_at > DAY]
    return [
        (*run.who, run.server_name, run.facts.get("image"), run.facts.get("node"),
         run.started_at, (look.until - run.started_at) / HOUR)
        for run in sorted(long, key=lambda run: run.started_at)
    ]  # fmt: skip


def week(look: Looked) -> dict[Any, float]:
    passed: Counter[tuple[str, str]] = Counter()
    servers: Counter[tuple[str, str]] = Counter()
    begins = look.since
    while begins < look.until:
        whole = begins.replace(minute=0, second=0, microsecond=0) + HOUR
        ends = min(whole, look.until)
        key = (f"{begins.hour:02}", f"{begins.isoweekday()} {WEEKDAYS[begins.weekday()]}")
        passed[key] += 1
        running = sum(run.hours(begins, ends) for run in look.runs())
        servers[key] += running / ((ends - begins) / HOUR)  # type: ignore[assignment]
        begins = whole
    return {key: servers[key] / times for key, times in passed.items()}


def added(look: Looked) -> list[Any]:
    return [at for at in look.first_seen().values() if look.since <= at < look.until]


def midnight(look: Looked) -> Callable[[Any], Any]:
    return lambda at: at.replace(hour=0, minute=0, second=0, microsecond=0)


def total_over_time(look: Looked) -> dict[Any, int]:
    days = sorted(midnight(look)(at) for at in look.first_seen().values() if at < look.until)
    found: dict[Any, int] = {}
    for number, day in enumerate(days, start=1):
        found[(max(day, look.since),)] = number
    return found


def daily(look: Looked) -> dict[Any, int]:
    found = {}
    for begins, ends in look.days():
        for name in look.hubs:
            users = {r.who for r in look.ran() if r.hub == name and r.hours(begins, ends) > 0}
            if users:
                found[begins, name] = len(users)
    return found


def requested(look: Looked) -> dict[str, float | None]:
    return {
        "Core-hours": look.requested("cores"),
        "GiB-hours": look.requested("gib"),
        "GPU-hours": look.requested("gpus"),
    }


def waiting(look: Looked) -> float:
    found = timedelta()
    for run in look.ran():
        assert run.ready_at is not None
        found += max(min(run.ready_at, look.until) - max(run.started_at, look.since), timedelta())
    return found / HOUR


def with_and_without(look: Looked) -> dict[str, float]:
    hours = look.summed(lambda run: run.on_gpu)
    return {"With GPU": hours.get(True, 0), "Without GPU": hours.get(False, 0)}


def of_people(field: str, *, gpu_only: bool = False) -> Callable[[Looked], dict[Any, Any]]:
    """Users, hours, hours with GPU, and core- and GiB-hours unless only GPUs are asked for."""

    def compute(look: Looked) -> dict[Any, Any]:
        key = look.known(field)
        users, hours = look.users_by(key), look.summed(key)
        with_gpu = look.summed(lambda run: (key(run), run.on_gpu))
        found = {}
        for one_of in hours | dict.fromkeys(key(run) for run in look.started()):
            values: tuple[Any, ...] = (
                users.get(one_of, 0), hours.get(one_of, 0) or 0, with_gpu.get((one_of, True), 0),
            )  # fmt: skip
            if not gpu_only:
                failed = [run for run in look.started() if not look.hours(run)]
                mine = [run for run in [*look.ran(), *failed] if key(run) == one_of]
                known = [run for run in mine if "cpu_guarantee_cores" in run.facts]
                cores = [look.hours(r) * r.facts["cpu_guarantee_cores"] for r in known]
                gib = [look.hours(r) * r.facts["memory_guarantee_bytes"] / 2**30 for r in known]
                values += (sum(cores) if cores else None, sum(gib) if gib else None)
            found[(one_of,)] = values
        return found

    return compute


def share_known(look: Looked) -> float | None:
    users = {run.who for run in [*look.ran(), *look.started()]}
    known = [who for who in users if who in look.world.people]
    return len(known) / len(users) if users else None


def hours_of(field: str) -> Callable[[Looked], dict[Any, Any]]:
    def compute(look: Looked) -> dict[Any, Any]:
        found = of_people(field)(look)
        return {key: values[1] for key, values in found.items()}

    return compute


def nodes(look: Looked) -> dict[Any, Any]:
    hours = look.summed(node)
    servers, users = look.over_time(node), look.over_time(node, users=True)
    found = {}
    for name in hours:
        if look.nodes is None or name in look.nodes:
            average = [n for (_, one_of), n in servers.items() if one_of == name]
            most = max(n for (_, one_of), n in users.items() if one_of == name)
            found[(name,)] = (
                hours[name], sum(average) / len(average), max(average), most,
            )  # fmt: skip
    return found


def adoption(look: Looked) -> dict[Any, int]:
    return {
        (at, image or NOT_KNOWN): users
        for (at, image), users in look.weekly().items()
        if look.images is None or image in look.images
    }


def the_user(look: Looked) -> list[tuple[Any, ...]]:
    assert look.user is not None
    person = look.world.people.get(look.user)
    mine = [run for run in look.world.runs if run.who == look.user]
    told = (person.full_name, person.email, person.department, person.job_title) if person else ()
    return [(*(told or (None,) * 4), min(r.started_at for r in mine), last_seen(look, look.user))]


def groups(look: Looked) -> list[tuple[Any, ...]]:
    return sorted(
        (one.group, one.since, one.until)
        for one in look.world.members
        if one.who == look.user
        and one.since < look.until
        and (one.until is None or one.until > look.since)
    )


def user_hours(look: Looked) -> dict[str, float]:
    parts = with_and_without(look)
    return {
        "Hours": sum(parts.values()),
        "Hours with GPU": parts["With GPU"],
        "Hours without GPU": parts["Without GPU"],
    }


def counted(look: Looked) -> dict[str, int]:
    ready = [run for run in look.overlapping() if run.ready_at is not None]
    return {
        "Sessions": len(ready),
        "Failed starts": sum(run.ready_at is None for run in look.started()),
        "Applications used": len({run.image_base for run in ready} - {None}),
    }


def timeline(look: Looked) -> dict[Any, list[str | None]]:
    """What each server does at each change, where it changes twice at once the later last."""
    changes = []
    for run in look.overlapping():
        server = run.server_name or "(default)"
        begins = max(run.started_at, look.since)
        if run.ready_at is None:
            changes.append((begins, server, "failed"))
        elif run.ready_at <= look.since:
            changes.append((begins, server, run.image_base or "running"))
        else:
            changes.append((begins, server, "starting"))
            if run.ready_at < look.until:
                changes.append((run.ready_at, server, run.image_base or "running"))
        if run.ended_at is not None and run.ended_at < look.until:
            changes.append((run.ended_at, server, None))
    found: dict[Any, list[str | None]] = {}
    for at, server, doing in sorted(changes, key=lambda change: change[0]):
        found.setdefault((at, server), []).append(doing)
    return found


def timeline_rows(rows: Rows) -> dict[Any, list[str | None]]:
    found: dict[Any, list[str | None]] = {}
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    for row in rows:
        found.setdefault((row["time"], row["server"]), []).append(row["doing"])
    return found


def by_day(look: Looked) -> dict[Any, Any]:
    found = {}
    for begins, ends in look.days():
        mine = [(run.on_gpu, run.hours(begins, ends)) for run in look.ran()]
        if any(hours for _, hours in mine):
            found[(begins,)] = (
                sum(hours for on_gpu, hours in mine if on_gpu),
                sum(hours for on_gpu, hours in mine if not on_gpu),
            )
    return found


def sessions(look: Looked) -> list[tuple[Any, ...]]:
    """Without the length of what runs."""
    found = []
    for run in sorted(look.overlapping(), key=lambda run: run.started_at, reverse=True):
        length = None if run.ended_at is None else (run.ended_at - run.started_at).total_seconds()
        ready = run.ready_at
        waited = None if ready is None else (ready - run.started_at).total_seconds()
        state = "running" if run.ended_at is None else "failed" if ready is None else "ended"
        names = ("profile", "image", "node", "gpus")
        found.append((
            run.started_at, run.ended_at, length, waited, run.server_name, state, run.reason,
            *(run.facts.get(name) for name in names), False,
        ))  # fmt: skip
    return found


def session_rows(rows: Rows) -> list[tuple[Any, ...]]:
    return [
        tuple(
            None
            if name == "seconds" and row["ended_at"] is None
            else float(value)
            if name.endswith("seconds") and value is not None
            else value
            for name, value in row.items()
        )
        for row in rows
    ]


def users_over(length: timedelta) -> Callable[[Looked], dict[str, Any]]:
    return one(lambda look: look.over(length).active_users())


def everyone(look: Looked) -> int:
    who = {run.who for run in look.world.runs} | set(look.world.people)
    return len([one_of for one_of in who if one_of[0] in look.hubs])


def departments_by_image(look: Looked) -> dict[Any, int]:
    key = look.known("department")
    return look.users_by(lambda run: (key(run), base(run)))


TOP = ("full_name", "user_email", "hours", "starts")

EXPECTATIONS: dict[str, Expectation] = {
    "overview / Users, last hour": (only, users_over(HOUR)),
    "overview / Users, last 24 hours": (only, users_over(DAY)),
    "overview / Users, last 30 days": (only, users_over(30 * DAY)),
    "overview / Users, last year": (only, users_over(365 * DAY)),
    "overview / Total users": (only, one(everyone)),
    "overview / Running servers": (only, one(lambda look: len(look.present(look.until)))),
    "overview / Last hour": (first, seen),
    "overview / Failed starts": (only, one(failed_share)),
    "overview / Active users": (by("time", "metric"), lambda at: at.over_time(hub, users=True)),
    "overview / Applications": (by("time", "metric"), lambda look: look.over_time(hub)),
    "overview / Applications by node": (by("time", "metric"), lambda look: look.over_time(node)),
    "overview / Applications by type": (by("time", "metric"), lambda look: look.over_time(base)),
    "overview / Top users": (top_rows, top(*TOP)),
    "overview / Applications used": (by("image_base", "image_version"), images),
    "overview / Why sessions ended": (by("reason"), why),
    "overview / Servers that have run for over 24 hours": (listed, long_running),
    "overview / Hours of the week": (by("hour", "weekday"), week),
    "users / Active users": (only, one(lambda look: look.active_users())),
    "users / Users added": (only, one(lambda look: len(added(look)))),
    "users / Hours": (only, one(lambda look: sum(look.hours(run) for run in look.runs()))),
    "users / Requested": (first, requested),
    "users / User growth": (
        by("time"), lambda look: keyed(dict(Counter(map(midnight(look), added(look))))),
    ),
    "users / Total users": (by("time"), total_over_time),
    "users / Daily active users": (by("time", "metric"), daily),
    "users / CPU against GPU hours": (first, with_and_without),
    "users / Node distribution": (by("node"), lambda look: keyed(look.summed(node))),
    "users / Container versions": (by("image_base", "image_version"), named_images),
    "users / Users": (top_rows, top(*TOP[:2], "department", *TOP[2:])),
    "user / The user": (listed, the_user),
    "user / Groups": (listed, groups),
    "user / Hours": (first, user_hours),
    "user / Sessions": (first, counted),
    "user / Requested": (first, lambda look: {**requested(look), "Waiting": waiting(look)}),
    "user / Timeline of sessions": (timeline_rows, timeline),
    "user / Hours by day": (by("time"), by_day),
    "user / Sessions one by one": (session_rows, sessions),
    "demographics / Department known": (only, one(share_known)),
    "demographics / Hours by department": (by("department"), hours_of("department")),
    "demographics / Departments": (by("department"), of_people("department")),
    "demographics / Users by job title": (
        by("job_title"), lambda look: keyed(look.users_by(look.known("job_title"))),
    ),
    "demographics / Job titles": (by("job_title"), of_people("job_title", gpu_only=True)),
    "demographics / Department by application": (
        by("department", "image"), departments_by_image,
    ),
    "nodes / Servers by node": (by("time", "metric"), chosen_nodes),
    "nodes / Users by node": (
        by("time", "metric"), lambda look: chosen_nodes(look, users=True),
    ),
    "nodes / Node by hour": (by("time", "metric"), chosen_nodes),
    "nodes / Nodes": (by("node"), nodes),
    "nodes / Servers by GPUs": (by("time", "metric"), lambda look: look.over_time(gpus)),
    "nodes / Servers by image": (by("time", "metric"), chosen_images),
    "nodes / Image adoption": (by("time", "metric"), adoption),
    "nodes / Images": (by("image_base", "image_version", "image"), lambda look: {
        (*key, run_image): value
        for key, value in images(look).items()
        for run_image in {r.facts.get("image") for r in look.world.runs if image_of(r) == key}
    }),
    "nodes / Servers by profile": (by("time", "metric"), lambda look: look.over_time(profile)),
}  # fmt: skip
