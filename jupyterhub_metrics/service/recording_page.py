"""How well sessions are recorded, in words. Pure; called by ``handlers.recording``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric

from ..store import HowSeen
from .wording import duration_in_words

SILENT_SECONDS: Final = 300.0
"""A recorder posts every minute (``Delivery.heartbeat_seconds``)."""

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]

_PREFIX: Final = "jupyterhub_metrics_"
_SILENCE: Final = f"{_PREFIX}recorder_silence_seconds"
_DRIFTS: Final = {
    "missing": "Sessions that are open and whose server is gone",
    "unannounced": "Servers that run and of which no event told",
    "renamed": "Servers under another user's name than their session",
    "ended_but_running": "Servers that run and whose session has ended",
    "outlived": "Pods that outlived their session",
    "pod_gone": "Sessions whose pod is gone",
    "pod_finished": "Sessions whose pod has finished",
    "pod_moved": "Sessions whose pod is on another node",
    "pod_orphaned": "Pods that no session explains",
    "clock": "Clocks that disagree",
}
_SOURCES: Final = {
    "hub_api": "The Hub's REST API",
    "pods": "Pods of the cluster",
    "graph": "Microsoft Graph",
    "home_sizes": "Sizes of homes",
    "database": "Readings of the database",
}


@dataclass(frozen=True)
class Line:
    """One fact; ``good`` is None where it is neither good nor bad."""

    label: str
    words: str
    good: bool | None = None


@dataclass(frozen=True)
class RecordingPage:
    """``only_polled`` are Hubs of whose sessions only polls know: their times are intervals."""

    recorders: tuple[tuple[str, tuple[Line, ...]], ...]
    checks: tuple[Line, ...]
    drift: tuple[Line, ...]
    seen: tuple[HowSeen, ...]
    only_polled: tuple[str, ...]
    unrecorded: int
    database_answers: bool


def samples_of(families: Iterable[Metric]) -> Samples:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def recording_page(
    samples: Samples, seen: Sequence[HowSeen], *, database_answers: bool
) -> RecordingPage:
    """``samples`` are the service's own; ``seen`` is how the sessions of a week became known."""
    silences = {labels for name, labels in samples if name == _SILENCE}
    hubs = sorted(dict(labels)["hub"] for labels in silences)
    return RecordingPage(
        recorders=tuple((hub, _recorder(samples, hub)) for hub in hubs),
        checks=tuple(_checks(samples)),
        drift=tuple(_drift(samples)),
        seen=tuple(seen),
        only_polled=tuple(row.hub for row in seen if row.sessions and row.inferred == row.sessions),
        unrecorded=int(samples.get((f"{_PREFIX}unrecorded_sessions", ()), 0)),
        database_answers=database_answers,
    )


def _recorder(samples: Samples, hub: str) -> tuple[Line, ...]:
    def value(name: str) -> float | None:
        return samples.get((f"{_PREFIX}recorder_{name}", (("hub", hub),)))

    lines = []
    silence = value("silence_seconds")
    if silence is not None:
        lines.append(
            Line(
                "Last heard of",
                f"{duration_in_words(silence)} ago",
                silence < SILENT_SECONDS,
            )
        )
    waiting = value("outbox_events")
    if waiting is not None:
        lines.append(Line("Events waiting in its outbox", f"{waiting:,.0f}", waiting < 1000))
    for name, label in (
        ("lost_events", "Events lost since its start"),
        ("set_aside_events", "Events refused, waiting for a person"),
        ("faults", "Errors in the recorder since its start"),
    ):
        count = value(name)
        if count is not None:
            lines.append(Line(label, f"{count:,.0f}", count == 0))
    return tuple(lines)


def _checks(samples: Samples) -> Iterable[Line]:
    for source, label in _SOURCES.items():
        labels = (("source", source),)
        staleness = samples.get((f"{_PREFIX}source_staleness_seconds", labels))
        if staleness is None:
            continue
        failures = samples.get((f"{_PREFIX}source_failures_total", labels), 0)
        words = f"answered {duration_in_words(staleness)} ago"
        if failures:
            noun = "failure" if failures == 1 else "failures"
            words += f"; {failures:,.0f} {noun} since the service began"
        yield Line(label, words, staleness < 3600 or source == "graph")


def _drift(samples: Samples) -> Iterable[Line]:
    for (name, labels), value in sorted(samples.items()):
        if name == f"{_PREFIX}drift":
            kind = dict(labels)["kind"]
            yield Line(_DRIFTS[kind], f"{value:,.0f}", value == 0)
