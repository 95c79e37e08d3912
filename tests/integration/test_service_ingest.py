"""What the ingest endpoint stores, reports and refuses, over HTTP and a real database."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from pathlib import Path

import asyncpg
import pytest
from hub_process import until
from service_fixtures import (
    NOON,
    RunningService,
    data_dir,
    event,
    make_data_dir,
    run_of,
    running_service,
    service,
)

from jupyterhub_metrics.model import Event
from jupyterhub_metrics.store import EmbeddedServer, Store, open_store

__all__ = ["data_dir", "service"]


async def sessions_of(dsn: str, hub: str, username: str = "alice") -> list[str]:
    store: Store = await open_store(dsn)
    try:
        since, until = NOON.replace(day=1), NOON.replace(month=12, day=1)
        sessions = await store.sessions_of_user(hub, username, since, until, limit=100)
        return [session.state for session in sessions]
    finally:
        await store.close()


async def test_a_batch_is_stored_when_the_answer_comes(
    service: RunningService, postgres_dsn: str
) -> None:
    answer = await service.post(service.batch(event(service.hub)))
    assert answer.code == 200
    assert json.loads(answer.body) == {"received": 1, "new": 1, "rejected": []}
    assert await sessions_of(postgres_dsn, service.hub) == ["starting"]


async def test_the_same_batch_again_changes_nothing(service: RunningService) -> None:
    batch = service.batch(event(service.hub))
    await service.post(batch)
    answer = await service.post(batch)
    assert json.loads(answer.body) == {"received": 1, "new": 0, "rejected": []}


async def test_good_events_are_stored_although_others_are_malformed(
    service: RunningService, postgres_dsn: str
) -> None:
    hub = service.hub
    bad_fact = event(hub, username="bob").to_wire() | {"facts": {"gpus": "two"}}
    other_hub = event("elsewhere", username="carol")
    answer = await service.post(service.batch(bad_fact, event(hub), other_hub, {"kind": 7}))
    report = json.loads(answer.body)
    assert (report["received"], report["new"]) == (4, 1)
    assert [(one["index"], one["id"], one["field"]) for one in report["rejected"]] == [
        (0, bad_fact["id"], "facts.gpus"),
        (2, str(other_hub.id), "hub"),
        (3, "", "kind"),
    ]
    assert await sessions_of(postgres_dsn, hub) == ["starting"]
    assert await sessions_of(postgres_dsn, "elsewhere", "carol") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
        (b"[]", "body"),
        (b"{}", "hub"),
        (b'{"hub": "HUB"}', "events"),
        (b'{"hub": "HUB", "events": []}', "events"),
        (b'{"hub": "HUB", "events": [' + b"1," * 1000 + b"1]}", "events"),
    ],
)
async def test_a_malformed_batch_is_refused_naming_the_field(
    service: RunningService, body: bytes, field: str
) -> None:
    answer = await service.post(body.replace(b"HUB", service.hub.encode()))
    assert answer.code == 400
    report = json.loads(answer.body)
    assert report["field"] == field
    assert "found" in report["error"]
    assert "expected" in report["error"]


async def test_a_missing_or_wrong_secret_is_refused(service: RunningService) -> None:
    batch = service.batch(event(service.hub))
    missing = await service.post(batch, token=None)
    assert missing.code == 401
    for token in ("wrong" * 10, "ünïcode" * 5, service.secret("metrics_token")):
        assert (await service.post(batch, token=token)).code == 403
    metrics = await service.get(
        "metrics", Authorization=f"Bearer {service.secret('metrics_token')}"
    )
    assert b'requests_rejected_total{reason="bad_secret"} 4.0' in metrics.body


async def test_each_secret_counts_for_its_own_hub_only(data_dir: Path, postgres_dsn: str) -> None:
    other = data_dir / "secrets" / "other"
    other.write_text("o" * 32)
    files = {"second": str(other)}
    async with running_service(data_dir, dsn=postgres_dsn, hub_token_files=files) as service:
        theirs = {"hub": "second", "events": [event("second").to_wire()]}
        assert (await service.post(theirs, token="o" * 32)).code == 200
        for refused in (
            await service.post(theirs),
            await service.post(service.batch(event(service.hub)), token="o" * 32),
        ):
            assert refused.code == 403
            assert json.loads(refused.body)["field"] == "hub"


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversized_body_is_refused_and_not_kept(
    data_dir: Path, postgres_dsn: str, chunked: bool
) -> None:
    async with running_service(data_dir, dsn=postgres_dsn, max_body_bytes=64 * 1024) as service:
        body = b" " * (300 * 1024)
        status, text = await raw_post(service, body, chunked=chunked)
        assert status == 413
        assert json.loads(text)["field"] == "body"
        assert (await service.post(service.batch(event(service.hub)))).code == 200


async def raw_post(service: RunningService, body: bytes, *, chunked: bool) -> tuple[int, bytes]:
    port = int(service.url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = (
        "POST /services/jupyterhub-metrics/api/v1/events HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {service.secret('events_token')}\r\n{length}\r\n"
        "Connection: close\r\n\r\n"
    )
    writer.write(head.encode())
    if chunked:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    writer.write(body)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


async def test_a_database_that_goes_away_costs_no_event(caplog: pytest.LogCaptureFixture) -> None:
    """Stopped and started again under a running service; the Hub posts again, as it does."""
    database_dir, data_dir = make_data_dir(), make_data_dir()
    database = EmbeddedServer(database_dir)
    dsn_file = data_dir / "secrets" / "dsn"
    dsn_file.write_text(await database.start())
    caplog.set_level(logging.INFO, "jupyterhub_metrics.service.database")
    async with running_service(data_dir) as service:
        batch = service.batch(*run_of(service.hub, NOON, None))
        await database.stop()
        refused = await service.post(batch)
        assert refused.code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert json.loads(refused.body)["field"] == "database"
        assert (await service.get("health/ready")).code == 503
        assert (await service.get("health/live")).code == 200
        dsn_file.write_text(await database.start())
        await service.until_ready()
        assert (await service.post(batch)).code == 200
        assert await sessions_of(dsn_file.read_text(), service.hub) == ["running"]
    lines = [record.getMessage() for record in caplog.records if "service.database" in record.name]
    assert len([line for line in lines if line == "The database is open"]) == 2
    password = dsn_file.read_text().split(":")[2].split("@")[0]
    assert not [line for line in lines if password in line]
    await database.stop()
    for folder in (database_dir, data_dir):
        shutil.rmtree(folder)


async def test_an_unreachable_database_is_told_and_not_waited_for(data_dir: Path) -> None:
    dsn = "postgresql://someone:hush-hush@127.0.0.1:1/nowhere"
    async with running_service(data_dir, dsn=dsn, ready=False) as service:
        await service.until("health/ready", 503)
        answer = await service.post(service.batch(event(service.hub)))
        assert answer.code == 503
        for told in (answer, await service.get("health/ready", **service.operator())):
            assert b"hush-hush" not in told.body


async def test_a_newer_schema_is_named_waited_for_and_never_touched(
    data_dir: Path,
    postgres_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("jupyterhub_metrics.service.database.SCHEMA_RETRY_SECONDS", 0.1)
    await (await open_store(postgres_dsn)).close()
    connection = await asyncpg.connect(postgres_dsn)
    newer = "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'later', 'x')"
    await connection.execute(newer)
    async with running_service(data_dir, dsn=postgres_dsn, ready=False) as service:
        await until(lambda: "found schema version 9999" in caplog.text, "the log says so")
        await asyncio.sleep(0.5)
        assert caplog.text.count("found schema version 9999") == 1
        assert (await service.post(service.batch(event(service.hub)))).code == 503
        assert b"9999" in (await service.get("health/ready", **service.operator())).body
        assert b"9999" not in (await service.get("health/ready")).body
        await connection.execute("DELETE FROM schema_migrations WHERE version = 9999")
        await service.until_ready()
        assert (await service.post(service.batch(event(service.hub)))).code == 200
    await connection.close()


async def test_health_and_metrics_answer_from_memory(service: RunningService) -> None:
    rejected = Event(
        kind="rejected",
        hub=service.hub,
        username="alice",
        server_name="",
        occurred_at=NOON,
        source="hub",
        reason="throttled",
    )
    for _ in range(2):
        assert (await service.post(service.batch(rejected, event(service.hub)))).code == 200
    assert (await service.get("metrics")).code == 401
    assert (await service.get("metrics", Authorization="Bearer x")).code == 401
    token = service.secret("metrics_token")
    scraped = (await service.get("metrics", Authorization=f"Bearer {token}")).body.decode()
    assert 'jupyterhub_metrics_events_received_total{kind="requested"} 2.0' in scraped
    assert "jupyterhub_metrics_events_new_total 2.0" in scraped
    labels = f'hub="{service.hub}",reason="throttled"'
    assert f"spawn_requests_rejected_total{{{labels}}} 1.0" in scraped
    assert "jupyterhub_metrics_database_up 1.0" in scraped
    assert "jupyterhub_metrics_schema_ready 1.0" in scraped


async def test_every_answer_carries_the_security_headers(service: RunningService) -> None:
    for path in ("", "nowhere", "health/live", "metrics", "static/theme.js"):
        headers = (await service.get(path)).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in headers
