"""The service's own Prometheus series."""

from __future__ import annotations

import gzip
from datetime import timedelta

from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from service_fixtures import NOON, event

from jupyterhub_metrics.model import KINDS
from jupyterhub_metrics.service.batch import UNREADABLE
from jupyterhub_metrics.service.metrics import Metrics


def scrape(metrics: Metrics) -> dict[tuple[str, str], float]:
    families = plain(metrics.render("text/plain", "")[0].decode())
    return {
        (sample.name.removeprefix("jupyterhub_metrics_"), ",".join(sample.labels.values())): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


def test_every_series_is_there_before_anything_happened() -> None:
    series = scrape(Metrics())
    for kind in KINDS:
        assert series["events_received_total", kind] == 0
    assert series["events_rejected_total", UNREADABLE] == 0
    assert series["requests_rejected_total", "database_unavailable"] == 0
    assert series["database_up", ""] == 0


def test_the_registry_of_the_process_stays_untouched() -> None:
    before = list(REGISTRY.collect())
    Metrics()
    assert len(list(REGISTRY.collect())) == len(before)


def test_a_clock_that_is_behind_never_makes_a_negative_lag() -> None:
    metrics = Metrics()
    one = event("hub")
    metrics.committed([one], {one.id}, NOON - timedelta(hours=1))
    series = scrape(metrics)
    assert series["event_commit_lag_seconds_sum", ""] == 0
    assert series["event_commit_lag_seconds_count", ""] == 1


def test_a_simulated_past_does_not_count_as_lag() -> None:
    metrics = Metrics()
    one = event("hub", source="simulation")
    metrics.committed([one], {one.id}, NOON + timedelta(days=90))
    assert scrape(metrics)["event_commit_lag_seconds_count", ""] == 0


def test_openmetrics_and_gzip_come_where_they_are_accepted() -> None:
    metrics = Metrics()
    body, headers = metrics.render("application/openmetrics-text; version=1.0.0", "gzip, br")
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert headers["Content-Encoding"] == "gzip"
    names = {family.name for family in openmetrics(gzip.decompress(body).decode())}
    assert "jupyterhub_metrics_events_received" in names
    assert "Content-Encoding" not in metrics.render("", "gzip;q=0, br")[1]


def test_what_another_service_has_stored_is_not_counted_here_too() -> None:
    metrics = Metrics()
    metrics.know_hub("hub", lambda: NOON)
    one, other = event("hub"), event("hub", username="bob")
    metrics.committed([one, other], {one.id}, NOON)
    metrics.corrected([other], set())
    series = scrape(metrics)
    assert series["session_starts_total", "hub"] == 1
    assert series["events_new_total", ""] == 1
    assert series["events_received_total", "requested"] == 2
