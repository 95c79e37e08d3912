"""What a user's server posts about itself, to the real service, with a Hub that tells tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from ports import free_port
from service_fixtures import RunningService, data_dir, event, running_service
from tornado.httpclient import HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from jupyterhub_metrics.service.handlers.samples import MAX_BODY_BYTES
from jupyterhub_metrics.service.server_tokens import POSTS_IN_A_ROW, Limits

__all__ = ["data_dir"]

NOW = datetime.now(timezone.utc)
ACCESS = "access:servers!server="

MODELS: dict[str, dict[str, Any]] = {
    "adas-server": {"kind": "user", "name": "ada", "scopes": [f"{ACCESS}ada/", "read:users"]},
    "adas-gpu": {"kind": "user", "name": "ada", "scopes": [f"{ACCESS}ada/gpu"]},
    "adas-own": {"kind": "user", "name": "ada", "scopes": ["access:servers!user=ada"]},
    "admins": {"kind": "user", "name": "root", "scopes": ["access:servers", "admin:users"]},
    # whom Ada has shared her server with
    "bobs-share": {"kind": "user", "name": "bob", "scopes": [f"{ACCESS}ada/"]},
    "service": {"kind": "service", "name": "ada", "scopes": [f"{ACCESS}ada/"]},
    "two": {"kind": "user", "name": "ada", "scopes": [f"{ACCESS}ada/", f"{ACCESS}ada/gpu"]},
}  # fmt: skip


class Tokens:
    """A Hub that says whose token it is."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked = 0
        tokens = self

        class User(RequestHandler):
            def get(self) -> None:
                tokens.asked += 1
                model = MODELS.get(self.request.headers["Authorization"].removeprefix("Bearer "))
                self.set_status(200 if model else 403)
                self.finish(json.dumps(model or {"message": "Forbidden"}))

        self._server: HTTPServer = Application(
            [("/hub/api/user", User)], log_function=lambda _: None
        ).listen(self.port, "127.0.0.1")

    async def stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


@pytest.fixture
async def hub() -> AsyncIterator[Tokens]:
    tokens = Tokens()
    yield tokens
    await tokens.stop()


@pytest.fixture
async def world(hub: Tokens, data_dir: Path, postgres_dsn: str) -> AsyncIterator[RunningService]:
    """A service with an open session of Ada's default server."""
    environment = {"JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.port}/hub/api"}
    async with running_service(
        data_dir, dsn=postgres_dsn, environment=environment, check_interval_seconds=0
    ) as service:
        started = NOW - timedelta(hours=1)
        answer = await service.post(
            service.batch(event(service.hub, username="ada", started_at=started))
        )
        assert json.loads(answer.body)["new"] == 1
        yield service


async def post(
    service: RunningService, token: str | None, body: Any, **headers: str
) -> HTTPResponse:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return await service.http.fetch(
        service.url + "api/v1/samples",
        method="POST",
        headers=headers,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        raise_error=False,
    )


def sample(seconds: float = 0, **values: Any) -> dict[str, Any]:
    return {
        "sampled_at": NOW.timestamp() + seconds,
        "interval_seconds": 10,
        "memory_bytes": 2**30,
        "cpu_cores": 0.5,
        **values,
    }


async def kept(dsn: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT * FROM session_resources")
    await connection.close()
    return list(rows)


async def test_a_server_tells_what_it_uses(world: RunningService, postgres_dsn: str) -> None:
    batch = {"samples": [sample(-20), sample(-10, memory_bytes=3 * 2**30), sample(cpu_cores=None)]}
    answer = await post(world, "adas-server", batch)
    assert (answer.code, json.loads(answer.body)) == (
        200,
        {"received": 3, "new": 3, "rejected": []},
    )
    [row] = await kept(postgres_dsn)
    assert (row["username"], row["source"], row["memory_peak_bytes"]) == (
        "ada",
        "server",
        3 * 2**30,
    )
    again = await post(world, "adas-server", batch)
    assert json.loads(again.body)["new"] == 0
    scraped = await world.get("metrics", **world.operator())
    assert b"jupyterhub_metrics_server_samples_total 3.0" in scraped.body


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("nobodys", 401),
        ("adas-own", 403),
        ("admins", 403),
        ("bobs-share", 403),
        ("service", 403),
        ("two", 403),
        ("adas-gpu", 404),
    ],
)
async def test_only_a_servers_own_token_opens(
    world: RunningService, postgres_dsn: str, token: str | None, status: int
) -> None:
    answer = await post(world, token, {"samples": [sample()]})
    assert answer.code == status, answer.body
    assert json.loads(answer.body)["field"] == ("server_name" if status == 404 else "Authorization")
    assert await kept(postgres_dsn) == []


