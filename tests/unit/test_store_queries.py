"""Queries and facts of the store, without a database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.store.facts import parts_of, stored_facts
from jupyterhub_metrics.store.failures import place
from jupyterhub_metrics.store.queries import all_queries

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def test_every_query_says_in_a_comment_what_it_gives() -> None:
    for name, text in all_queries().items():
        first = text.splitlines()[0]
        assert first.startswith("-- "), name
        assert first.endswith("."), name


@given(st.dictionaries(st.text(), JSON) | st.fixed_dictionaries({"image": st.text()}))
def test_preparing_facts_twice_changes_nothing_more(facts: dict[str, object]) -> None:
    once = stored_facts(facts)
    assert stored_facts(once) == once
    kept = {name: value for name, value in facts.items() if value is not None}
    assert kept.items() <= once.items() or "image" in facts


@given(st.dictionaries(st.text(), JSON) | st.fixed_dictionaries({"node": JSON, "image": JSON}))
def test_each_fact_is_in_exactly_one_part(facts: dict[str, object]) -> None:
    parts = parts_of(facts)
    node = {} if parts.node is None else {"node": parts.node}
    assert {**parts.request, **parts.server, **parts.other, **node} == facts
    assert len(parts.request) + len(parts.server) + len(parts.other) + len(node) == len(facts)


def test_an_image_without_tag_overrides_the_tag_of_another() -> None:
    assert stored_facts({"image": "reg:5000/lab"}) == {
        "image": "reg:5000/lab",
        "image_name": "reg:5000/lab",
        "image_tag": None,
        "image_digest": None,
    }


def test_a_place_has_no_password() -> None:
    assert place("postgresql://u:p%40ss@db.example:6432/usage") == "u@db.example:6432/usage"
    assert place("postgresql://u:p@/usage?host=/run/x") == "u@/run/x:5432/usage"
    assert "p@ss" not in place("postgresql://u:p@ss@[::1/usage")
