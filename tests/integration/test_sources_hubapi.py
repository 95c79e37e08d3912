"""What is read from a Hub's REST API, and what is said when it cannot be read whole."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

import pytest
from fake_hub import TOKEN, FakeHub, answers, half_a_page, refuses
from tornado.web import RequestHandler

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.errors import SourceUnavailable
from jupyterhub_metrics.sources.hubapi import HubApi

STARTED = "2026-03-01T08:00:00.123456Z"


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    hub = FakeHub()
    hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
async def api(hub: FakeHub) -> AsyncIterator[HubApi]:
    api = HubApi(hub.url, TOKEN, clock=utc_now, timeout_seconds=5)
    yield api
    api.close()


async def test_servers_and_groups_are_read_as_the_hub_has_them(hub: FakeHub, api: HubApi) -> None:
    hub.run("ada", STARTED)
    hub.run("bob", STARTED, "gpu", ready=False, pending="spawn", last_activity=None)
    hub.users.append({"name": "idle", "servers": {}})
    hub.groups.append({"name": "physics", "users": ["ada", "idle"]})
    view = await api.view()
    started = datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=timezone.utc)
    assert set(view.servers) == {("ada", ""), ("bob", "gpu")}
    assert view.servers["ada", ""].started_at == started
    assert view.servers["ada", ""].ready
    assert view.servers["bob", "gpu"].pending == "spawn"
    assert view.groups == {"physics": frozenset({"ada", "idle"})}
    assert view.asked_at <= view.answered_at
    assert view.clock_ahead_seconds == 0.0
    assert "state=active" in hub.asked[0]


async def test_many_pages_are_read_whole(hub: FakeHub, api: HubApi) -> None:
    hub.page_limit = 10
    for number in range(137):
        hub.run(f"user-{number}", STARTED)
    assert len((await api.view()).servers) == 137


async def test_a_list_that_shrinks_while_it_is_read_hides_nobody(hub: FakeHub, api: HubApi) -> None:
    hub.page_limit = 10
    for number in range(60):
        hub.run(f"user-{number}", STARTED)
    stays = {user["name"] for user in hub.users[15:]}

    def shrink(handler: RequestHandler, path: str) -> bool:
        if path == "users" and len(hub.asked) in (2, 3, 4):
            del hub.users[:5]
        return False

    hub.fault = shrink
    view = await api.view()
    assert stays <= {username for username, _ in view.servers}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (refuses("users"), r"refuses GET /users \(403: .*list:users.*expected.*read:servers"),
        (answers(500, '{"message": "Internal Server Error"}'), r"/users with 500 \(Internal"),
        (answers(200, "<!DOCTYPE html><html>", "text/html"), "200 and text/html that is not JSON"),
        (answers(502, "bad gateway", "text/plain"), "502 and text/plain that is not JSON"),
        (answers(302, "", "text/html"), "302 and text/html"),
        (half_a_page, "does not answer GET"),
        (answers(200, '{"items": ['), "is not JSON"),
        (answers(200, "[]"), "in another shape; expected items and _pagination"),
        (answers(200, '{"items": 3, "_pagination": {"limit": 50, "total": 3}}'), "another shape"),
        (
            answers(200, '{"items": [], "_pagination": {"limit": 50, "total": 3}}'),
            "gave 0 of the 3 items",
        ),
        (
            answers(200, '{"items": [{"name": "a"}], "_pagination": {"limit": 50, "total": 1}}'),
            "without the scope read:servers",
        ),
        (
            answers(
                200,
                '{"items": [{"name": "a", "servers": {"": {"started": "yesterday"}}}],'
                '"_pagination": {"limit": 50, "total": 1}}',
            ),
            "a server of 'a' in another shape",
        ),
    ],
)
async def test_what_is_missing_is_said_in_one_line(
    hub: FakeHub, api: HubApi, fault: Any, says: str
) -> None:
    hub.run("ada", STARTED)
    hub.fault = fault
    with pytest.raises(SourceUnavailable, match=says) as caught:
        await api.view()
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    hub.fault = lambda handler, path: False
    assert len((await api.view()).servers) == 1, "and it recovers by itself"


async def test_a_hub_that_is_away_or_silent_is_named(hub: FakeHub) -> None:
    silent = HubApi(hub.url, TOKEN, clock=utc_now, timeout_seconds=0.2)

    def stall(handler: RequestHandler, path: str) -> bool:
        handler.detach()
        return True

    hub.fault = stall
    with pytest.raises(SourceUnavailable, match=r"does not answer GET .*[Tt]imeout"):
        await silent.view()
    silent.close()
    await hub.stop()
    away = HubApi(hub.url, TOKEN, clock=utc_now)
    with pytest.raises(SourceUnavailable, match="does not answer GET"):
        await away.view()
    away.close()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (refuses("groups"), "list:groups"),
        (
            lambda handler, path: (
                path == "groups"
                and answers(
                    200, '{"items": [{"name": "a"}], "_pagination": {"limit": 50, "total": 1}}'
                )(handler, path)
            ),
            "without the scope read:groups",
        ),
    ],
)
async def test_without_the_scopes_for_groups_the_servers_are_still_read(
    hub: FakeHub, api: HubApi, fault: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    hub.run("ada", STARTED)
    hub.fault = fault
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            view = await api.view()
            assert (len(view.servers), view.groups) == (1, None)
    [line] = [record.message for record in caplog.records]
    assert says in line, "said once, not at each look"


async def test_the_hubs_clock_is_compared_with_ours(hub: FakeHub, api: HubApi) -> None:
    def late(handler: RequestHandler, path: str) -> bool:
        handler.set_header("Date", "Sun, 01 Mar 2026 08:00:00 GMT")
        return False

    hub.fault = late
    assert (await api.view()).clock_ahead_seconds < -3600
