"""A real Prometheus scrapes a real service; promtool reads its metrics and its rules."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from dashboards import all_panels
from fake_dirsize import FakeDirsize
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families as plain
from prometheus_process import prometheus_of
from prometheus_rules import (
    RULE_TESTS,
    RULES,
    all_rules,
    metrics_in_rules,
    recorded_in,
    series_in,
)
from service_fixtures import RunningService, data_dir, run_of, running_service
from traitlets.config import Config

from jupyterhub_metrics._clock import utc_now

__all__ = ["data_dir"]

GIB = 1024**3
FACTS = {
    "image": "reg:5000/lab:1",
    "profile": 'small "quoted"\nline',
    "node": "n" * 10_000,
    "namespace": "prod",
    "gpus": 1,
    "memory_guarantee_bytes": 2 * GIB,
    "cpu_limit_cores": 1.5,
}
USED = {"memory_bytes": GIB, "cpu_cores": 0.25}

PANEL_EXPRESSIONS = [
    expression
    # as Grafana puts them in
    .replace("$__rate_interval", "1m").replace("$hub", ".*")
    for panel in all_panels()
    for expression in panel.expressions
]

pytestmark = [pytest.mark.needs("prometheus"), pytest.mark.needs("promtool")]


def all_of_it(**more: object) -> Config:
    settings = {"user_series": True, "snapshot_interval_seconds": 1, "database_limit_bytes": 10**9}
    return Config({"Scraping": {**settings, **more}})


def promtool(*arguments: str, text: bytes = b"") -> str:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, check=False)
    told = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, told
    return told


async def lead_a_life(service: RunningService) -> None:
    """Two sessions run, of which one is sampled; one has ended after an hour."""
    now = utc_now()
    hour = timedelta(hours=1)
    events = [
        *run_of(service.hub, now - hour, None, username="ann", facts=FACTS),
        *run_of(service.hub, now - hour, None, username="bob", facts={**FACTS, "gpus": 0}),
        *run_of(service.hub, now - 3 * hour, hour, username="cy", reason="stopped_by_user"),
    ]
    recorder = {"outbox_events": 3, "outbox_oldest_seconds": 1.5, "lost_events": 0}
    body = {**service.batch(*events), "recorder": {**recorder, "set_aside_events": 0, "faults": 0}}
    assert (await service.post(body)).code == 200
    sample = {"sampled_at": now.timestamp(), "interval_seconds": 5, **USED}
    resources = service.server.wiring.database.store().resources
    assert await resources.record(service.hub, "ann", "", [sample]) == 1


@pytest.mark.parametrize("by", ["token", "open address"])
async def test_prometheus_reads_what_the_database_says(
    by: str, data_dir: Path, postgres_dsn: str, tmp_path: Path
) -> None:
    port = free_port()
    config = all_of_it(open_url=f"http://127.0.0.1:{port}/") if by != "token" else all_of_it()
    async with running_service(data_dir, dsn=postgres_dsn, config=config) as service:
        target, path, token = port, "/metrics", None
        if by == "token":
            target = int(service.url.split(":")[2].split("/")[0])
            path = "/services/jupyterhub-metrics/metrics"
            token = data_dir / "secrets" / "metrics_token"
        async with prometheus_of(tmp_path, target, path, token) as prometheus:
            await lead_a_life(service)
            hub = ("hub", service.hub)
            await prometheus.until(
                "sum by (hub, profile, gpus) (jupyterhub_metrics_sessions_running)",
                {(("gpus", n), hub, ("profile", FACTS["profile"])): 1 for n in ("0", "1")},
            )
            await prometheus.until(
                "hub_period:jupyterhub_metrics_users_active:max",
                {
                    (hub, ("period", period)): users
                    for period, users in {"now": 2, "24h": 3, "7d": 3, "30d": 3}.items()
                },
            )
            await prometheus.until("jupyterhub_metrics_memory_requested_bytes", {(hub,): 4 * GIB})
            await prometheus.until("jupyterhub_metrics_cpu_requested_cores", {(hub,): 3})
            await prometheus.until("jupyterhub_metrics_memory_used_bytes", {(hub,): GIB})
            await prometheus.until("jupyterhub_metrics_cpu_used_cores", {(hub,): 0.25})
            await prometheus.until("jupyterhub_metrics_session_starts_total", {(hub,): 3})
            await prometheus.until(
                "jupyterhub_metrics_session_ends_total > 0",
                {(hub, ("reason", "stopped_by_user")): 1},
            )
            await prometheus.until(
                "hub:jupyterhub_metrics_recorder_outbox_oldest_seconds:last", {(hub,): 1.5}
            )
            await prometheus.until(
                'jupyterhub_user_group_memory_requests_bytes{username="ann"}',
                {
                    (
                        ("namespace", service.hub),
                        ("usergroup", "none"),
                        ("username", "ann"),
                        ("username_escaped", "ann"),
                        ("username_safe", "ann"),
                    ): 2 * GIB
                },
            )
            assert await prometheus.query('ALERTS{alertstate="firing"}') == {}
            for expression in PANEL_EXPRESSIONS:
                answer = await prometheus.ask("query", query=expression)
                assert answer is not None, f"Prometheus does not understand {expression}"


async def test_promtool_finds_nothing_to_object_to(data_dir: Path, postgres_dsn: str) -> None:
    exporter = FakeDirsize(ann=GIB)
    exporter.start()
    config = all_of_it()
    config.HomeSizes.urls = [exporter.url]
    async with running_service(data_dir, dsn=postgres_dsn, config=config) as service:
        await lead_a_life(service)
        homes = service.server.wiring.homes
        assert homes is not None
        assert await homes.read()
        await service.server.wiring.snapshots.take()
        scraped = (await service.get("metrics", **service.operator())).body
    await exporter.stop()
    promtool("check", "metrics", text=scraped)
    names = {sample.name for family in plain(scraped.decode()) for sample in family.samples}
    assert metrics_in_rules() <= names
    assert {name for name in names if name.startswith("jupyterhub_user_group_")} == {
        f"jupyterhub_user_group_{name}"
        for name in (
            "info",
            "memory_bytes",
            "cpu_seconds",
            "memory_requests_bytes",
            "cpu_requests_seconds",
            "home_dir_bytes",
        )
    }
    assert series_in(*PANEL_EXPRESSIONS) <= names
    recorded = {rule["record"] for rule in all_rules() if "record" in rule}
    assert recorded_in(*PANEL_EXPRESSIONS) <= recorded


def test_the_rules_are_rules_and_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("test", "rules", str(RULE_TESTS))
