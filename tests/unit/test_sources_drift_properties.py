"""Whatever happens to servers and whoever fails to look: what drift concludes is true.

A world with one true history is looked at again and again. Some events never arrive, some looks
fail; what a comparison concludes goes through the fold, as in the database.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from builders import at
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_fold import reference_session
from worlds import HUB, hub_view, pod, pod_view, server

from jupyterhub_metrics.model import Event, Session, session_id
from jupyterhub_metrics.sources.drift import Memory, Rules, diff
from jupyterhub_metrics.sources.world import HubView, PodView
from jupyterhub_metrics.store import CheckedSession

INTERVAL = 100
HUB_POLL = 30
GRACE = 20
ROUNDS = 12
RULES = Rules(grace=timedelta(seconds=GRACE), hub_poll=timedelta(seconds=HUB_POLL))


@dataclass(frozen=True)
class Life:
    """The truth about one run. ``None`` as its end: it still runs at the end of the story."""

    username: str
    started: float
    ready: float
    ended: float | None
    pod_finished: bool
    told: frozenset[str]

    @property
    def id(self) -> object:
        return session_id(HUB, self.username, "", at(self.started))

    def runs(self, moment: float) -> bool:
        return self.started <= moment and (self.ended is None or moment < self.ended)


@dataclass
class Story:
    lives: list[Life]
    hub_answers: list[bool]
    pods_answer: list[bool]
    hub_lags: list[float]
    with_pods: bool
    events: dict[object, list[Event]] = field(default_factory=dict)
    seen_at: dict[object, datetime] = field(default_factory=dict)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    lives = []
    for username in ("ada", "bob", "cy"):
        moment = 0.5
        for _ in range(draw(st.integers(0, 2))):
            started = moment + draw(st.integers(0, 400))
            ready = started + 5
            length = draw(st.one_of(st.none(), st.integers(10, 500)))
            ended = None if length is None else started + length
            told = draw(st.frozensets(st.sampled_from(["requested", "ready", "stopped"])))
            lives.append(Life(username, started, ready, ended, draw(st.booleans()), told))
            if ended is None:
                break
            moment = ended + draw(st.integers(3, 60))
    flags = st.lists(st.booleans(), min_size=ROUNDS, max_size=ROUNDS)
    lags = st.lists(st.floats(0, HUB_POLL), min_size=ROUNDS, max_size=ROUNDS)
    return Story(lives, draw(flags), draw(flags), draw(lags), draw(st.booleans()))


def told(life: Life, now: float) -> list[Event]:
    """What the recorder's events say by now, those that are not lost."""
    moments = {"requested": life.started, "ready": life.ready, "stopped": life.ended}
    return [
        Event(
            kind=kind,
            hub=HUB,
            username=life.username,
            server_name="",
            session_id=life.id,
            started_at=at(life.started),
            occurred_at=at(moment),
            source="hub",
        )
        for kind, moment in moments.items()
        if kind in life.told and moment is not None and moment <= now
    ]


def checked(story: Story, now: float, shown: set[object]) -> list[CheckedSession]:
    """As ``sessions_to_check`` reads them."""
    found = []
    for key, events in story.events.items():
        row = reference_session(events)
        recent = row.ended_before is not None and row.ended_before >= at(now - 3600)
        if row.ended_at is not None and key not in shown and not (row.inferred and recent):
            continue
        ours = [event for event in events if event.source == "hub"]
        alive = [event.occurred_at for event in ours if event.kind == "ready"]
        common = {
            name: getattr(row, name)
            for name in CheckedSession.__dataclass_fields__
            if name in Session.__dataclass_fields__
        }
        found.append(
            CheckedSession(
                **common,
                original_username=events[0].username,
                last_event_at=max((event.not_after for event in ours), default=None),
                alive_at=max(alive, default=None),
                recorded=bool(ours),
                seen_at=story.seen_at.get(key),
            )
        )
    return found


