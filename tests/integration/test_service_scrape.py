"""Scrapes of a real service: who is let in, and what is told while something is away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hub_process import until
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families as plain
from service_fixtures import NOON, RunningService, data_dir, event, run_of, running_service, service
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from traitlets.config import Config

from jupyterhub_metrics.errors import DatabaseUnavailable, SourceUnavailable
from jupyterhub_metrics.service.hub_tokens import REMEMBERED_SECONDS, HubTokens

__all__ = ["data_dir", "service"]

SCOPE = "custom:jupyterhub-metrics:scrape"


class Whose:
    """A Hub that says whose token it is; ``models`` by token, others are 403."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {"scraper": {"name": "p", "scopes": ["self", SCOPE]}}
        self.asked = 0
        self.status: int | None = None
        self.port = free_port()
        whose = self

        class User(RequestHandler):
            def get(self) -> None:
                whose.asked += 1
                token = self.request.headers["Authorization"].removeprefix("Bearer ")
                self.set_status(whose.status or (200 if token in whose.models else 403))
                self.finish(json.dumps(whose.models.get(token, {})))

        application = Application([("/hub/api/user", User)], log_function=lambda _: None)
        self.server = HTTPServer(application)
        self.server.listen(self.port, "127.0.0.1")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hub/api"

    async def stop(self) -> None:
        self.server.stop()
        await self.server.close_all_connections()


@pytest.fixture
async def whose() -> AsyncIterator[Whose]:
    hub = Whose()
    yield hub
    await hub.stop()


def by_labels(body: bytes, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in plain(body.decode())
        for sample in family.samples
        if sample.name == f"jupyterhub_metrics_{name}"
    }


async def scraped(service: RunningService) -> bytes:
    answer = await service.get("metrics", **service.operator())
    assert answer.code == 200
    body: bytes = answer.body
    return body


async def test_a_token_of_the_hub_opens_metrics_by_its_scope(
    data_dir: Path, postgres_dsn: str, whose: Whose
) -> None:
    whose.models["someone"] = {"name": "u", "scopes": ["self"]}
    async with running_service(
        data_dir,
        dsn=postgres_dsn,
        ready=False,
        environment={"JUPYTERHUB_API_URL": whose.url},
        config=Config({"Scraping": {"hub_scope": SCOPE}}),
    ) as service:

        async def status(token: str) -> int:
            return int((await service.get("metrics", Authorization=f"Bearer {token}")).code)

        assert [await status(token) for token in ("scraper", "someone", "nobody")] == [
            200,
            403,
            401,
        ]
        assert (await service.get("metrics")).headers["WWW-Authenticate"] == "Bearer"
        assert (await service.get("metrics", **service.operator())).code == 200
        assert whose.asked == 3, "the metrics token is nobody else's business"
        assert await status("scraper") == 200
        assert whose.asked == 3, "an answer counts for a while"
        whose.status = 500
        assert await status("another") == 503
        assert await status("scraper") == 200


async def test_a_token_that_was_revoked_is_found_out(whose: Whose) -> None:
    now = 0.0
    tokens = HubTokens(whose.url, SCOPE, seconds=lambda: now)
    try:
        assert await tokens.holds_scope("scraper") is True
        del whose.models["scraper"]
        now = REMEMBERED_SECONDS - 1
        assert await tokens.holds_scope("scraper") is True
        now = REMEMBERED_SECONDS
        assert await tokens.holds_scope("scraper") is None
    finally:
        tokens.close()


@pytest.mark.parametrize("model", [[], {"name": "p"}, {"scopes": SCOPE}, "x"])
async def test_what_is_no_model_of_a_user_opens_nothing(whose: Whose, model: Any) -> None:
    whose.models["odd"] = model
    tokens = HubTokens(whose.url, SCOPE)
    try:
        with pytest.raises(SourceUnavailable):
            await tokens.holds_scope("odd")
        for token in ("x" * 5000, "ünïcode", "a\nb"):
            assert await tokens.holds_scope(token) is None
        assert whose.asked == 1, "what can be no token is not sent on"
    finally:
        tokens.close()


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


