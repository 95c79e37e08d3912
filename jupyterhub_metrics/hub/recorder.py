"""The recorder: turns what a spawner goes through into events, on the Hub's own disk.

Called by :class:`~jupyterhub_metrics.hub.spawner.RecordingSpawner` at each moment, and by
``hub.hooks`` when the Hub starts and stops. It never waits for the network, never raises into a
spawn, and never copies an environment variable, a token or the text of an error.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from traitlets import Dict, Instance, List, Unicode
from traitlets.config import LoggingConfigurable

from ..model import Event, session_id
from .actor import HUB_POLL, HUB_START, actor_of, current_actor
from .clock import SessionClock, utc_now
from .delivery import Delivery
from .facts import read_facts
from .outbox import Note, Outbox
from .outcome import Ending, Outcome, decide, exit_status_of
from .rejection import Request, current_request, reason_of_rejection
from .started import stored_started

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _harmless(method: _Method) -> _Method:
    """The edge between a spawn and its recording: a fault here is logged and counted, no more."""

    @functools.wraps(method)
    def guarded(self: MetricsRecorder, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception:
            self.faults += 1
            self.log.exception(
                "Recording %r failed; the spawn goes on, drift repairs the record", method.__name__
            )
            return None

    return guarded  # type: ignore[return-value]


@dataclass
class _Run:
    """What this process remembers of one run of a spawner, beside the note on disk."""

    clock: SessionClock
    alive_at: datetime
    started_at: datetime | None = None
    exit_status: int | None = None
    gone_at: datetime | None = None
    found_gone: bool | None = None
    deciding: bool = False
    stop_error: BaseException | None = None


class MetricsRecorder(LoggingConfigurable):
    """Records the servers of one Hub. Configure it in ``jupyterhub_config.py``."""

    hub_name = Unicode(
        "jupyterhub",
        help="""The name of this Hub in every row. Part of each session's identity: choose it
        once and keep it. Hubs that share a database need different names. At most 255
        characters.""",
    ).tag(config=True)

    data_dir = Unicode(
        "jupyterhub-metrics",
        help="""Folder of the outbox and the secrets, absolute or relative to the Hub's working
        directory. On a disk that outlives the Hub's process, not on a network file system.""",
    ).tag(config=True)

    service_url = Unicode(
        help="""Where the service answers, for example ``http://127.0.0.1:10180``. Set by
        ``setup(c)``. Without a path, the Hub's ``base_url`` and the service's prefix are added.
        """,
    ).tag(config=True)

    allowed_user_options = List(
        Unicode(),
        default_value=["profile", "profile-option-*", "image"],
        help="""Names of user options that are recorded; ``*`` stands for any text. Others never
        leave the Hub. An empty list records none.""",
    ).tag(config=True)

    gpu_resources = List(
        Unicode(),
        default_value=["*/gpu", "nvidia.com/mig-*", "gpu.intel.com/*"],
        help="""Names of Kubernetes extended resources that count as GPUs; ``*`` stands for any
        text. An empty list counts none.""",
    ).tag(config=True)

    extra_facts = Dict(
        key_trait=Unicode(),
        help="""Facts to add to every request: name to a callable that takes the spawner and
        returns text, a number or None. Empty: none.""",
    ).tag(config=True)

    outbox = Instance(Outbox, allow_none=True)
    delivery = Instance(Delivery, allow_none=True)

    def __init__(
        self, *, wall: Callable[[], datetime] = utc_now, dialect: str = "sqlite", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._wall = wall
        self._dialect = dialect
        self._runs: dict[int, _Run] = {}
        self._alive: dict[int, datetime] = {}
        self.faults = 0
        if self.outbox is None:
            self.outbox = Outbox(Path(self.data_dir).resolve() / "outbox.sqlite", self.log)
        self._box: Outbox = self.outbox

    # -- the life of the Hub -------------------------------------------------

    @_harmless
    def open(self) -> None:
        """Open the outbox and read the note of what was open when the Hub last ended."""
        self._box.open()

    def start_delivery(self, events_url: str, token_file: Path) -> None:
        """Begin to deliver in the background. Call it from the running event loop."""
        self.delivery = Delivery(
            parent=self,
            outbox=self._box,
            hub_name=self.hub_name,
            events_url=events_url,
            token_file=token_file,
            before_round=self.remember_alive,
        )
        self.delivery.start()

    async def close(self) -> None:
        """Stop delivering and bring everything to disk."""
        if self.delivery is not None:
            await self.delivery.stop()
        self.remember_alive()
        await asyncio.to_thread(self._box.checkpoint)
        self._box.close()

    @_harmless
    def remember_alive(self) -> None:
        """Write down when each server was last seen alive."""
        alive, self._alive = self._alive, {}
        rows = []
        for spawner_id, moment in alive.items():
            note = self._box.note(spawner_id)
            if note is not None:
                rows.append((spawner_id, note.session_id, moment))
        self._box.touch(rows)

    @_harmless
    def settle_unknown(self, started_of: Mapping[int, datetime | None]) -> None:
        """Close the notes of runs that the Hub, just started, no longer knows.

        ``started_of`` maps the id of every spawner row to its ``started``. A run whose row shows
        another start, or none, ended while nobody looked: in [last seen alive, now]. Where the
        row itself is gone the note stays: the process may live on, which drift settles.
        """
        for note in self._box.notes():
            if note.spawner_id not in started_of:
                continue
            started = started_of[note.spawner_id]
            if started is not None and _same_start(_aware(started), note.started_at):
                continue
            clock = SessionClock(note.alive_at, wall=self._wall)
            ending = self._ending(note, _Run(clock, note.alive_at, found_gone=True), None, False)
            ending = replace(ending, actor=HUB_START)
            self._record_end(note, decide(ending), {}, source="hub_start")

    # -- the life of a server ------------------------------------------------

    def moment_of(self, spawner: Any) -> datetime:
        """Now, by the clock of the spawner's session where it has one."""
        run = self._runs.get(_row_id(spawner))
        return run.clock.now() if run else self._wall()

    @_harmless
    def requested(self, spawner: Any) -> None:
        started_at = self._started(spawner)
        if started_at is None:
            return
        if request := current_request():
            request.recorded = True
        self._begin(spawner, started_at, self._facts(spawner, extra=True))

    @_harmless
    def ready(self, spawner: Any) -> None:
        """The server answered and is routed; at the Hub's start: it is still running."""
        spawner_id = _row_id(spawner)
        note = self._note(spawner)
        at_start = current_actor() == HUB_START
        if note is None:
            started_at = self._started(spawner)
            if started_at is None:
                return
            note, run = self._track(spawner, started_at)
            at_start = True
        else:
            run = self._run(note)
        now = run.clock.now()
        since = note.alive_at
        run.alive_at = now
        if note.ready:
            self._box.append([], keep=replace(note, alive_at=now, stopping_by=None))
            return
        note = replace(note, ready=True, alive_at=now)
        event = self._event(
            note,
            "ready",
            now,
            not_before=since if at_start else now,
            source="hub_start" if at_start else "hub",
            facts=self._facts(spawner),
        )
        self._box.append([event], keep=note)
        self._alive.pop(spawner_id, None)
        self._wake()

    @_harmless
    def polled(self, spawner: Any, status: int | None, began: datetime) -> None:
        """What a poll said; ``began`` is when it was asked, the last moment it vouches for."""
        note = self._note(spawner)
        run = self._run(note) if note else self._runs.get(_row_id(spawner))
        if run is None:
            return
        if run.deciding and run.found_gone is None:
            run.found_gone = status is not None
        if status is None:
            run.alive_at = max(run.alive_at, began)
            if note is not None:
                self._alive[note.spawner_id] = run.alive_at
                self._notice_rename(spawner, note, run)
        elif run.gone_at is None and run.found_gone is not False:
            run.exit_status = exit_status_of(status)
            run.gone_at = run.clock.now()
            if note is not None and note.ready:
                run.found_gone = True

    @_harmless
    def polling(self, spawner: Any) -> None:
        """Polling begins: whatever was about to be decided, the server runs."""
        run = self._runs.get(_row_id(spawner))
        if run is not None:
            run.deciding, run.found_gone, run.stop_error = False, None, None

    @_harmless
    def stopping(self, spawner: Any) -> None:
        """Polling stops; perhaps a stop begins. ``started`` is still there, soon it is not."""
        note = self._note(spawner)
        if note is None:
            started_at = self._started(spawner)
            if started_at is not None:
                clock = SessionClock(started_at, wall=self._wall)
                run = _Run(clock, started_at, started_at=started_at, deciding=True)
                self._runs[_row_id(spawner)] = run
            return
        run = self._run(note)
        run.deciding = True
        actor = current_actor()
        if note.stopping_by is None and actor not in (None, HUB_POLL, HUB_START):
            self._box.append([], keep=replace(note, stopping_by=actor))

    @_harmless
    def stop_raised(self, spawner: Any, error: BaseException) -> None:
        run = self._runs.get(_row_id(spawner))
        if run is not None:
            run.stop_error = error

    @_harmless
    def poll_raised(self, spawner: Any, error: BaseException) -> None:
        """A poll that raises while a stop begins makes that stop raise."""
        run = self._runs.get(_row_id(spawner))
        if run is not None and run.deciding:
            run.stop_error = error

    @_harmless
    def ended(self, spawner: Any, error: BaseException | None) -> None:
        """The Hub has finished stopping, or trying to; ``error`` is what it is handling."""
        note = self._note(spawner)
        at_start = current_actor() == HUB_START
        if note is None:
            run = self._runs.get(_row_id(spawner))
            if run is None or run.started_at is None:
                self._rejected_before_request(spawner, error)
                return
            # Nobody noted this run. At the Hub's start it is one that ran before we did.
            if request := current_request():
                request.recorded = True
            note, run = self._track(spawner, run.started_at, run)
            note = replace(note, ready=at_start)
        run = self._run(note)
        self._notice_rename(spawner, note, run)
        note = self._box.note(note.spawner_id) or note
        awaiting = bool(getattr(spawner, "_waiting_for_response", False))
        ending = self._ending(note, run, error, awaiting, kubespawner=hasattr(spawner, "pod_name"))
        facts = {} if note.ready else self._facts(spawner)
        source = "hub_start" if at_start else "hub_poll" if run.found_gone else "hub"
        self._record_end(note, decide(ending), facts, source=source)

    @_harmless
    def rejected(self, request: Request, error: BaseException) -> None:
        """A request that never became a session, seen around the Hub's spawn handler."""
        if request.recorded:
            return
        reason = reason_of_rejection(error)
        if reason is None:
            return
        request.recorded = True
        now = self._wall()
        event = Event(
            kind="rejected",
            hub=self.hub_name,
            username=request.username,
            server_name=request.server_name,
            occurred_at=now,
            source="hub",
            reason=reason,
            actor=request.actor,
        )
        self._box.append([event])
        self._wake()

    # -- within --------------------------------------------------------------

    def _started(self, spawner: Any) -> datetime | None:
        started = spawner.orm_spawner.started
        return None if started is None else stored_started(_aware(started), self._dialect)

    def _note(self, spawner: Any) -> Note | None:
        """The note of the spawner's present run; one of an older run does not count."""
        note = self._box.note(_row_id(spawner))
        started = spawner.orm_spawner.started
        if note is None or started is None:
            return note
        return note if _same_start(_aware(started), note.started_at) else None

    def _run(self, note: Note) -> _Run:
        run = self._runs.get(note.spawner_id)
        if run is None:
            run = _Run(SessionClock(note.alive_at, wall=self._wall), note.alive_at)
            self._runs[note.spawner_id] = run
        return run

    def _track(
        self, spawner: Any, started_at: datetime, run: _Run | None = None
    ) -> tuple[Note, _Run]:
        username, server_name = spawner.user.name, spawner.name or ""
        note = Note(
            spawner_id=_row_id(spawner),
            session_id=session_id(self.hub_name, username, server_name, started_at),
            username=username,
            current_username=username,
            server_name=server_name,
            started_at=started_at,
            ready=False,
            alive_at=started_at,
        )
        run = run or _Run(SessionClock(started_at, wall=self._wall), started_at)
        self._runs[note.spawner_id] = run
        return note, run

    def _begin(self, spawner: Any, started_at: datetime, facts: dict[str, Any]) -> None:
        stale = self._box.note(_row_id(spawner))
        if stale is not None:
            self.log.warning(
                "Server %s: found an open session that began at %s; expected none at a new start; "
                "its end was not seen and drift settles it",
                spawner._log_name,
                stale.started_at,
            )
        note, _ = self._track(spawner, started_at)
        self._box.append([self._event(note, "requested", started_at, facts=facts)], keep=note)
        self._wake()

    def _event(
        self,
        note: Note,
        kind: str,
        occurred_at: datetime,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        source: str = "hub",
        **details: Any,
    ) -> Event:
        return Event(
            kind=kind,
            hub=self.hub_name,
            username=note.username,
            server_name=note.server_name,
            session_id=note.session_id,
            started_at=note.started_at,
            occurred_at=occurred_at,
            not_before=not_before,
            not_after=not_after,
            source=source,
            **details,
        )

    def _ending(
        self,
        note: Note,
        run: _Run,
        error: BaseException | None,
        awaiting_answer: bool,
        *,
        kubespawner: bool = False,
    ) -> Ending:
        return Ending(
            owner=note.current_username,
            was_ready=note.ready,
            awaiting_answer=awaiting_answer,
            actor=current_actor(),
            noted_stopper=note.stopping_by,
            error=error,
            stop_error=run.stop_error,
            found_gone=run.found_gone,
            exit_status=run.exit_status,
            status_is_kubespawners=kubespawner,
            started_at=note.started_at,
            alive_at=max(run.alive_at, note.alive_at),
            gone_at=run.gone_at,
            now=run.clock.now(),
        )

    def _record_end(
        self, note: Note, outcomes: list[Outcome], facts: dict[str, Any], *, source: str
    ) -> None:
        events = []
        for outcome in outcomes:
            details = dict(facts)
            if outcome.error is not None:
                details["error"] = outcome.error
            events.append(
                self._event(
                    note,
                    outcome.kind,
                    outcome.not_before,
                    not_before=outcome.not_before,
                    not_after=outcome.not_after,
                    source=source if outcome.kind != "stop_failed" else "hub",
                    reason=outcome.reason,
                    actor=outcome.actor,
                    exit_status=outcome.exit_status,
                    facts=details,
                )
            )
        run = self._runs.pop(note.spawner_id, None)
        self._alive.pop(note.spawner_id, None)
        self._box.append(events, drop=note.spawner_id)
        if run is not None and run.clock.stepped_back:
            self.log.warning(
                "Server %s/%s: found the Hub's clock set back during its session; its length "
                "comes from the monotonic clock; let a time service slew the clock instead",
                note.current_username,
                note.server_name,
            )
        self._wake()

    def _notice_rename(self, spawner: Any, note: Note, run: _Run) -> None:
        name = spawner.user.name
        if name == note.current_username:
            return
        renamed = replace(note, current_username=name)
        event = self._event(note, "renamed", run.clock.now(), facts={"username": name})
        self._box.append([event], keep=renamed)
        self._wake()

    def _rejected_before_request(self, spawner: Any, error: BaseException | None) -> None:
        """The authenticator's ``pre_spawn_start`` raised: no start, no session."""
        if error is None:
            return
        request = current_request() or Request(spawner.user.name, spawner.name or "")
        if request.recorded:
            return
        request.recorded = True
        event = Event(
            kind="rejected",
            hub=self.hub_name,
            username=spawner.user.name,
            server_name=spawner.name or "",
            occurred_at=self._wall(),
            source="hub",
            reason="pre_spawn_failed",
            actor=request.actor or actor_of(getattr(spawner.handler, "current_user", None)),
        )
        self._box.append([event])
        self._wake()

    def _facts(self, spawner: Any, *, extra: bool = False) -> dict[str, Any]:
        facts = read_facts(
            spawner,
            option_patterns=self.allowed_user_options,
            gpu_patterns=self.gpu_resources,
            log=self.log,
        )
        if extra:
            facts.update(
                {
                    name: value
                    for name, reader in self.extra_facts.items()
                    if (value := reader(spawner)) is not None
                }
            )
        return facts

    def _wake(self) -> None:
        if self.delivery is not None:
            self.delivery.wake()


def _row_id(spawner: Any) -> int:
    return int(spawner.orm_spawner.id)


def _aware(started: datetime) -> datetime:
    """JupyterHub keeps naive datetimes in UTC."""
    if started.tzinfo is None:
        return started.replace(tzinfo=timezone.utc)
    return started.astimezone(timezone.utc)


def _same_start(one: datetime, other: datetime) -> bool:
    """Equal, or within the second to which some databases cut what they store."""
    return abs((one - other).total_seconds()) <= 1.0
