"""The clock of one session never runs backwards and keeps the session's true length."""

from __future__ import annotations

from datetime import timedelta

from builders import T0
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.hub.clock import SessionClock
from jupyterhub_metrics.hub.started import stored_started


class Hands:
    """A wall clock and a monotonic one that a test sets."""

    def __init__(self) -> None:
        self.wall, self.passed = T0, 0.0

    def pass_by(self, seconds: float, *, step: float = 0.0) -> None:
        self.passed += seconds
        self.wall += timedelta(seconds=seconds + step)

    def clock(self) -> SessionClock:
        return SessionClock(T0, wall=lambda: self.wall, monotonic=lambda: self.passed)


def test_a_wall_clock_set_back_an_hour_does_not_shorten_the_session():
    hands = Hands()
    clock = hands.clock()
    hands.pass_by(600)
    assert clock.now() == T0 + timedelta(seconds=600)
    hands.pass_by(300, step=-3600)
    assert clock.now() == T0 + timedelta(seconds=900)
    assert clock.stepped_back


def test_a_steady_wall_clock_is_told_as_it_is():
    hands = Hands()
    clock = hands.clock()
    hands.pass_by(42)
    assert clock.now() == hands.wall
    assert not clock.stepped_back


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e5, 1e5)), max_size=30))
def test_moments_of_a_session_never_run_backwards(turns):
    hands = Hands()
    clock = hands.clock()
    latest = T0
    for seconds, step in turns:
        hands.pass_by(seconds, step=step)
        moment = clock.now()
        assert moment >= latest
        latest = moment


def test_started_is_what_the_hubs_database_will_show():
    late = T0.replace(microsecond=840_000)
    assert stored_started(late, "sqlite") == stored_started(late, "postgresql") == late
    assert stored_started(late, "mariadb") == T0
    assert stored_started(late, "mysql") == T0 + timedelta(seconds=1)
    assert stored_started(T0.replace(microsecond=499_999), "mysql") == T0