async def test_while_the_database_is_away_the_last_values_stay_with_their_age(
    data_dir: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with running_service(data_dir, dsn=postgres_dsn, clock=clock) as service:
        await service.post(service.batch(*run_of(service.hub, NOON, None)))
        snapshots, database = service.server.wiring.snapshots, service.server.wiring.database
        clock.now += timedelta(minutes=2)
        await snapshots.take()
        before = by_labels(await scraped(service), "sessions_open")
        assert before[service.hub, "running"] == 1

        def away() -> None:
            raise DatabaseUnavailable("the database is away")

        monkeypatch.setattr(database, "store", away)
        clock.now += timedelta(minutes=7)
        with pytest.raises(DatabaseUnavailable):
            await snapshots.take()
        body = await scraped(service)
        assert by_labels(body, "sessions_open") == before
        assert by_labels(body, "source_staleness_seconds")["database",] == 420


async def test_a_service_without_a_database_tells_nothing_of_the_present(
    data_dir: Path,
) -> None:
    dsn = "postgresql://nobody:x@127.0.0.1:1/none"
    async with running_service(data_dir, dsn=dsn, ready=False) as service:
        body = await scraped(service)
        assert by_labels(body, "sessions_open") == {}
        assert by_labels(body, "database_up") == {(): 0}
        assert by_labels(body, "session_starts_total") == {(service.hub,): 0}


async def test_a_snapshot_that_fails_does_not_keep_events_out(
    data_dir: Path, postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config({"Scraping": {"user_series": True, "snapshot_interval_seconds": 1}})
    async with running_service(data_dir, dsn=postgres_dsn, config=config) as service:
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute("ALTER TABLE group_memberships RENAME TO mislaid")

        async def failed_again() -> bool:
            failures = by_labels(await scraped(service), "source_failures_total")["database",]
            return caplog.text.count("keep telling") == 1 and failures >= began + 3

        began = by_labels(await scraped(service), "source_failures_total")["database",]
        await until(failed_again, "snapshots fail, and say so once", seconds=30)
        answer = await service.post(service.batch(event(service.hub)))
        assert answer.code == 200
        await connection.execute("ALTER TABLE mislaid RENAME TO group_memberships")
        await connection.close()

        async def told() -> bool:
            open_now = by_labels(await scraped(service), "sessions_open")
            return open_now.get((service.hub, "starting")) == 1

        await until(told, "a snapshot succeeds again", seconds=30)


async def test_several_services_of_one_database_tell_the_same(
    data_dir: Path, postgres_dsn: str
) -> None:
    async with (
        running_service(data_dir, dsn=postgres_dsn) as one,
        running_service(data_dir, dsn=postgres_dsn) as other,
    ):
        await one.post(one.batch(*run_of(one.hub, NOON, None, facts={"image": "lab"})))
        await other.post(other.batch(*run_of(other.hub, NOON, None, username="bob")))
        for service in (one, other):
            await service.server.wiring.snapshots.take()
        told = [by_labels(await scraped(service), "sessions_open") for service in (one, other)]
        assert told[0] == told[1]
        assert told[0][one.hub, "running"] == told[0][other.hub, "running"] == 1


async def test_what_comes_twice_is_counted_once(service: RunningService) -> None:
    events = run_of(service.hub, NOON, timedelta(hours=1), reason="died")
    for batch in (events[:2], events, events):
        assert (await service.post(service.batch(*batch))).code == 200
    body = await scraped(service)
    assert by_labels(body, "session_starts_total") == {(service.hub,): 1}
    assert by_labels(body, "session_ends_total")[service.hub, "died"] == 1
    assert by_labels(body, "session_duration_seconds_count") == {(service.hub,): 1}


async def test_a_recorder_that_has_nothing_to_send_is_heard(data_dir: Path) -> None:
    clock = Clock()
    dsn = "postgresql://nobody:x@127.0.0.1:1/none"
    async with running_service(data_dir, dsn=dsn, ready=False, clock=clock) as service:
        silence = {(service.hub,): 600.0}
        clock.now += timedelta(minutes=10)
        assert by_labels(await scraped(service), "recorder_silence_seconds") == silence
        assert by_labels(await scraped(service), "recorder_last_heard_timestamp_seconds") == {}
        beat = {"hub": service.hub, "events": [], "recorder": {"outbox_events": 12}}
        assert (await service.post(beat)).code == 503, "its outbox is told though nothing is kept"
        body = await scraped(service)
        assert by_labels(body, "recorder_silence_seconds") == {(service.hub,): 0}
        assert by_labels(body, "recorder_outbox_events") == {(service.hub,): 12}
        assert (await service.post({"hub": service.hub, "events": []})).code == 400
