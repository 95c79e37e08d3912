"""Pseudonyms in place of names, several Hubs in one database, and who leaves a trace."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fake_logins import Logins
from service_fixtures import RunningService, data_dir, run_of, running_service

__all__ = ["data_dir"]

READ = "custom:jupyterhub-metrics:read"
# none of them is a word of hexadecimal digits, of which pseudonyms are
NAMES = ("petra", "bob", "secret-server", "Secret title", "jupyter-petra")


@dataclass
class Asked:
    """A service with two users' sessions, and the headers of those who ask it."""

    service: RunningService
    logins: Logins

    async def get(self, path: str, who: dict[str, str]) -> tuple[int, str]:
        answer = await self.service.get(path, **who)
        return answer.code, answer.body.decode()

    async def json(self, path: str, who: dict[str, str]) -> Any:
        status, text = await self.get(f"api/v1/{path}", who)
        assert status == 200, text
        return json.loads(text)


@pytest.fixture
async def logins(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Logins]:
    logins = Logins()
    for name, value in logins.environment.items():
        monkeypatch.setenv(name, value)
    async with logins.listening():
        yield logins


async def with_sessions(service: RunningService, hub: str | None = None) -> None:
    began = datetime.now(timezone.utc) - timedelta(hours=2)
    facts = {"display_name": "Secret title", "pod_name": "jupyter-petra"}
    events = []
    for username in ("petra", "bob"):
        of = {"username": username, "server_name": "secret-server", "facts": facts}
        end = {"reason": "stopped_by_user", "actor": f"user:{username}"}
        events += run_of(hub or service.hub, began, timedelta(hours=1), **of, **end)
        of["server_name"] = "secret-server-2"
        events += run_of(hub or service.hub, began, None, **of)
    store = service.server.wiring.database.store()
    await store.ingest(events)
    await store.record_memberships(hub or service.hub, {"team": ["petra", "bob"]}, began)


@pytest.fixture
async def hidden(data_dir: Path, postgres_dsn: str, logins: Logins) -> AsyncIterator[Asked]:
    """A service that shows pseudonyms."""
    async with running_service(
        data_dir,
        dsn=postgres_dsn,
        environment=logins.environment,
        check_interval_seconds=0.0,
        pseudonyms=True,
    ) as service:
        await with_sessions(service)
        yield Asked(service, logins)


async def test_no_answer_names_anyone_where_pseudonyms_are_shown(hidden: Asked) -> None:
    operator = hidden.logins.log_in("op", admin=True)
    owner = hidden.logins.log_in("olga", f"{READ}!group=team")
    [one, two] = (await hidden.json("users", operator))["items"]
    assert re.fullmatch("[0-9a-f]{32}", one["username"])
    assert one["username"] != two["username"]
    pages = ("", "users", f"users/{one['username']}", "groups", "groups/team", "running")
    resources = (
        "users",
        "sessions",
        "running",
        "usage?by=user",
        f"sessions?user={one['username']}",
    )
    for path in (*pages, *(f"api/v1/{name}" for name in resources)):
        status, text = await hidden.get(path, operator)
        assert status == 200, path
        assert not [name for name in NAMES if name in text], path
        assert "session_id" not in text
    for path in ("groups/team", "running?group=team", "api/v1/sessions?group=team"):
        status, text = await hidden.get(path, owner)
        assert status == 200, path
        assert not [name for name in NAMES if name in text], path
    for row in (await hidden.json("sessions", operator))["items"]:
        assert (row["id"], row["server_name"], row["ended_by"]) == (None, None, None)


