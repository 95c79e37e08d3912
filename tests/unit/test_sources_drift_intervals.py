"""How narrowly an end is known that nobody saw. Pure; times are seconds after T0."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from builders import at
from worlds import HUB, hub_view, pod, pod_view, server, session

from jupyterhub_metrics.model import Event
from jupyterhub_metrics.sources.drift import Findings, Memory, Rules, diff

RULES = Rules(grace=timedelta(seconds=60), hub_poll=timedelta(seconds=30))


def ended(after: float, before: float, **values: Any) -> Any:
    """A session whose end the Hub's start concluded."""
    given: dict[str, Any] = {
        "state": "ended",
        "ended_at": at(after),
        "ended_after": at(after),
        "ended_before": at(before),
        "end_reason": "died",
        "end_source": "hub_start",
        **values,
    }
    return session(**given)


def compare(known: Any, hub: Any, pods: Any = None, memory: Memory | None = None) -> Findings:
    return diff(HUB, [known], hub, pods, memory or Memory(), rules=RULES)


def bounds(event: Event) -> tuple[Any, Any]:
    return event.not_before, event.not_after


def test_a_view_that_lacks_a_server_tells_when_it_was_gone_though_events_may_be_on_the_way() -> (
    None
):
    known = session(last_event_at=at(290), alive_at=at(290))
    early = compare(known, hub_view(300))
    assert not early.corrections
    late = compare(known, hub_view(600), memory=early.memory)
    [end] = late.corrections
    assert bounds(end) == (at(290), at(300.5))


def test_a_view_from_before_the_latest_event_says_nothing_of_the_server() -> None:
    known = session(started=299.9, last_event_at=at(305), alive_at=at(305))
    early = compare(known, hub_view(300))
    assert not early.memory.lacked_by_hub


def test_what_checks_saw_narrows_an_end_that_a_lost_outbox_made_wide() -> None:
    known = ended(0, 3600, seen_at=at(3300), exit_status=1)
    [end] = compare(known, hub_view(3700)).corrections
    assert bounds(end) == (at(3300), at(3600))
    assert (end.kind, end.reason, end.exit_status) == ("corrected", "died", 1)


def test_a_failed_start_that_only_the_hubs_api_called_ready_stays_as_it_was_told() -> None:
    """A corrected end would count as the check's own, and with it that it was ready."""
    known = ended(0, 3600, state="failed", seen_at=at(3300), shown_ready=True)
    assert not compare(known, hub_view(3700)).corrections


def test_an_end_that_is_as_narrow_as_checks_know_stays() -> None:
    assert not compare(ended(3300, 3600, seen_at=at(3300)), hub_view(3700)).corrections
    assert not compare(ended(3600, 3600, seen_at=at(3300)), hub_view(3700)).corrections


def test_an_end_that_the_hubs_start_concluded_is_withdrawn_while_its_pod_lives() -> None:
    known = ended(20, 300)
    [alive] = compare(known, hub_view(600), pod_view(600, [pod()])).corrections
    assert (alive.source, alive.facts) == ("pods", {"corrects": "alive"})


def test_a_server_that_the_hub_shows_twice_is_vouched_for_up_to_its_last_poll() -> None:
    found = compare(session(), hub_view(600, [server()]))
    assert found.seen[session().id] == at(570)


def test_a_server_that_died_while_it_was_routed_was_not_seen_by_being_called_ready() -> None:
    known = ended(14.1, 15.1, end_source="hub_poll", alive_at=at(14.7), seen_at=at(14.5))
    assert not compare(known, hub_view(100)).corrections
