"""What happens to sessions is counted once, and never taken back."""

from __future__ import annotations

from builders import event
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from jupyterhub_metrics.model import FAILURE_REASONS, REJECTION_REASONS, STOP_REASONS, Event
from jupyterhub_metrics.service.session_flow import OTHER, SessionFlow


class Flow:
    """A flow, and what it tells of the Hub campus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = SessionFlow(self.registry)
        self.sessions.know_hub("campus")

    def told(self, *events: Event) -> None:
        self.sessions.committed(events)

    def value(self, name: str, **labels: str) -> float | None:
        labels = {"hub": "campus", **labels}
        return self.registry.get_sample_value(f"jupyterhub_metrics_{name}", labels)


def test_every_reason_has_a_series_before_anything_happened() -> None:
    flow = Flow()
    assert flow.value("session_starts_total") == 0
    for name, reasons in (
        ("session_failures_total", FAILURE_REASONS),
        ("session_ends_total", STOP_REASONS),
        ("spawn_requests_rejected_total", REJECTION_REASONS),
    ):
        assert [flow.value(name, reason=reason) for reason in (*reasons, OTHER)] == [
            0.0 for _ in (*reasons, OTHER)
        ]


def test_the_life_of_a_session_is_counted_once() -> None:
    flow = Flow()
    flow.told(event("requested"), event("ready", 8), event("stopped", 3600, reason="died"))
    assert flow.value("session_starts_total") == 1
    assert flow.value("session_ends_total", reason="died") == 1
    assert flow.value("session_start_duration_seconds_sum") == 8
    assert flow.value("session_start_duration_seconds_count") == 1
    assert flow.value("session_duration_seconds_sum") == 3600


def test_a_corrected_end_counts_under_both_reasons_and_lasts_once() -> None:
    flow = Flow()
    flow.told(event("stopped", 3600, reason="died"))
    flow.told(event("corrected", 3500, source="container", reason="oom_killed"))
    flow.told(event("corrected", 3500, source="container", reason="oom_killed", exit_status=137))
    assert flow.value("session_ends_total", reason="died") == 1
    assert flow.value("session_ends_total", reason="oom_killed") == 1
    assert flow.value("session_duration_seconds_count") == 1
    assert flow.value("session_duration_seconds_sum") == 3600


def test_corrections_that_end_nothing_are_no_ends() -> None:
    flow = Flow()
    for corrects in ("node", "alive", "existence"):
        flow.told(event("corrected", 5, source="pods", facts={"corrects": corrects}))
    assert flow.value("session_duration_seconds_count") == 0


def test_a_server_that_a_check_found_has_started_and_took_an_unknown_time() -> None:
    flow = Flow()
    flow.told(event("ready", 300, source="hub_api", bounds=(0, 300)))
    flow.told(event("requested"), event("ready", 5, source="hub_start", bounds=(0, 5)))
    assert flow.value("session_starts_total") == 1
    assert flow.value("session_start_duration_seconds_count") == 0


def test_an_unknown_reason_is_another_one() -> None:
    flow = Flow()
    flow.told(event("failed", 5, reason="too_hot"), event("failed", 6))
    assert flow.value("session_failures_total", reason=OTHER) == 1
    assert flow.value("session_failures_total", reason="too_hot") is None


def test_two_rejected_requests_are_two() -> None:
    flow = Flow()
    flow.told(*(event("rejected", second, reason="throttled") for second in (1, 2)))
    assert flow.value("spawn_requests_rejected_total", reason="throttled") == 2


def test_a_simulated_past_is_no_news() -> None:
    flow = Flow()
    flow.told(event("requested", source="simulation"), event("stopped", 5, source="simulation"))
    assert flow.value("session_starts_total") == 0
    assert flow.value("session_duration_seconds_count") == 0


def test_a_clock_that_stepped_back_takes_nothing_from_a_sum() -> None:
    flow = Flow()
    flow.told(event("ready", -5), event("stopped", -9, reason="died"))
    assert flow.value("session_start_duration_seconds_sum") == 0
    assert flow.value("session_duration_seconds_sum") == 0


EVENTS = st.builds(
    event,
    st.sampled_from(["requested", "ready", "failed", "stopped", "corrected"]),
    st.integers(-100, 100_000),
    username=st.sampled_from(["ada", "bob"]),
    reason=st.sampled_from([None, "died", "oom_killed", "timeout", "odd"]),
    source=st.sampled_from(["hub", "hub_api", "container"]),
)


@given(st.lists(EVENTS, max_size=12))
def test_no_counter_ever_goes_down(events: list[Event]) -> None:
    flow = Flow()
    before: dict[tuple[str, str], float] = {}
    for one in events:
        flow.told(one)
        now = {
            (sample.name, str(sample.labels)): sample.value
            for family in flow.registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        }
        assert all(now[key] >= value for key, value in before.items())
        before = now
