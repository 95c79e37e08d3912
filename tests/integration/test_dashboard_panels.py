"""Every panel of the dashboards, asked of a real database, says what the history says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from contents import count_hours
from dashboards import EVERYONE, Panel, all_panels, variable_statements
from grafana_macros import Everything, Value, between
from panel_expectations import EXPECTATIONS as OF_USAGE
from panel_resources import RESOURCES, sampled
from panel_truth import DAY, HOUR, Looked, Membership, Person, Run, Sample, World
from test_store_roles import Roles, roles

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.demo.history import events, history
from jupyterhub_metrics.model import Event, session_id
from jupyterhub_metrics.store import Statement, Store, UpkeepRules

__all__ = ["roles"]

EXPECTATIONS = {**OF_USAGE, **RESOURCES}
PANELS = [panel for panel in all_panels() if panel.statements]
DAYS = 52
PEOPLE = {
    ("campus", "mira"): Person("mira@uni", "Mira Sand", "Physics", "Professor"),
    ("campus", "tomas"): Person("tomas@uni", "Tomas O'Hara", "Physics", "Student"),
    ("physics", "mira"): Person("mira@uni", "Mira Sand", "Chemistry", "Professor"),
    ("campus", "nobody"): Person("no@uni", "Never There", "Physics", "Student"),
}


def simulated(hub: str, seed: int, users: int, now: datetime) -> tuple[list[Run], list[Event]]:
    runs, told = [], []
    for one in history(seed=seed, user_count=users, since=now - DAYS * DAY, until=now - HOUR):
        runs.append(
            Run(
                hub, one.username, one.server_name, one.started_at, one.ready_at, one.ended_at,
                one.reason, one.facts,
            )
        )  # fmt: skip
        told += events(hub, one)
    return runs, told


def running(hub: str, username: str, started_at: datetime, **facts: Any) -> tuple[Run, list[Event]]:
    """A server that still runs; of one that begins with nothing known, nothing ever is."""
    ready_at = started_at + timedelta(seconds=20)
    run = Run(hub, username, "big", started_at, ready_at, None, None, facts)
    identity: dict[str, Any] = {
        "hub": hub, "username": username, "server_name": "big", "started_at": started_at,
        "session_id": session_id(hub, username, "big", started_at), "source": "hub",
    }  # fmt: skip
    return run, [
        Event(kind="requested", occurred_at=started_at, facts=facts, **identity),
        Event(kind="ready", occurred_at=ready_at, **identity),
    ]


async def record_samples(dsn: str, samples: Mapping[Any, Mapping[str, Sequence[Sample]]]) -> None:
    """As the functions do that find the session of a pod or of a server."""
    connection = await asyncpg.connect(dsn)
    for source in ("node", "server"):
        told = [
            (
                session_id(*identity), one.at.timestamp(), one.seconds, one.memory_bytes,
                one.cpu_cores, one.oom_kills, None, None,
            )
            for identity, by_source in samples.items()
            for one in by_source.get(source, ())
        ]  # fmt: skip
        taken = await connection.fetchval(
            "SELECT add_session_samples($1, $2::session_sample[])", source, told
        )
        assert taken == len(told)
    await connection.close()


@pytest.fixture
async def world(store: Store, postgres_dsn: str) -> World:
    """52 days of two Hubs until now, with servers that still run; the days before are closed.

    Some sessions were sampled.
    """
    now = utc_now().replace(microsecond=0)
    runs, told = simulated("campus", 3, 6, now)
    for more, events_of_more in (
        simulated("physics", 4, 3, now),
        ([(big := running("campus", "mira", now - 31 * HOUR, image="r.org/a/big:7", gpus=2))[0]],
         big[1]),
        ([(bare := running("physics", "tomas", now - 2 * HOUR))[0]], bare[1]),
    ):  # fmt: skip
        runs += more
        told += events_of_more
    for begin in range(0, len(told), 600):
        await store.ingest(told[begin : begin + 600])
    before, left = now - 60 * DAY, now - 40 * DAY
    staff, club = ["mira", "tomas"], ["admin"]
    await store.record_memberships("campus", {"staff": staff, "club": club}, before)
    await store.record_memberships("campus", {"staff": staff}, left)
    await store.record_memberships("physics", {"staff": ["admin"]}, before)
    await store.record_people(
        [
            Statement(hub, name, "file", before, vars(person))
            for (hub, name), person in PEOPLE.items()
        ]
    )
    connection = await asyncpg.connect(postgres_dsn)
    await count_hours(connection, now.replace(minute=0, second=0))
    await connection.close()
    while any((await store.upkeep(UpkeepRules(), now)).done.values()):
        pass
    members = [
        Membership("staff", ("campus", "mira"), before, None),
        Membership("staff", ("campus", "tomas"), before, None),
        Membership("staff", ("physics", "admin"), before, None),
        Membership("club", ("campus", "admin"), before, left),
    ]
    samples = sampled(runs)
    await record_samples(postgres_dsn, samples)
    return World(runs, PEOPLE, members, now, samples)


def looks(world: World) -> dict[str, Looked]:
    """A day until now, ten days of the past that begin and end anywhere, and all of it."""
    now = world.now
    middle = now - 20 * DAY - timedelta(minutes=17)
    return {
        "a day": Looked(
            world, now - DAY - timedelta(minutes=13), now, ["campus", "physics"],
            user=("campus", "mira"),
        ),
        "some days": Looked(
            world, middle - 10 * DAY - timedelta(hours=5, seconds=1), middle, ["campus"],
            groups=["staff", "club"], user=("campus", "tomas"), nodes=["general-1", "gpu-2"],
            images=["scipy"],
        ),
        "all of it": Looked(
            world, now - 53 * DAY - HOUR, now, ["campus", "physics"], groups=["club"],
            user=("physics", "mira"),
        ),
    }  # fmt: skip


def variables(look: Looked, uid: str) -> dict[str, Value | Everything]:
    everyone = Everything(EVERYONE)
    assert look.user is not None
    detail = uid.endswith("-user")
    return {
        "hub": look.user[0] if detail else list(look.hubs),
        "user": look.user[1],
        "group": everyone if look.groups is None else list(look.groups),
        "node": everyone if look.nodes is None else list(look.nodes),
        "image": everyone if look.images is None else list(look.images),
    }


def of_panel(look: Looked, panel: Panel) -> Looked:
    """As far as the panel follows the variables."""
    statement = panel.statements[0]
    return Looked(
        look.world, look.since, look.until, look.hubs,
        groups=look.groups if "${group" in statement else None,
        user=look.user if "${user" in statement else None,
        nodes=look.nodes if "${node" in statement else None,
        images=look.images if "${image" in statement else None,
    )  # fmt: skip


def comparable(value: Any, now: datetime) -> Any:
    """Numbers to nine digits; moments after now, at which a session was still seen, as None."""
    if isinstance(value, dict):
        return {key: comparable(one, now) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(one, now) for one in value]
    if isinstance(value, datetime):
        return None if value > now else value
    if isinstance(value, (str, bool)) or value is None:
        return value
    return pytest.approx(float(value), rel=1e-9, abs=1e-9)


def as_lists(value: Any) -> Any:
    """Tuples as lists, so that they can be compared with what is approximate."""
    if isinstance(value, dict):
        return {key: as_lists(one) for key, one in value.items()}
    return [as_lists(one) for one in value] if isinstance(value, (list, tuple)) else value


@pytest.fixture
async def asked(
    store: Store, postgres_dsn: str, engine: str, roles: Roles
) -> AsyncIterator[asyncpg.Connection]:
    """Asks as Grafana does: as the reader, where the engine knows roles."""
    if engine != "plain":
        connection = await asyncpg.connect(postgres_dsn)
        yield connection
        await connection.close()
    else:
        await roles.create()
        async with roles.connected("reader") as connection:
            yield connection


def test_what_is_expected_is_what_there_is() -> None:
    assert {panel.name for panel in PANELS} == set(EXPECTATIONS)
    assert all(len(panel.statements) == 1 for panel in PANELS)


async def test_every_panel_says_what_the_history_says(
    world: World, asked: asyncpg.Connection
) -> None:
    empty = {panel.name for panel in PANELS}
    for name, look in looks(world).items():
        for panel in PANELS:
            view = between(look.since, look.until, variables(look, panel.uid))
            rows = await asked.fetch(view.sends(panel.statements[0]))
            read, expected = EXPECTATIONS[panel.name]
            found = comparable(read(rows), world.now)
            assert as_lists(expected(of_panel(look, panel))) == found, f"{panel.name}, {name}"
            if rows:
                empty.discard(panel.name)
    assert not empty, "no rows in any range"

    look = looks(world)["all of it"]
    view = between(look.since, look.until, {"hub": list(look.hubs)})
    offered = {
        name.rpartition("/ ")[2]: [row[0] for row in await asked.fetch(view.sends(statement))]
        for name, statement in variable_statements()
    }
    ran = look.over(look.until - look.since).ran()
    assert offered == {
        "hub": ["campus", "physics"],
        "group": ["club", "staff"],
        "user": sorted({run.username for run in world.runs}),
        "node": sorted({run.facts["node"] for run in ran if "node" in run.facts}),
        "image": sorted({run.image_base for run in ran if run.image_base}),
    }