def hub_at(story: Story, index: int, now: float) -> HubView | None:
    """The Hub may take a dead server for a running one until its own poll."""
    if not story.hub_answers[index]:
        return None
    lag = story.hub_lags[index]
    shown = {}
    for life in story.lives:
        if life.runs(now) or (life.runs(now - lag) and life.username not in shown):
            shown[life.username] = server(
                life.username,
                started=life.started,
                ready=now >= life.ready,
                pending=None if now >= life.ready else "spawn",
            )
    return hub_view(now, shown.values(), took=0.25)


def pods_at(story: Story, index: int, now: float, since: float) -> PodView | None:
    if not (story.with_pods and story.pods_answer[index]):
        return None
    present, gone = [], []
    for life in story.lives:
        name = f"{life.username}-{life.started}"
        one = pod(life.username, name=name, created_at=at(life.started + 1), running_since=None)
        if life.runs(now) and now >= life.started + 1:
            present.append(one)
        elif life.ended is not None and since < life.ended <= now:
            if life.pod_finished:
                one = replace(one, finished_at=at(life.ended), finish_reason="Error")
            gone.append((one, max(since, life.ended - 3, life.started + 1), life.ended + 0.1))
    return pod_view(now, present, gone)


def check_conclusions(story: Story, now: float) -> None:
    truth = {life.id: life for life in story.lives}
    for key, events in story.events.items():
        life, row = truth[key], reference_session(events)
        if row.ended_at is None:
            continue
        assert life.ended is not None, f"{life} still runs and was ended"
        assert row.ended_after <= at(life.ended) <= row.ended_before, (life, row)
        if "stopped" in life.told and life.ended <= now:
            assert row.end_source == "hub", "a stop that was told beats every conclusion"


@settings(max_examples=300, deadline=None)
@given(stories())
def test_what_is_concluded_is_true_and_stays_settled(story: Story) -> None:
    memory, since = Memory(), 0.0
    for index in range(ROUNDS):
        now = float((index + 1) * INTERVAL)
        for life in story.lives:
            if events := told(life, now):
                known = story.events.setdefault(life.id, [])
                known.extend(event for event in events if event not in known)
        hub, pods = hub_at(story, index, now), pods_at(story, index, now, since)
        since = now if pods else since
        shown = {
            session_id(HUB, one.username, "", one.started_at)
            for one in (hub.servers.values() if hub else ())
        }
        sessions = checked(story, now, shown)
        found = diff(HUB, sessions, hub, pods, memory, rules=RULES, pods_expected=story.with_pods)
        running = shown | set(found.pod_of)
        for event in found.corrections:
            ends = event.kind in ("corrected", "failed") and "corrects" not in event.facts
            assert not (ends and event.session_id in running), "ended though a view shows it"
            story.events.setdefault(event.session_id, []).append(event)
        story.seen_at |= {
            key: max(moment, story.seen_at.get(key, moment)) for key, moment in found.seen.items()
        }
        check_conclusions(story, now)
        again = diff(
            HUB,
            checked(story, now, shown),
            hub,
            pods,
            found.memory,
            rules=RULES,
            pods_expected=story.with_pods,
        )
        settled = {event.session_id for event in found.corrections}
        assert not settled & {event.session_id for event in again.corrections}, "it flaps"
        memory = found.memory
    if all(story.hub_answers) and not story.with_pods:
        check_widths(story)


def check_widths(story: Story) -> None:
    """Where every look succeeded, no interval is wider than the evidence allows."""
    for life in story.lives:
        if life.ended is None or life.id not in story.events:
            continue
        row = reference_session(story.events[life.id])
        if row.ended_at is None:
            assert life.ended > (ROUNDS - 3) * INTERVAL - GRACE, f"{life} was never ended"
            continue
        width = (row.ended_before - row.ended_after).total_seconds()
        assert width <= INTERVAL + 2 * HUB_POLL + 1, (life, row)