async def test_pseudonyms_cannot_be_undone_by_asking(hidden: Asked) -> None:
    operator = hidden.logins.log_in("op", admin=True)
    for question, field in (
        ("users?search=pet", "search"),
        ("users?sort=username", "sort"),
        ("usage?by=server", "by"),
        ("sessions?server=secret-server", "server"),
    ):
        status, text = await hidden.get(f"api/v1/{question}", operator)
        assert (status, json.loads(text)["field"]) == (400, field)
    assert (await hidden.json("sessions?user=petra", operator))["items"] == []
    assert (await hidden.get("users/petra", operator))[0] == 404
    reading = hidden.service.server.wiring.database.store().reading
    found = await reading.running([hidden.service.hub], None, None, None, 9)
    secrets = [*NAMES, *(str(seen.session.id) for seen in found)]
    future = f"users?until={datetime.now(timezone.utc).date() + timedelta(days=2)}&"
    for question in (
        "users?",
        future,
        "users?group=team&",
        "sessions?",
        "running?",
        "usage?by=user&",
    ):
        cursor = (await hidden.json(f"{question}limit=1", operator))["next"]
        told = base64.urlsafe_b64decode(cursor + "===")
        assert not [secret for secret in secrets if secret.encode() in told], question
        rows = (await hidden.json(f"{question}limit=1&cursor={cursor}", operator))["items"]
        assert len(rows) == 1


async def test_everyone_sees_the_own_names(hidden: Asked) -> None:
    petra = hidden.logins.log_in("petra")
    status, text = await hidden.get("", petra)
    assert status == 200
    assert "Secret title" in text
    [*rows] = (await hidden.json("sessions", petra))["items"]
    assert {row["server_name"] for row in rows} == {"secret-server", "secret-server-2"}


async def test_operators_of_one_hub_see_another_only_if_told(
    data_dir: Path, postgres_dsn: str, logins: Logins
) -> None:
    settings: dict[str, Any] = {
        "dsn": postgres_dsn,
        "environment": logins.environment,
        "check_interval_seconds": 0.0,
    }
    operator = logins.log_in("op", admin=True)
    petra = logins.log_in("petra")
    async with running_service(data_dir, **settings) as service:
        await with_sessions(service)
        await with_sessions(service, "another")
        asked = Asked(service, logins)
        assert {row["hub"] for row in (await asked.json("users", operator))["items"]} == {
            service.hub
        }
        for path in ("users?hub=another", "users/petra?hub=another", "api/v1/users?hub=another"):
            assert (await asked.get(path, operator))[0] == 403
    async with running_service(data_dir, further_hubs=["another"], **settings) as service:
        asked = Asked(service, logins)
        assert {row["hub"] for row in (await asked.json("users", operator))["items"]} == {"another"}
        assert (await asked.get("users/petra?hub=another", operator))[0] == 200
        assert (await asked.get("users/petra?hub=another", petra))[0] == 403
        by_hub = (await asked.json("usage?by=hub", operator))["items"]
        assert [row["value"] for row in by_hub] == ["another"]


async def test_reading_of_others_leaves_a_trace_and_of_oneself_none(
    hidden: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    operator = hidden.logins.log_in("op", admin=True)
    [one, _] = (await hidden.json("users", operator))["items"]
    await hidden.get(f"users/{one['username']}", operator)
    await hidden.json(f"sessions?user={one['username']}", operator)
    await hidden.get("groups/team", hidden.logins.log_in("olga", f"{READ}!group=team"))
    await hidden.get("", hidden.logins.log_in("petra"))
    traces = [record.getMessage() for record in caplog.records if "read the usage" in record.msg]
    assert len(traces) == 3
    assert traces[0].startswith("Operator 'op' read the usage of user")
    assert traces[2] == "Owner 'olga' read the usage of group 'team'"


async def test_a_hub_that_is_away_is_told_and_nobody_is_let_in(
    data_dir: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = Logins()
    for name, value in logins.environment.items():
        monkeypatch.setenv(name, value)
    async with running_service(
        data_dir, dsn=postgres_dsn, environment=logins.environment, check_interval_seconds=0.0
    ) as service:
        answer = await service.get("api/v1/me", **logins.log_in("op", admin=True))
        assert answer.code in (500, 502, 503)
        assert b"Traceback" not in answer.body
