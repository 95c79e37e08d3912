"""Logins of browsers at the service: valid, expired, forged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_logins import Logins
from service_fixtures import RunningService, data_dir, running_service
from tornado.web import create_signed_value

__all__ = ["data_dir"]

COOKIE = "service-jupyterhub-metrics"


@pytest.fixture
async def logins(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Logins]:
    logins = Logins()
    for name, value in logins.environment.items():
        monkeypatch.setenv(name, value)
    async with logins.listening():
        yield logins


@pytest.fixture
async def visited(
    data_dir: Path, postgres_dsn: str, logins: Logins
) -> AsyncIterator[RunningService]:
    async with running_service(
        data_dir, dsn=postgres_dsn, environment=logins.environment, check_interval_seconds=0.0
    ) as service:
        yield service


def cookie(service: RunningService, token: str, secret: bytes | None = None) -> dict[str, str]:
    """The header of a browser that logged in with this token."""
    key = secret or bytes.fromhex(service.secret("cookie_secret"))
    value = create_signed_value(key, COOKIE, token).decode()
    return {"Cookie": f"{COOKIE}={value}", "Sec-Fetch-Mode": "navigate"}


async def test_a_valid_login_opens_pages_and_links(visited: RunningService, logins: Logins) -> None:
    token = logins.log_in("ada")["Authorization"].removeprefix("Bearer ")
    headers = cookie(visited, token)
    assert (await visited.get("", **headers)).code == 200
    assert (await visited.get("api/v1/me", **headers)).code == 200
    assert (await visited.get("users", **headers)).code == 403


@pytest.mark.parametrize("path", ["", "users/ada", "api/v1/sessions"])
async def test_an_expired_login_is_asked_to_log_in_again(
    visited: RunningService, path: str
) -> None:
    answer = await visited.get(path, **cookie(visited, "revoked"))
    assert answer.code == 302
    assert "oauth2/authorize" in answer.headers["Location"]
    fetched = {**cookie(visited, "revoked"), "Sec-Fetch-Mode": "cors"}
    answer = await visited.get("api/v1/sessions", **fetched)
    assert answer.code == 401


async def test_a_forged_login_opens_nothing(visited: RunningService, logins: Logins) -> None:
    token = logins.log_in("ada")["Authorization"].removeprefix("Bearer ")
    forged = cookie(visited, token, b"another secret" * 3)
    assert (await visited.get("", **forged)).code == 302
    assert (await visited.get("api/v1/me", **{**forged, "Sec-Fetch-Mode": "cors"})).code == 401


async def test_without_scope_for_the_service_nobody_is_let_in(
    visited: RunningService, logins: Logins
) -> None:
    headers = logins.log_in("ada")
    for model in logins.models.values():
        model["scopes"] = ["custom:jupyterhub-metrics:read"]
    for path in ("", "api/v1/me", "api/v1/users"):
        assert (await visited.get(path, **headers)).code == 403
