"""The recorder: turns what a spawner goes through into events, on the Hub's own disk.

Called by :class:`~jupyterhub_metrics.hub.spawner.RecordingSpawner` at each moment, and by
``hub.hooks`` when the Hub starts and stops. It never waits for the network, never raises into a
spawn, and never copies an environment variable, a token or the text of an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from traitlets import Instance

from .._clock import utc_now
from ..model import Event
from .actor import HUB_POLL, HUB_START, acting, actor_of, current_actor
from .alive import AliveNotes, Later, StartsUnderWay, on_the_loop
from .auth_facts import read_person, usable_paths
from .delivery import Delivery
from .facts import read_extra_facts, read_facts
from .first_polls import FirstPolls
from .harmless import harmless
from .leftovers import Gone, Leftovers, is_leftover, leftover
from .note import Note
from .outbox import Outbox
from .outcome import Ending, Outcome, decide, end_of_leftover, exit_status_of
from .recorder_settings import RecorderSettings
from .rejection import Request, current_request, mark_recorded, reason_of_rejection
from .runs import Run, Runs, SpawnerRow, row_id
from .unwatched import Unwatched


class MetricsRecorder(RecorderSettings):
    """Records the servers of one Hub. Configure it in ``jupyterhub_config.py``."""

    delivery = Instance(Delivery, allow_none=True)

    def __init__(
        self,
        *,
        outbox: Outbox | None = None,
        wall: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        later: Later = on_the_loop,
        dialect: str = "sqlite",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.outbox = outbox or Outbox(Path(self.data_dir).resolve() / "outbox.sqlite", self.log)
        self.faults = 0
        self.samples_address = ""
        self._wall = wall
        self._runs = Runs(self.outbox, self.hub_name, wall, monotonic, dialect)
        self._alive = AliveNotes(self.outbox, later)
        self._starts = StartsUnderWay(self._still_starting, later)
        self._leftovers = Leftovers(self._alive, self._leftover_gone, wall, self.log)
        self._first_polls = FirstPolls(self.log)
        self._unwatched = Unwatched(self._serves, self.log)
        self._person_paths = usable_paths(self.auth_state_facts, self.log)
        self._people: dict[int, dict[str, str]] = {}

    # -- the life of the Hub -------------------------------------------------

    @harmless
    def open(self) -> None:
        """Open the outbox and read the note of what was open when the Hub last ended."""
        self.outbox.open()

    def start_delivery(self, events_url: str, token_file: Path) -> None:
        """Begin to deliver in the background. Call it from the running event loop."""
        self.delivery = Delivery(
            parent=self,
            outbox=self.outbox,
            hub_name=self.hub_name,
            events_url=events_url,
            token_file=token_file,
            recorder_faults=lambda: self.faults,
        )
        self.delivery.start()

    async def close(self) -> None:
        """Stop delivering and bring everything to disk."""
        if self.delivery is not None:
            await self.delivery.stop()
        await self._first_polls.close()
        await self._leftovers.close()
        await self._unwatched.close()
        self._starts.close()
        self._alive.close()
        await asyncio.to_thread(self.outbox.checkpoint)
        self.outbox.close()

    @harmless
    def settle_unknown(self, read_rows: Callable[[], Iterable[SpawnerRow]]) -> None:
        """Close the notes of runs that the Hub, just started, no longer knows.

        ``read_rows`` gives every spawner row. A run whose row shows another start, or none, ended
        while nobody looked: in [last seen alive, now]. So did one whose stop had raised: no
        spawner is left that could be asked.
        """
        left = [note for note in self.outbox.notes() if is_leftover(note)]
        for note in [*self._runs.unknown_to(read_rows()), *left]:
            self._end_unseen(note)

    # -- the life of a server ------------------------------------------------

    @harmless
    def moment_of(self, spawner: Any) -> datetime | None:
        """Now, by the clock of the spawner's session where it has one."""
        run = self._runs.seen(spawner)
        return run.clock.now() if run else self._wall()

    @harmless
    def authenticated(self, spawner: Any, auth_state: Any) -> None:
        """The Hub has read the user's auth state, just before it starts the server."""
        if self._person_paths:
            person = read_person(auth_state, self._person_paths, self.log)
            self._people[row_id(spawner)] = person

    @harmless
    def requested(self, spawner: Any) -> None:
        """The Hub has given the run its ``started`` and is about to start the server."""
        started_at = self._runs.started(spawner)
        if started_at is None:
            return
        mark_recorded()
        for stale in self._runs.before(spawner):
            if stale.gone_at is not None:
                self._end_stale(spawner, stale)
            else:
                self._end_unseen(stale)
        run = self._runs.begin(spawner, started_at)
        note = self._runs.new_note(spawner, run)
        facts = self._new_facts(spawner, run) | self._people.pop(row_id(spawner), {})
        facts |= read_extra_facts(spawner, self.extra_facts, self.log)
        self._append([self._event(note, "requested", started_at, facts=facts)], keep=note)
        self._starts.begin(note.spawner_id, getattr(spawner, "poll_interval", 0))

    @harmless
    def ready(self, spawner: Any, source: str = "hub") -> None:
        """The server answered and is routed; at the Hub's start: it is still running."""
        note = self._runs.note(spawner)
        hub_starts = current_actor() == HUB_START
        if note is None or hub_starts:
            source = "hub_start"
        if note is None:
            started_at = self._runs.started(spawner)
            if started_at is None:
                return
            note = self._runs.new_note(spawner, self._runs.begin(spawner, started_at))
        run = self._runs.of(note)
        now = run.clock.now()
        if hub_starts:
            # it has answered just now
            run.alive_at = now
        # else it may have died while it was routed, and only polls vouch for it: one comes now
        alive_at = max(run.alive_at, note.alive_at)
        known = replace(note, ready=True, alive_at=alive_at, stopping_by=None)
        if note.ready:
            self._append([], keep=known)
            return
        event = self._event(
            known,
            "ready",
            now,
            not_before=None if source == "hub" else note.alive_at,
            source=source,
            facts=self._new_facts(spawner, run),
        )
        self._append([event], keep=known)

    @harmless
    def ask_when_ready(self, spawner: Any) -> None:
        """Poll it now rather than when the Hub does. At the Hub's start it just did."""
        if current_actor() != HUB_START:
            self._first_polls.ask(spawner)

    @harmless
    def found_gone_in_start(self, spawner: Any) -> bool:
        """Whether the last poll of a server that has just become ready said that it was gone."""
        run = self._runs.seen(spawner)
        return run is not None and run.gone_at is not None

    @harmless
    def polling(self, spawner: Any) -> None:
        """Polling begins: whatever was about to be decided, the server runs, or its start does."""
        note, run = self._runs.note(spawner), self._runs.seen(spawner)
        if run is None:
            return
        run.deciding, run.found_gone, run.stop_error = False, None, None
        if note is not None and not note.ready:
            self._starts.end(note.spawner_id)
            self._still_starting(note.spawner_id)

    @harmless
    def polled(self, spawner: Any, status: Any, began: datetime | None) -> None:
        """What a poll said; ``began`` is when it was asked, the last moment it vouches for."""
        note, run = self._runs.note(spawner), self._runs.seen(spawner)
        if run is None:
            return
        if run.deciding and run.found_gone is None:
            run.found_gone = status is not None
        if status is None:
            run.alive_at = max(run.alive_at, began or run.alive_at)
            if not run.deciding:
                run.gone_at = run.exit_status = None
            if note is not None:
                self._alive.seen(note, run.alive_at)
                note = self._notice_rename(spawner, note, run)
                self._note_gone(note, run)
        elif run.gone_at is None and run.found_gone is not False:
            run.exit_status = exit_status_of(status)
            run.gone_at = run.clock.now()
            if note is not None:
                self._note_gone(note, run)
                run.found_gone = run.found_gone or note.ready or None

    @harmless
    def notified(self, spawner: Any, status: Any) -> None:
        """A poll of the Hub has said something, and all that waited for an end has been told."""
        note = self._runs.note(spawner)
        if note is None:
            return
        if spawner.active if status is not None else spawner.ready and not note.ready:
            self._unwatched.look_after(spawner)

    @harmless
    def stopping(self, spawner: Any) -> None:
        """Polling stops; perhaps a stop begins. ``started`` is still there, soon it is not."""
        note, started_at = self._runs.note(spawner), self._runs.started(spawner)
        if note is None:
            if started_at is not None:
                self._runs.begin(spawner, started_at).deciding = True
            return
        self._runs.of(note).deciding = True
        actor = current_actor()
        if note.stopping_by is None and actor not in (None, HUB_POLL, HUB_START):
            self._append([], keep=replace(note, stopping_by=actor))

    @harmless
    def stop_raised(self, spawner: Any, error: BaseException) -> None:
        run = self._runs.seen(spawner)
        if run is not None:
            run.stop_error = error

    @harmless
    def poll_raised(self, spawner: Any, error: BaseException) -> None:
        """A poll that raises while a stop begins makes that stop raise."""
        run = self._runs.seen(spawner)
        if run is not None and run.deciding:
            run.stop_error = error

    @harmless
    def ended(self, spawner: Any, error: BaseException | None) -> None:
        """The Hub has finished stopping, or trying to; ``error`` is what it is handling."""
        note, run = self._runs.note(spawner), self._runs.seen(spawner)
        if run is None:
            self._failed_before_start(spawner, error)
            return
        if note is None:
            # Nobody noted this run. At the Hub's start it is one that ran before we did, or one
            # that had only begun when the Hub was killed: its spawner has never told its state.
            mark_recorded()
            ran = current_actor() == HUB_START and bool(spawner.orm_spawner.state)
            note = replace(self._runs.new_note(spawner, run), ready=ran)
        note = self._notice_rename(spawner, note, run)
        ending = replace(
            self._ending(note, run),
            error=error,
            awaiting_answer=_awaiting_answer(spawner),
            status_is_kubespawners=hasattr(spawner, "pod_name"),
        )
        facts = {} if note.ready else self._new_facts(spawner, run)
        outcomes = decide(ending)
        lives_on = note.ready and outcomes[-1].kind == "stop_failed"
        left = leftover(replace(note, alive_at=ending.alive_at)) if lives_on else None
        self._record_end(note, run, outcomes, facts, keep=left)
        if left is not None:
            self._leftovers.watch(spawner, left)

    @harmless
    def rejected(self, request: Request, error: BaseException) -> None:
        """A request that never became a session, seen around the Hub's spawn handler."""
        reason = reason_of_rejection(error)
        if reason is not None and not request.recorded:
            self._reject(request, reason)

    # -- within --------------------------------------------------------------

    @harmless
    def _still_starting(self, spawner_id: int) -> None:
        """The Hub lives, and with it a start that has not ended."""
        if note := self.outbox.note(spawner_id):
            run = self._runs.of(note)
            run.alive_at = run.clock.now()
            self._alive.seen(note, run.alive_at)

    def _serves(self, spawner: Any) -> None:
        """Its start was cancelled, and the Hub goes on with it as if it were not."""
        self.ready(spawner, "hub_poll")

    def _end_unseen(self, note: Note) -> None:
        """It ended while nobody looked: between when it was last seen alive and now."""
        run = self._runs.of(note)
        run.found_gone = True
        ending = replace(self._ending(note, run), actor=HUB_START)
        self._record_end(note, run, decide(ending), {})

    def _end_stale(self, spawner: Any, note: Note) -> None:
        """A poll had found it gone, and the Hub did nothing about it before this new start."""
        run = self._runs.of(note)
        run.found_gone = True
        with acting(HUB_POLL):
            ending = replace(self._ending(note, run), awaiting_answer=_awaiting_answer(spawner))
        self._record_end(note, run, decide(ending), {})

    def _note_gone(self, note: Note, run: Run) -> None:
        """What a poll said outlives the Hub: perhaps it is killed before it acts on it."""
        if note.gone_at != run.gone_at:
            self._append([], keep=replace(note, gone_at=run.gone_at))

    def _failed_before_start(self, spawner: Any, error: BaseException | None) -> None:
        """The authenticator's ``pre_spawn_start`` raised: no start, no session."""
        request = current_request() or Request(
            spawner.user.name,
            spawner.name or "",
            actor_of(getattr(spawner.handler, "current_user", None)),
        )
        if error is not None and not request.recorded:
            self._reject(request, "pre_spawn_failed")

    def _reject(self, request: Request, reason: str) -> None:
        self._append([request.rejected(self.hub_name, reason, self._wall())])

    def _event(self, note: Note, kind: str, occurred_at: datetime, **details: Any) -> Event:
        return Event(
            kind=kind,
            hub=self.hub_name,
            username=note.username,
            server_name=note.server_name,
            session_id=note.session_id,
            started_at=note.started_at,
            occurred_at=occurred_at,
            **{"source": "hub", **details},
        )

    def _ending(self, note: Note, run: Run) -> Ending:
        return Ending(
            owner=note.current_username,
            was_ready=note.ready,
            actor=current_actor(),
            noted_stopper=note.stopping_by,
            stop_error=run.stop_error,
            found_gone=run.found_gone,
            exit_status=run.exit_status,
            alive_at=max(run.alive_at, note.alive_at),
            gone_at=run.gone_at,
            now=run.clock.now(),
        )

    @harmless
    def _leftover_gone(self, spawner: Any, gone: Gone) -> None:
        run = self._runs.of(gone.note)
        ending = replace(
            self._ending(gone.note, run),
            alive_at=gone.alive_at,
            exit_status=exit_status_of(gone.status),
            status_is_kubespawners=hasattr(spawner, "pod_name"),
        )
        self._record_end(gone.note, run, [end_of_leftover(ending)], {})

    def _record_end(
        self,
        note: Note,
        run: Run,
        outcomes: list[Outcome],
        facts: dict[str, Any],
        keep: Note | None = None,
    ) -> None:
        events = [
            self._event(
                note,
                outcome.kind,
                outcome.not_before,
                not_before=outcome.not_before,
                not_after=outcome.not_after,
                source=outcome.source,
                reason=outcome.reason,
                actor=outcome.actor,
                exit_status=outcome.exit_status,
                facts={**facts, "error": outcome.error} if outcome.error else facts,
            )
            for outcome in outcomes
        ]
        self._runs.forget(note)
        self._starts.end(note.spawner_id)
        self._alive.forget(note)
        kept = self.outbox.note(note.spawner_id)
        # one of an older run, of which nobody has told the end yet, stays
        is_its_own = kept is not None and kept.session_id == note.session_id
        self._append(events, keep=keep, drop=note.spawner_id if is_its_own else None)
        if run.clock.stepped_back:
            self.log.warning(
                "Server %s/%s: found the Hub's clock set back during its session; its length "
                "comes from the monotonic clock; let a time service slew the clock instead",
                note.current_username,
                note.server_name,
            )

    def _notice_rename(self, spawner: Any, note: Note, run: Run) -> Note:
        """The note, under the user's present name."""
        name = spawner.user.name
        if name == note.current_username:
            return note
        renamed = replace(note, current_username=name)
        event = self._event(note, "renamed", run.clock.now(), facts={"username": name})
        self._append([event], keep=renamed)
        return renamed

    def _new_facts(self, spawner: Any, run: Run) -> dict[str, Any]:
        """The facts that differ from those already recorded for the run."""
        facts = read_facts(
            spawner,
            option_patterns=self.allowed_user_options,
            gpu_patterns=self.gpu_resources,
            log=self.log,
        )
        new = {name: value for name, value in facts.items() if run.facts.get(name) != value}
        run.facts.update(new)
        return new

    def _append(
        self, events: list[Event], *, keep: Note | None = None, drop: int | None = None
    ) -> None:
        self.outbox.append(events, keep=keep, drop=drop)
        if events and self.delivery is not None:
            self.delivery.wake()


def _awaiting_answer(spawner: Any) -> bool:
    """Whether a start that ends now had a process; where a poll ends it, its state tells."""
    if current_actor() == HUB_POLL:
        return bool(spawner.orm_spawner.state)
    return bool(getattr(spawner, "_waiting_for_response", False))
