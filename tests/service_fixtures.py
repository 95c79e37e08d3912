"""The real service over a real PostgreSQL, in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from scratch import scratch_folder
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from traitlets.config import Config

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.model import Event, session_id
from jupyterhub_metrics.service.app import MetricsService
from jupyterhub_metrics.service.server import Server

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def make_data_dir() -> Path:
    """A data folder with fresh secrets, as ``hub.setup`` leaves one."""
    data_dir = scratch_folder()
    folder = data_dir / "secrets"
    folder.mkdir(mode=0o700)
    for name in ("events_token", "metrics_token", "cookie_secret"):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32) + "\n")
    return data_dir


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = make_data_dir()
    yield folder
    shutil.rmtree(folder)


@dataclass
class RunningService:
    """A service that listens; ``url`` ends with a slash."""

    settings: MetricsService
    server: Server
    hub: str
    url: str
    http: AsyncHTTPClient

    def secret(self, name: str) -> str:
        return (Path(self.settings.data_dir) / "secrets" / name).read_text().strip()

    def operator(self) -> dict[str, str]:
        """The headers of someone who has the metrics token."""
        return {"Authorization": f"Bearer {self.secret('metrics_token')}"}

    async def get(self, path: str, **headers: str) -> HTTPResponse:
        return await self.http.fetch(
            self.url + path, headers=headers, raise_error=False, follow_redirects=False
        )

    async def post(self, body: bytes | dict[str, Any], token: str | None = "") -> HTTPResponse:
        """Posts events; ``token`` is the Hub's own unless given, None sends none."""
        headers = {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.secret('events_token')}"
        return await self.http.fetch(
            self.url + "api/v1/events",
            method="POST",
            headers=headers,
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            raise_error=False,
            request_timeout=30,
        )

    def batch(self, *events: Event | dict[str, Any]) -> dict[str, Any]:
        wired = [event.to_wire() if isinstance(event, Event) else event for event in events]
        return {"hub": self.hub, "events": wired}

    async def until_ready(self, seconds: float = 20.0) -> None:
        await self.until("health/ready", 200, seconds)

    async def until(self, path: str, status: int, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while (answer := await self.get(path)).code != status:
            assert time.monotonic() < deadline, f"{path} still answers {answer.body!r}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running_service(
    data_dir: Path,
    *,
    clock: Callable[[], datetime] = utc_now,
    ready: bool = True,
    environment: Mapping[str, str] | None = None,
    **traits: Any,
) -> AsyncIterator[RunningService]:
    """A service with these settings, closed at the end."""
    hub = f"hub-{secrets.token_hex(4)}"
    port = free_port()
    settings = MetricsService(
        data_dir=str(data_dir), hub_name=hub, url=f"http://127.0.0.1:{port}/", **traits
    )
    # what was just done shows in the next scrape
    settings.update_config(Config({"Scraping": {"answer_seconds": 0}}))
    settings.environment = environment or {}
    server = settings.make_server(clock)
    http = AsyncHTTPClient(force_instance=True, max_clients=64)
    url = f"http://127.0.0.1:{port}/services/jupyterhub-metrics/"
    service = RunningService(settings, server, hub, url, http)
    try:
        await server.open()
        if ready:
            await service.until_ready()
        yield service
    finally:
        http.close()
        await server.close()


@pytest.fixture
async def service(data_dir: Path, postgres_dsn: str) -> AsyncIterator[RunningService]:
    async with running_service(data_dir, dsn=postgres_dsn) as running:
        yield running


def event(hub: str, kind: str = "requested", *, username: str = "alice", **values: Any) -> Event:
    """An event of a session that was requested at noon, unless ``values`` say otherwise."""
    started_at = values.pop("started_at", NOON)
    server_name = values.pop("server_name", "")
    return Event(
        kind=kind,
        hub=hub,
        username=username,
        server_name=server_name,
        session_id=session_id(hub, username, server_name, started_at),
        started_at=started_at,
        occurred_at=values.pop("occurred_at", started_at),
        source=values.pop("source", "hub"),
        **values,
    )


def run_of(
    hub: str,
    started_at: datetime,
    length: timedelta | None,
    *,
    ready_after: timedelta | None = timedelta(seconds=8),
    **values: Any,
) -> list[Event]:
    """The events of a whole session; without ``length`` it still runs."""
    end = {key: values.pop(key) for key in ("reason", "actor", "exit_status") if key in values}
    common = {"started_at": started_at, **values}
    events = [event(hub, "requested", **common)]
    common.pop("facts", None)
    if ready_after is not None:
        ready_at = started_at + ready_after
        events.append(event(hub, "ready", occurred_at=ready_at, **common))
    if length is not None:
        ended_at = started_at + length
        events.append(event(hub, "stopped", occurred_at=ended_at, **common, **end))
    return events
