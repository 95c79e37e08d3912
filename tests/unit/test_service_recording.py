"""What operators read of how well sessions are recorded."""

from __future__ import annotations

from jupyterhub_metrics.service.metrics import SOURCES, Metrics
from jupyterhub_metrics.service.recording_page import Samples, recording_page, samples_of
from jupyterhub_metrics.sources.drift import DRIFTS
from jupyterhub_metrics.store import HowSeen

HUB = (("hub", "campus"),)
PREFIX = "jupyterhub_metrics_"


def samples(**values: float) -> Samples:
    return {(f"{PREFIX}recorder_{name}", HUB): value for name, value in values.items()}


def test_hubs_whose_sessions_only_polls_see_are_named() -> None:
    seen = [HowSeen("campus", 10, 1, 0), HowSeen("polled", 4, 4, 4), HowSeen("new", 0, 0, 0)]
    page = recording_page({}, seen, database_answers=True)
    assert page.only_polled == ("polled",)


def test_a_silent_recorder_and_lost_events_want_a_look() -> None:
    told = samples(silence_seconds=301, outbox_events=3, lost_events=1, faults=0)
    page = recording_page(told, [], database_answers=True)
    [(hub, lines)] = page.recorders
    assert hub == "campus"
    assert {line.label: line.good for line in lines} == {
        "Last heard of": False,
        "Events waiting in its outbox": True,
        "Events lost since its start": False,
        "Errors in the recorder since its start": True,
    }
    assert lines[0].words == "5 min 01 s ago"


def test_everything_that_checks_can_find_is_put_into_words() -> None:
    page = recording_page(samples_of(Metrics().registry.collect()), [], database_answers=False)
    assert len({line.label for line in page.drift}) == len(DRIFTS)
    assert all(line.good for line in page.drift)
    assert not page.database_answers


def test_every_source_is_put_into_words() -> None:
    told = {
        (f"{PREFIX}source_staleness_seconds", (("source", source),)): 60.0 for source in SOURCES
    }
    lines = recording_page(told, [], database_answers=True).checks
    assert len({line.label for line in lines}) == len(SOURCES)


def test_a_source_that_fails_says_how_often() -> None:
    source = (("source", "hub_api"),)
    told = {
        (f"{PREFIX}source_staleness_seconds", source): 4000.0,
        (f"{PREFIX}source_failures_total", source): 7.0,
    }
    [line] = recording_page(told, [], database_answers=True).checks
    assert line.words == "answered 1 h 06 min ago; 7 failures since the service began"
    assert line.good is False
