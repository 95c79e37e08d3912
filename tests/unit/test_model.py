"""Events: their identity, their wire format, and what breaks it."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from builders import T0, at, event
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.errors import MalformedEvent
from jupyterhub_metrics.model import (
    KINDS,
    SOURCES,
    Event,
    Session,
    isoformat,
    moment_of,
    session_id,
)
from jupyterhub_metrics.wire import MAX_FACTS_BYTES, event_from_wire

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=255)
MOMENTS = st.datetimes(
    datetime(2000, 1, 2), datetime(2199, 12, 30), timezones=st.just(timezone.utc)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "image": NAMES,
        "gpus": st.floats(0, 1e6),
        "memory_limit_bytes": st.integers(0, 2**63 - 1),
        "groups": st.lists(NAMES, max_size=3),
        "user_options": st.dictionaries(NAMES, JSON, max_size=3),
        "unheard_of": JSON,
    },
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(KINDS))
    hub, username = draw(NAMES.filter(bool)), draw(NAMES.filter(bool))
    server_name, started_at = draw(NAMES), draw(MOMENTS)
    before, occurred, after = sorted(draw(st.tuples(MOMENTS, MOMENTS, MOMENTS)))
    of_session: dict[str, Any] = {
        "session_id": session_id(hub, username, server_name, started_at),
        "started_at": started_at,
    }
    return Event(
        kind=kind,
        hub=hub,
        username=username,
        server_name=server_name,
        occurred_at=occurred,
        not_before=before,
        not_after=after,
        source=draw(st.sampled_from(SOURCES)),
        reason=draw(st.none() | st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)),
        actor=draw(st.none() | NAMES.filter(bool)),
        exit_status=draw(st.none() | st.integers(-(2**31) + 1, 2**31 - 1)),
        facts=draw(FACTS),
        **({} if kind == "rejected" else of_session),
    )


def test_the_identity_rule_never_changes() -> None:
    started_at = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=timezone.utc)
    known = session_id("campus", "ada", "gpu", started_at)
    assert known == uuid.UUID("5aca38cd-482a-5641-be7e-4af39be3d15f")
    assert event("requested").id == uuid.UUID("77126c5b-5624-5eba-b559-de1219bf65c8")


def test_the_id_is_of_the_moment_and_not_of_its_zone() -> None:
    elsewhere = T0.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert session_id("h", "u", "", T0) == session_id("h", "u", "", elsewhere)
    assert session_id("h", "u", "", T0) != session_id("h", "u", "", T0 + timedelta(microseconds=1))
    with pytest.raises(ValueError, match="naive"):
        session_id("h", "u", "", T0.replace(tzinfo=None))


@given(events())
def test_an_event_comes_back_from_the_wire_as_it_was(sent: Event) -> None:
    received = event_from_wire(json.loads(sent.to_json()))
    assert received == sent
    assert received.to_json() == sent.to_json()


@given(events(), events())
def test_different_events_have_different_ids(one: Event, other: Event) -> None:
    same = {**one.to_wire(), "id": None} == {**other.to_wire(), "id": None}
    assert (one.id == other.id) == same


MALFORMED = [
    ("kind", "began"),
    ("kind", None),
    ("kind", ["requested"]),
    ("hub", ""),
    ("hub", 7),
    ("username", None),
    ("username", "x" * 256),
    ("username", "a\0b"),
    ("username", "\ud800"),
    ("server_name", None),
    ("session_id", None),
    ("session_id", "x"),
    ("session_id", "8f1d8a1e-5a0e-5f0b-9a55-0d6c1f6f9c11"),
    ("id", None),
    ("id", 12),
    ("started_at", None),
    ("started_at", "yesterday"),
    ("occurred_at", None),
    ("occurred_at", "2026-03-01T08:00:00"),
    ("occurred_at", 1772352000),
    ("occurred_at", "1999-12-31T23:59:59Z"),
    ("occurred_at", "2200-01-01T00:00:00Z"),
    ("occurred_at", "0001-01-01T00:00:00+23:59"),
    ("not_before", "2026-03-01T08:00:01Z"),
    ("source", "rumour"),
    ("reason", "Because I say so"),
    ("reason", "x" * 65),
    ("actor", 5),
    ("exit_status", 2**31),
    ("exit_status", True),
    ("exit_status", 1.5),
    ("facts", []),
    ("facts", {"note": "x" * MAX_FACTS_BYTES}),
    ("facts", {"note": "a\0b"}),
    ("facts", {"a\0b": 1}),
    ("facts", {"note": float("nan")}),
    ("facts", {"deep": [float("inf")]}),
    ("facts.gpus", {"gpus": "many"}),
    ("facts.gpus", {"gpus": -1}),
    ("facts.gpus", {"gpus": True}),
    ("facts.gpus", {"gpus": float("nan")}),
    ("facts.memory_limit_bytes", {"memory_limit_bytes": 2**63}),
    ("facts.image", {"image": None}),
    ("facts.groups", {"groups": "physics"}),
    ("facts.groups", {"groups": [1]}),
    ("facts.user_options", {"user_options": []}),
    ("facts.username", {"username": ""}),
    ("facts.username", {"username": "x" * 256}),
    ("shoe_size", 43),
]


@pytest.mark.parametrize(("field", "value"), MALFORMED, ids=lambda value: ascii(value)[:40])
def test_a_malformed_event_names_its_field(field: str, value: Any) -> None:
    raw = event("requested").to_wire()
    raw[field.split(".")[0]] = value
    with pytest.raises(MalformedEvent) as refused:
        event_from_wire(raw)
    assert refused.value.field == field
    assert "found" in str(refused.value)
    assert "expected" in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("raw", [None, [], "event", 1])
def test_what_is_no_object_is_no_event(raw: Any) -> None:
    with pytest.raises(MalformedEvent, match="expected an object"):
        event_from_wire(raw)


def test_a_rejected_request_belongs_to_no_session() -> None:
    sent = event("rejected", reason="throttled")
    assert event_from_wire(sent.to_wire()) == sent
    raw = sent.to_wire() | {"session_id": str(uuid.uuid4())}
    with pytest.raises(MalformedEvent, match="session_id"):
        event_from_wire(raw)


def session(**changes: Any) -> Session:
    values: dict[str, Any] = {
        "id": uuid.UUID(int=1),
        "hub": "campus",
        "username": "ada",
        "server_name": "",
        "started_at": at(0),
        "state": "ended",
        "ended_at": at(100),
    }
    return Session(**values | changes)


@pytest.mark.parametrize(
    ("changes", "whole", "part"),
    [
        ({}, 100, 40),
        ({"state": "running", "ended_at": None}, 150, 40),
        ({"state": "starting", "ended_at": None}, 0, 0),
        ({"state": "failed"}, 0, 0),
        ({"ended_at": at(30)}, 30, 20),
        ({"ended_at": at(0)}, 0, 0),
    ],
)
def test_only_servers_that_ran_have_seconds(
    changes: dict[str, Any], whole: float, part: float
) -> None:
    assert session(**changes).seconds(at(150)) == whole
    assert session(**changes).seconds_between(at(10), at(50), at(150)) == part


def test_waiting_lasts_until_ready_if_that_was_seen() -> None:
    assert session(ready_at=at(12.5)).waiting_seconds() == 12.5
    assert session().waiting_seconds() is None


def test_moments_are_written_in_utc_with_six_decimals() -> None:
    assert isoformat(at(0.5)) == "2026-03-01T08:00:00.500000Z"


@given(st.datetimes(timezones=st.just(timezone.utc)))
def test_what_is_written_of_a_moment_is_read_back(moment: datetime) -> None:
    assert moment_of(isoformat(moment)) == moment


@pytest.mark.parametrize("length", [250, 251, 255])
@pytest.mark.parametrize("kind", ["user", "service"])
def test_an_actor_has_room_for_the_longest_name(length, kind):
    sent = event("stopped", username="x" * length, actor=f"{kind}:{'x' * length}")
    assert event_from_wire(json.loads(sent.to_json())) == sent


@pytest.mark.parametrize("changed", [{"actor": "user:grace"}, {"facts": {"node": "n2"}}])
def test_two_events_cannot_share_an_id(changed):
    sent = event("stopped", 9, actor="user:ada", facts={"node": "n1"}).to_wire()
    with pytest.raises(MalformedEvent, match="not derived") as refused:
        event_from_wire({**sent, **changed})
    assert refused.value.field == "id"
