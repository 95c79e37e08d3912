"""Rates from counters, whatever happens to the counters and the clocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.sampler.rates import increase, per_second, shares

COUNTS = st.integers(0, 2**50).map(float)


@given(COUNTS, st.integers(0, 2**40), st.floats(0.01, 3600))
def test_a_rate_is_what_was_added_by_the_time(before: float, added: int, seconds: float) -> None:
    assert per_second(before, before + added, seconds) == added / seconds


@given(st.sampled_from([32, 64]), st.integers(0, 2**20), st.integers(0, 2**20))
def test_a_counter_that_wraps_goes_on(bits: int, left: int, beyond: int) -> None:
    before, after = float(2**bits - 1 - left), float(beyond)
    grown = increase(before, after, wraps=True)
    assert grown is not None
    # a double has 53 bits
    assert abs(grown - (left + 1 + beyond)) <= 2 ** max(bits - 52, 0)


@given(COUNTS, COUNTS)
def test_a_counter_that_was_reset_has_no_rate(before: float, after: float) -> None:
    if after < before:
        assert increase(before, after) is None


def test_a_reset_far_from_the_end_is_no_wrap() -> None:
    assert increase(2.0**31, 5, wraps=True) is None
    assert increase(3.9e9, 2.0**31, wraps=True) is None
    assert increase(4.2e9, 5, wraps=True) == 2**32 - 4.2e9 + 5


def test_without_time_there_is_no_rate() -> None:
    assert per_second(1, 2, 0) is None
    assert per_second(1, 2, -1) is None
    assert per_second(None, 2, 1) is None
    assert per_second(1, None, 1) is None


@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(COUNTS, st.integers(0, 2**30))))
def test_shares_are_all_of_what_grew(counters: dict[str, tuple[float, int]]) -> None:
    before = {name: start for name, (start, _) in counters.items()}
    after = {name: start + grown for name, (start, grown) in counters.items()}
    found = shares(before, after)
    if any(grown for _, grown in counters.values()):
        assert abs(sum(found.values()) - 100) < 1e-6
        assert all(0 <= share <= 100 for share in found.values())
    else:
        assert found == {}


def test_an_idle_time_that_goes_back_counts_as_none() -> None:
    assert shares({"idle": 100.0, "user": 1.0}, {"idle": 99.0, "user": 2.0}) == {
        "idle": 0.0,
        "user": 100.0,
    }
