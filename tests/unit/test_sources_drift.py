"""What a comparison of events, Hub and cluster concludes. Pure; times are seconds after T0."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import at
from worlds import HUB, hub_view, pod, pod_view, server, session

from jupyterhub_metrics.model import CONTAINER_REASONS, UNSEEN, Event, session_id
from jupyterhub_metrics.sources.drift import DRIFTS, Findings, Memory, Rules, diff
from jupyterhub_metrics.sources.endings import reason_of
from jupyterhub_metrics.wire import event_from_wire

RULES = Rules(grace=timedelta(seconds=60), hub_poll=timedelta(seconds=30))


def rounds(*views: tuple[Any, Any], sessions: list[Any], **options: Any) -> list[Findings]:
    """Comparisons one after another, each with what the one before remembers."""
    memory, found = Memory(), []
    for hub, pods in views:
        found.append(diff(HUB, sessions, hub, pods, memory, rules=RULES, **options))
        memory = found[-1].memory
    return found


def only(findings: Findings) -> Event:
    [event] = findings.corrections
    assert event_from_wire(event.to_wire()) == event
    return event


def bounds(event: Event) -> tuple[Any, Any, Any]:
    return event.not_before, event.occurred_at, event.not_after


def counted(findings: Findings) -> dict[str, int]:
    assert set(findings.counts) == set(DRIFTS)
    return {kind: count for kind, count in findings.counts.items() if count}


def test_where_all_agree_nothing_is_found() -> None:
    [found] = rounds((hub_view(300, [server()]), pod_view(300, [pod()])), sessions=[session()])
    assert (found.corrections, counted(found), found.unrecorded) == ((found.corrections[0],), {}, 0)
    assert only(found).facts["node"] == "n1", "events said nothing about the place"
    assert found.seen == {session().id: at(300)}


def test_a_session_is_ended_when_two_views_in_a_row_lack_it() -> None:
    seen = session(seen_at=at(270))
    first, second = rounds((hub_view(600), None), (hub_view(900), None), sessions=[seen])
    assert first.corrections == ()
    assert seen.id in first.waiting
    assert bounds(only(second)) == (at(270), at(270), at(600.5))
    assert (only(second).source, only(second).reason) == ("hub_api", UNSEEN)
    assert counted(second) == {"missing": 1}


def test_one_whose_stop_raised_is_left_to_the_recorder_which_polls_it() -> None:
    left = session(stop_failed=True)
    *_, third = rounds(
        *((hub_view(seconds), None) for seconds in (600, 900, 1200)), sessions=[left]
    )
    assert (third.corrections, counted(third)) == ((), {"outlived": 1})


def test_one_whose_stop_raised_ends_with_its_pod() -> None:
    left = session(stop_failed=True)
    there = (hub_view(300), pod_view(300, [pod()]))
    ended = pod(finished_at=at(500), finish_reason="Completed", exit_status=0)
    first, second = rounds(there, (hub_view(600), pod_view(600, [ended])), sessions=[left])
    assert counted(first) == {"outlived": 1}
    assert (only(second).source, only(second).not_after) == ("container", at(500))


def test_one_view_that_shows_it_again_forgets_that_it_was_missed() -> None:
    found = rounds(
        (hub_view(300), None),
        (hub_view(600, [server()]), None),
        (hub_view(900), None),
        sessions=[session()],
    )
    assert [one.corrections for one in found] == [(), (), ()]


def test_the_events_of_a_stop_have_time_to_arrive() -> None:
    young = session(last_event_at=at(550))
    found = rounds((hub_view(600), None), (hub_view(605), None), sessions=[young])
    assert [one.corrections for one in found] == [(), ()]
    assert counted(found[1]) == {}
    assert young.id in found[1].waiting


def test_a_source_that_does_not_answer_ends_nothing() -> None:
    found = rounds((None, None), (None, None), (None, None), sessions=[session()])
    assert [one.corrections for one in found] == [(), (), ()]


def test_a_view_that_was_not_had_neither_counts_nor_forgets() -> None:
    views = [(hub_view(300), None), (None, None), (hub_view(900), None)]
    found = rounds(*views, sessions=[session()])
    assert not found[1].corrections
    assert only(found[2]).not_after == at(300.5)


def test_a_start_that_vanished_is_a_failed_start() -> None:
    starting = session(state="starting")
    found = rounds((hub_view(300), None), (hub_view(600), None), sessions=[starting])
    assert only(found[1]).kind == "failed"


def test_a_new_start_of_the_same_server_bounds_the_end_of_the_old_one() -> None:
    old, new = session(seen_at=at(100)), session(started=200)
    view = [server(started=200)]
    found = rounds((hub_view(600, view), None), (hub_view(900, view), None), sessions=[old, new])
    event = only(found[1])
    assert event.session_id == old.id
    assert bounds(event) == (at(100), at(100), at(200))


def test_a_server_that_no_event_announced_gets_a_session() -> None:
    [found] = rounds((hub_view(300, [server("bob", "gpu", started=7.25)]), None), sessions=[])
    event = only(found)
    assert event.session_id == session_id(HUB, "bob", "gpu", at(7.25))
    assert (event.kind, event.not_before) == ("ready", at(7.25))
    assert event.not_before < event.not_after
    assert counted(found) == {"unannounced": 1}
    assert found.unrecorded == 1


def test_an_unannounced_server_that_still_starts_exists_and_is_not_ready() -> None:
    pending = server(ready=False, pending="spawn")
    [found] = rounds((hub_view(300, [pending]), None), sessions=[])
    assert (only(found).kind, only(found).facts) == ("corrected", {"corrects": "existence"})


def test_the_pod_of_an_unannounced_server_tells_its_facts() -> None:
    mine = pod(image="lab:1", memory_limit_bytes=2**30)
    [found] = rounds((hub_view(300, [server()]), pod_view(300, [mine])), sessions=[])
    assert only(found).facts == {
        "node": "n1",
        "image": "lab:1",
        "memory_limit_bytes": 2**30,
        "namespace": "jhub",
        "pod_name": mine.name,
    }
    assert counted(found) == {"unannounced": 1}


def test_a_young_server_is_left_to_its_recorder() -> None:
    [found] = rounds((hub_view(300, [server(started=250)]), None), sessions=[])
    assert (found.corrections, found.unrecorded) == ((), 0)


def test_starts_that_a_database_cut_to_the_second_are_the_same() -> None:
    [found] = rounds((hub_view(300, [server(started=7)]), None), sessions=[session(started=7.9)])
    assert found.corrections == ()


def test_a_session_that_only_polls_saw_is_counted() -> None:
    [found] = rounds((hub_view(300, [server()]), None), sessions=[session(recorded=False)])
    assert found.unrecorded == 1


def test_a_start_whose_ready_was_lost_is_ready() -> None:
    [found] = rounds((hub_view(300, [server()]), None), sessions=[session(state="starting")])
    assert only(found).kind == "ready"
    assert only(found).not_before < only(found).not_after


def test_a_renamed_users_server_goes_on() -> None:
    lost = session("ada", started=3.5)
    [found] = rounds((hub_view(300, [server("grace", started=3.5)]), None), sessions=[lost])
    event = only(found)
    assert (event.kind, event.username, event.facts) == ("renamed", "ada", {"username": "grace"})
    assert found.server_of[lost.id].username == "grace"


def test_where_starts_are_whole_seconds_no_rename_is_concluded() -> None:
    [found] = rounds((hub_view(300, [server("grace", started=3)]), None), sessions=[session()])
    assert counted(found) == {"missing": 1, "unannounced": 1}


def test_a_renamed_session_is_known_by_its_new_name() -> None:
    renamed = session("grace", original_username="ada")
    view = (hub_view(300, [server("grace")]), pod_view(300, [pod("ada")]))
    [found] = rounds(view, sessions=[renamed])
    assert found.pod_of[renamed.id].username == "ada", "annotations keep the old name"
    assert counted(found) == {}


def test_a_container_that_finished_gives_the_end_its_moment_and_its_reason() -> None:
    killed = pod(
        finished_at=at(200), finish_reason="OOMKilled", exit_status=137, memory_limit_bytes=2**32
    )
    [found] = rounds((hub_view(300), pod_view(300, [killed])), sessions=[session()])
    event = only(found)
    assert bounds(event) == (at(200), at(200), at(200))
    assert (event.source, event.reason, event.exit_status) == ("container", "oom_killed", 137)
    assert event.facts == {"memory_limit_bytes": 2**32}


def test_a_pod_that_went_while_the_hub_was_down_ends_its_session() -> None:
    view = pod_view(300, gone=[(pod(), 199, 200)])
    [found] = rounds((None, view), sessions=[session()])
    assert bounds(only(found)) == (at(199), at(199), at(200))
    assert only(found).source == "pods"


def test_what_was_once_told_to_be_gone_is_remembered() -> None:
    told = (hub_view(50), pod_view(50, gone=[(pod(), 9, 10)]))
    first, second = rounds(told, (hub_view(90), pod_view(90)), sessions=[session()])
    assert first.corrections == (), "events may still be on their way"
    assert bounds(only(second)) == (at(9), at(9), at(10))


def test_a_pod_that_lives_keeps_the_session_that_the_hub_calls_stopped() -> None:
    mine = session(node="n1")
    view = (hub_view(900), pod_view(900, [pod()]))
    for found in rounds(view, view, view, sessions=[mine]):
        assert found.corrections == ()
        assert counted(found) == {"outlived": 1}


def test_a_server_that_the_hub_shows_is_not_ended_by_its_pod() -> None:
    finished = pod(finished_at=at(200), finish_reason="Completed")
    [found] = rounds((hub_view(300, [server()]), pod_view(300, [finished])), sessions=[session()])
    assert (found.corrections, counted(found)) == ((), {"pod_finished": 1})
    gone = pod_view(300, gone=[(pod(), 199, 200)])
    [found] = rounds((hub_view(300, [server()]), gone), sessions=[session()])
    assert (found.corrections, counted(found)) == ((), {"pod_gone": 1})


def test_while_the_cluster_is_silent_no_pod_is_ended_by_the_hubs_word() -> None:
    mine = session(namespace="jhub", pod_name="p")
    silent = [(hub_view(300), None), (hub_view(600), None), (hub_view(900), None)]
    found = rounds(*silent, sessions=[mine], pods_expected=True)
    assert [one.corrections for one in found] == [(), (), ()]


def test_what_only_polls_saw_may_be_a_pod_of_the_cluster_that_is_silent() -> None:
    silent = [(hub_view(300), None), (hub_view(600), None), (hub_view(900), None)]
    polled, told = session(recorded=False), session("bob")
    found = rounds(*silent, sessions=[polled, told], pods_expected=True)
    assert [one.waiting for one in found] == [{polled.id, told.id}, {polled.id}, {polled.id}]
    assert only(found[1]).session_id == told.id, "its recorder told of no pod"


def test_a_pod_of_the_session_before_is_not_this_ones() -> None:
    old = pod(created_at=at(1), finished_at=at(50), finish_reason="Error")
    [found] = rounds(
        (hub_view(300, [server(started=100)]), pod_view(300, [old])),
        sessions=[session(started=100)],
    )
    assert counted(found) == {}


def test_a_pod_on_another_node_moves_its_session_there() -> None:
    moved = pod(node="n2", created_at=at(150), running_since=at(160))
    view = (hub_view(300, [server()]), pod_view(300, [moved]))
    [found] = rounds(view, sessions=[session(node="n1")])
    assert only(found).facts["corrects"] == "node"
    assert (only(found).facts["node"], only(found).occurred_at) == ("n2", at(160))
    assert counted(found) == {"pod_moved": 1}
    [settled] = rounds(view, sessions=[session(node="n2")])
    assert settled.corrections == ()


def test_an_orphaned_pod_is_counted_and_on_nobodys_bill() -> None:
    pods = [pod("zoe"), pod(None, name="bare"), pod("new", created_at=at(290))]
    [found] = rounds((hub_view(300), pod_view(300, pods)), sessions=[])
    assert (found.corrections, counted(found)) == ((), {"pod_orphaned": 2})


def test_an_absurd_record_is_not_believed() -> None:
    future = pod(finished_at=at(10_000), finish_reason="Completed")
    [found] = rounds((hub_view(300), pod_view(300, [future])), sessions=[session()])
    assert (only(found).source, bounds(only(found))) == ("pods", (at(5), at(5), at(300)))
    assert counted(found) == {"missing": 1, "clock": 1}


def test_an_evicted_pod_without_a_containers_record_says_why() -> None:
    evicted = pod(phase="Failed", status_reason="Evicted", running_since=None)
    [found] = rounds((hub_view(300), pod_view(300, [evicted])), sessions=[session()])
    assert only(found).reason == "evicted"


def test_the_record_of_a_container_refines_an_end_that_the_hub_polled() -> None:
    polled = session(
        state="ended",
        ended_at=at(190),
        ended_after=at(190),
        ended_before=at(220),
        end_reason="died",
        end_source="hub_poll",
    )
    gone = pod(finished_at=at(200), finish_reason="OOMKilled", exit_status=137)
    [found] = rounds((hub_view(300), pod_view(300, gone=[(gone, 210, 215)])), sessions=[polled])
    assert (only(found).source, only(found).reason) == ("container", "oom_killed")
    asked = replace(polled, end_reason="stopped_by_user", ended_by="user:ada")
    [found] = rounds((hub_view(300), pod_view(300, gone=[(gone, 210, 215)])), sessions=[asked])
    assert (only(found).reason, only(found).actor) == ("stopped_by_user", "user:ada")
    exact = replace(polled, ended_after=at(200), ended_before=at(200), end_source="container")
    [found] = rounds((hub_view(300), pod_view(300, gone=[(gone, 210, 215)])), sessions=[exact])
    assert found.corrections == ()


def test_an_end_that_was_concluded_is_withdrawn_when_the_server_is_seen_again() -> None:
    ended = session(
        state="ended",
        ended_at=at(100),
        ended_after=at(100),
        ended_before=at(200),
        end_reason=UNSEEN,
        end_source="hub_api",
    )
    [found] = rounds((hub_view(300, [server()]), None), sessions=[ended])
    event = only(found)
    assert (event.facts, event.occurred_at) == ({"corrects": "alive"}, at(270))
    assert counted(found) == {"ended_but_running": 1}
    told = replace(ended, end_source="hub", ended_before=at(100))
    [found] = rounds((hub_view(300, [server()]), None), sessions=[told])
    assert (found.corrections, counted(found)) == ((), {"ended_but_running": 1})


def test_clocks_that_disagree_are_counted() -> None:
    view = hub_view(300, [server(started=400)], clock_ahead_seconds=100.0)
    [found] = rounds((view, pod_view(300, [pod("x", created_at=at(500))])), sessions=[])
    assert counted(found) == {"clock": 3}


@pytest.mark.parametrize(
    ("container", "of_pod", "status", "reason"),
    [
        ("Completed", None, 0, "completed"),
        ("Error", None, 1, "error"),
        ("OOMKilled", None, 137, "oom_killed"),
        ("OOMKilled", "Evicted", 137, "oom_killed"),
        ("Error", "Evicted", 137, "evicted"),
        (None, "DeadlineExceeded", None, "deadline_exceeded"),
        (None, "NodeLost", None, "node_lost"),
        ("Error", "Terminated", 143, "node_lost"),
        (None, "PreemptionByScheduler", 143, "preempted"),
        ("ContainerCannotRun", None, 128, "error"),
        (None, None, 0, "completed"),
    ],
)
def test_every_reason_of_the_cluster_is_one_of_ours(
    container: str | None, of_pod: str | None, status: int | None, reason: str
) -> None:
    assert reason_of(container, of_pod, status) == reason
    assert reason in CONTAINER_REASONS


def test_every_kind_of_drift_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "drift.md").read_text(encoding="utf-8")
    table = page.partition("| kind |")[2].partition("\n\n")[0]
    for kind in DRIFTS:
        assert f"`{kind}`" in table


def test_a_pod_that_was_seen_to_be_the_sessions_stays_its_own() -> None:
    # the view is sure of an earlier moment than that of the pod's making
    running = pod(created_at=at(20), running_since=at(21))
    killed = replace(
        running, phase="Failed", finished_at=at(40), finish_reason="OOMKilled", exit_status=137
    )
    young = session(started=10, alive_at=at(12), last_event_at=at(12))
    first, second = rounds(
        (hub_view(100, [server(started=10)]), pod_view(19, [running])),
        (hub_view(200), pod_view(200, [killed])),
        sessions=[young],
    )
    assert [event.kind for event in first.corrections] == ["corrected"], "its node"
    assert (only(second).source, only(second).reason) == ("container", "oom_killed")
    assert bounds(only(second)) == (at(40), at(40), at(40))


def test_where_the_hubs_clock_was_set_back_a_pod_is_the_shown_servers() -> None:
    # the later start is dated an hour before the earlier one, whose end nobody told
    earlier, later = session(alive_at=at(70)), session(started=-3500)
    newer = pod(uid="new", created_at=at(75), running_since=at(76))
    [found] = rounds(
        (hub_view(600, [server(started=-3500)]), pod_view(600, [newer])),
        sessions=[earlier, later],
    )
    assert {one: pod.uid for one, pod in found.pod_of.items()} == {later.id: "new"}
    assert counted(found) == {"missing": 1}


def test_where_the_hubs_clock_was_set_back_a_pod_that_was_seen_before_stays_its_sessions() -> None:
    earlier, later = session(alive_at=at(70)), session(started=-3500)
    older = pod(created_at=at(60), running_since=at(61))
    [found] = rounds(
        (hub_view(600, [server(started=-3500)]), pod_view(600, [older])),
        sessions=[earlier, later],
    )
    assert list(found.pod_of) == [earlier.id]
    assert counted(found) == {"outlived": 1}


def test_where_the_hubs_clock_was_set_back_a_pod_keeps_the_session_that_has_not_ended() -> None:
    # the Hub's database is gone, and the earlier session's end was only polled
    earlier = session(
        state="ended", ended_at=at(5), ended_after=at(2), ended_before=at(5), end_source="hub_poll"
    )
    later = session(started=-3500)
    newer = pod(created_at=at(6), running_since=at(7))
    views = [(hub_view(seconds), pod_view(seconds, [newer])) for seconds in (600, 900, 1200)]
    *_, third = rounds(*views, sessions=[earlier, later])
    assert (third.corrections, counted(third)) == ((), {"outlived": 1})
