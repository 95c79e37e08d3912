"""What must hold of the recorded sessions, whatever a schedule did: said once, checked often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from scheduled_cluster import BOOKMARK_SECONDS
from scheduled_hub import HUB_POLL_SECONDS, ScheduledHub, TrueRun
from scheduled_time import Clock, spread

from jupyterhub_metrics.sources.pod_ledger import DRAIN

GRACE_SECONDS = 60.0
CHECK_SECONDS = 300.0
IN_STEP_SECONDS = BOOKMARK_SECONDS + DRAIN.total_seconds()
"""How old the cluster's word may be: a quiet watch says every minute that it goes on."""

SECOND = timedelta(seconds=1)
"""Kubernetes writes moments to the second, and the recorder its good polls within half a one."""


@dataclass
class Looks:
    """What successful checks saw and wrote down, in seconds of true time.

    ``vouched`` is when one last saw a session's server, ``lacked`` when the first of this life of
    the service did not.
    """

    at: list[float] = field(default_factory=list)
    vouched: dict[UUID, float] = field(default_factory=dict)
    lacked: dict[UUID, float] = field(default_factory=dict)

    def note(self, hub: ScheduledHub, known: set[UUID]) -> None:
        """A check has just succeeded; ``known`` were open before it."""
        now = hub.time.now
        self.at.append(now)
        shown = {hub.id_of(run) for run in (*hub.shown().values(), *hub.seen_by_cluster())}
        for key in known & shown:
            self.vouched[key] = now
            self.lacked.pop(key, None)
        for key in known - shown:
            self.lacked.setdefault(key, now)

    def forget(self, still_open: Iterable[UUID]) -> None:
        """The service was started anew and remembers no look."""
        for key in still_open:
            self.lacked.pop(key, None)


def nothing_untrue(
    hub: ScheduledHub, clocks: list[Clock], rows: Mapping[UUID, Mapping[str, Any]]
) -> None:
    """No session that never was, none ended while it runs, each end inside its interval.

    Where clocks were set or stood still, an interval is as wrong as they were: by the most that
    two of them, or one of them at two moments, disagreed since the session began.
    """
    truth = {hub.id_of(run): run for run in hub.runs}
    assert len(truth) == len(hub.runs)
    assert rows.keys() <= truth.keys(), "a session that never was"
    for key, row in rows.items():
        run = truth[key]
        if row["ended_at"] is None:
            continue
        assert run.over is not None, f"{run} still runs: {dict(row)}"
        first, last = (run.started_at + timedelta(seconds=at - run.started) for at in run.over)
        wrong = spread(clocks, run.started)
        cut = SECOND if row["end_source"] == "container" else timedelta()
        assert row["ended_after"] - wrong <= last, (run, dict(row))
        assert first <= row["ended_before"] + wrong + cut, (run, dict(row))


def nothing_lost(
    hub: ScheduledHub, clocks: list[Clock], looks: Looks, rows: Mapping[UUID, Mapping[str, Any]]
) -> None:
    """Every run has its session, open while it runs, and no start that failed is taken for a server
    that ran where the recorder's word arrived.

    But for a run of which nobody was left to tell: the recorder's word of it was lost with its
    disk, and no check looked while the Hub showed it. While the pod of such a run lives, it is
    taken for that of the session before.
    """
    lost = [run for run in hub.runs if hub.id_of(run) not in rows]
    for run in lost:
        assert not run.announced, f"lost, though the recorder's word survived: {run}"
        patience = GRACE_SECONDS + spread(clocks, run.started).total_seconds()
        looked = [at for at in looks.at if at >= run.started + patience]
        seen = [at for at in looked if at < (run.left_hub or hub.time.now)]
        assert not seen, f"lost, though checks saw it at {seen}: {run}"
    for run in hub.runs:
        row = rows.get(hub.id_of(run))
        if row is not None and row["ended_at"] is None and run.ended is not None:
            # what is dated in the future waits until that has come
            waited = hub.time.now - run.ended - 2 * CHECK_SECONDS - GRACE_SECONDS
            if waited < spread(clocks, run.started).total_seconds():
                continue
            assert any(other.username == run.username and other.ended is None for other in lost), (
                f"still open: {run}, {dict(row)}"
            )
        elif row is not None and row["ended_at"] is not None:
            assert run.ended is not None, f"still runs: {run}, {dict(row)}"
            if run.told:
                assert row["state"] == ("ended" if run.ready else "failed"), (run, dict(row))


def nothing_vague(
    hub: ScheduledHub, clocks: list[Clock], looks: Looks, rows: Mapping[UUID, Mapping[str, Any]]
) -> None:
    """No interval is wider than the poll that could see the end, the outage, and one second.

    What the Hub's poll sees, and the recorder lived to tell, lies within that poll and the time
    in which the Hub was down. Otherwise checks find it, within their own distance from one that
    vouched for the server to one that could know better; and the Hub may vouch for a server that
    died since its last poll.
    """
    for run in hub.runs:
        row = rows.get(hub.id_of(run))
        if row is None or row["ended_at"] is None or run.ended is None:
            continue
        wide = row["ended_before"] - row["ended_after"]
        wrong = spread(clocks, run.started)
        seen_by_hub = _by_hub(hub, run)
        seen = min(filter(None, (seen_by_hub, _by_checks(hub, run, looks))), default=None)
        if seen is not None:
            assert wide <= timedelta(seconds=seen) + SECOND + 2 * wrong, (seen, run, dict(row))


def _by_hub(hub: ScheduledHub, run: TrueRun) -> float | None:
    if not run.told or run.left_hub is None or run.ended is None or run.left_hub < run.ended:
        return None
    return HUB_POLL_SECONDS + hub.outage_around(run.ended - HUB_POLL_SECONDS, run.left_hub)


def _by_checks(hub: ScheduledHub, run: TrueRun, looks: Looks) -> float | None:
    key = hub.id_of(run)
    if key not in looks.lacked:
        return None
    vouched = looks.vouched.get(key, run.started)
    return (
        looks.lacked[key] - vouched + (HUB_POLL_SECONDS if hub.cluster is None else IN_STEP_SECONDS)
    )
