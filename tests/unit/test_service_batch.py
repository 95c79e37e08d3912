"""How a posted batch is split. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_fixtures import event

from jupyterhub_metrics.service.batch import BatchRefused, read_batch

GOOD = event("hub").to_wire()

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
spoiled = st.builds(
    lambda field, value: GOOD | {field: value}, st.sampled_from([*GOOD, "reason", "new"]), values
)


@given(st.lists(st.just(GOOD) | spoiled | values, min_size=1, max_size=6))
def test_every_event_of_a_batch_is_either_stored_or_reported(raws: list[Any]) -> None:
    batch = read_batch(json.dumps({"hub": "hub", "events": raws}).encode(), "hub")
    reported = [rejection.index for rejection in batch.rejected]
    assert sorted([*batch.places, *reported]) == list(range(len(raws)))
    assert batch.received == len(raws)
    for place, kept in zip(batch.places, batch.events, strict=True):
        assert str(kept.id) == str(raws[place]["id"]).lower()
        json.loads(kept.to_json(), parse_constant=pytest.fail)


names_no_hub = values.filter(
    lambda value: not (isinstance(value, dict) and isinstance(value.get("hub"), str))
)


@given(st.binary(max_size=60) | names_no_hub.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_batch_is_refused_and_never_raises_otherwise(body: bytes) -> None:
    with pytest.raises(BatchRefused) as refused:
        read_batch(body, "hub")
    assert refused.value.status == 400
    assert "\n" not in str(refused.value)


def test_a_number_that_no_database_keeps_rejects_its_event_alone() -> None:
    body = json.dumps({"hub": "hub", "events": [GOOD | {"facts": {"other": float("nan")}}, GOOD]})
    batch = read_batch(body.encode(), "hub")
    assert batch.places == (1,)
    assert batch.rejected[0].field == "facts"


def test_what_a_recorder_says_of_itself_is_read_and_never_costs_an_event() -> None:
    sent = event("campus")
    for said, known in [
        ({"outbox_events": 3, "faults": 0}, {"outbox_events": 3.0, "faults": 0.0}),
        ({"outbox_events": -1, "faults": True, "lost_events": "many", "x": 1}, {}),
        ({"outbox_oldest_seconds": 1e400}, {}),
        ("well", {}),
        (None, {}),
    ]:
        body = {"hub": "campus", "events": [sent.to_wire()], "recorder": said}
        batch = read_batch(json.dumps(body).encode(), "campus")
        assert (batch.events, dict(batch.recorder)) == ((sent,), known)