async def test_a_forged_sample_for_another_user_is_refused(
    world: RunningService, postgres_dsn: str
) -> None:
    for forged in ({"username": "bob"}, {"server_name": "gpu"}):
        answer = await post(world, "adas-server", {**forged, "samples": [sample()]})
        assert answer.code == 403
        assert json.loads(answer.body)["field"] == next(iter(forged))
    named = {"username": "ada", "server_name": "", "samples": [sample()]}
    assert (await post(world, "adas-server", named)).code == 200
    assert len(await kept(postgres_dsn)) == 1


async def test_a_malformed_sample_is_reported_and_the_others_are_kept(
    world: RunningService,
) -> None:
    odd = [
        ("sampled_at", sample(4000)),
        ("sampled_at", sample(-200_000)),
        ("sampled_at", {"memory_bytes": 5}),
        ("memory_bytes", sample(memory_bytes=-1)),
        ("memory_bytes", sample(memory_bytes=2.0**60)),
        ("cpu_cores", sample(cpu_cores="all")),
        ("cpu_cores", sample(cpu_cores=True)),
        ("interval_seconds", sample(interval_seconds=0)),
        ("sample", 7),
    ]
    answer = await post(
        world, "adas-server", {"samples": [*(one for _, one in odd), sample(unknown="key")]}
    )
    told = json.loads(answer.body)
    assert (answer.code, told["received"], told["new"]) == (200, 10, 1)
    assert [one["field"] for one in told["rejected"]] == [field for field, _ in odd]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[" * 100_000, "body"),
        (b'{"samples": [NaN]', "body"),
        ([], "body"),
        ({}, "samples"),
        ({"samples": []}, "samples"),
        ({"samples": [{}] * 1001}, "samples"),
    ],
)
async def test_a_body_of_another_shape_is_refused(
    world: RunningService, body: Any, field: str
) -> None:
    answer = await post(world, "adas-server", body)
    assert (answer.code, json.loads(answer.body)["field"]) == (400, field)


async def test_too_much_at_once_and_too_often_is_refused(world: RunningService) -> None:
    large = await post(world, "adas-server", b"x" * (MAX_BODY_BYTES + 1))
    assert large.code == 413
    statuses = [
        (await post(world, "adas-server", {"samples": [sample(number)]})).code
        for number in range(POSTS_IN_A_ROW + 3)
    ]
    assert statuses[0] == 200
    refused = await post(world, "adas-server", {"samples": [sample(99)]})
    assert 429 in statuses or refused.code == 429
    # another server is not made to wait
    assert (await post(world, "adas-gpu", {"samples": [sample()]})).code == 404


async def test_the_hub_is_asked_once_for_a_token_and_not_by_everyone(
    world: RunningService, hub: Tokens
) -> None:
    for number in range(3):
        await post(world, "adas-server", {"samples": [sample(number)]})
    assert hub.asked == 1
    statuses = [
        (await post(world, f"guess-{number}", {"samples": []})).code for number in range(80)
    ]
    assert set(statuses) <= {401, 429}
    assert 401 in statuses


async def test_without_the_hub_or_the_database_it_is_to_be_tried_again(
    world: RunningService, hub: Tokens
) -> None:
    await hub.stop()
    assert (await post(world, "adas-server", {"samples": [sample()]})).code == 503


def test_limits_fill_up_again_with_time() -> None:
    now = 0.0
    limits = Limits(2, 0.5, lambda: now)
    assert [limits.wait_seconds("a") for _ in range(3)] == [0, 0, 2]
    assert limits.wait_seconds("b") == 0
    now = 2.0
    assert [limits.wait_seconds("a") for _ in range(2)] == [0, 2]
    now = 1000.0
    assert [limits.wait_seconds("a") for _ in range(3)] == [0, 0, 2]
