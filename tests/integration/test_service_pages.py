"""Who sees which page, through a real Hub's own login."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import pytest
from hub_client import Answer, Visitor
from hub_process import HubProcess, until
from service_fixtures import event, run_of

from jupyterhub_metrics.model import Event

ODD = '<script>alert(1)<script> & "o\'hare"@x;%41+ü'
"""As odd as a Hub's username may be: of all characters, it refuses only the slash."""


def sessions(hub: str) -> list[Event]:
    began = datetime.now(timezone.utc) - timedelta(minutes=50)
    facts = {"image": "quay.io/jupyter/scipy-notebook:2026-11", "profile": ODD}
    return [
        *run_of(hub, began, timedelta(minutes=20), reason="stopped_by_user", actor="user:alice"),
        *run_of(hub, began, None, server_name="named", facts=facts),
        *run_of(hub, began, timedelta(minutes=9), username="bob", reason="died"),
        event(hub, username=ODD.lower(), facts={"display_name": ODD}, started_at=began),
    ]


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    """A Hub whose service knows some sessions."""
    hub = HubProcess()

    async def start() -> None:
        await hub.start()
        await hub.post_events(sessions(hub.name))
        hub.client.close()

    async def close() -> None:
        await hub.close()

    try:
        asyncio.run(start())
        yield hub
    finally:
        asyncio.run(close())


@pytest.fixture
def visit(hub: HubProcess) -> Callable[[str, str], Answer]:
    """Gives the page at a path under the service as a user who logs in with a browser's cookies."""

    def as_user(username: str, path: str) -> Answer:
        visitor = Visitor(hub.url)
        visitor.log_in(username, hub.password)
        return visitor.open(f"{hub.service_url}/{path}")

    return as_user


Visit = Callable[[str, str], Answer]


def test_a_user_sees_the_own_sessions_and_nobody_elses(visit: Visit) -> None:
    page = visit("alice", "")
    assert page.status == 200
    assert "My usage" in page.text
    assert "stopped by you" in page.text
    assert "quay.io/jupyter/scipy-notebook:2026-11" in page.text
    assert "died" not in page.text
    assert visit("alice", "users/alice").text.count("stopped by you") == 1


def test_a_user_does_not_see_another_users_page(visit: Visit) -> None:
    refused = visit("bob", "users/alice")
    assert refused.status == 403
    assert "scipy" not in refused.text
    assert visit("bob", "users/nobody").status == 403


def test_an_administrator_sees_everybodys_page_and_leaves_a_trace(
    visit: Visit, hub: HubProcess
) -> None:
    page = visit("admin", "users/alice")
    assert page.status == 200
    assert "Usage of alice" in page.text
    assert "stopped by alice" in page.text
    assert "Operator 'admin' read the usage of user 'alice'" in hub.log.read_text()


def test_odd_names_are_escaped(visit: Visit) -> None:
    page = visit("admin", f"users/{quote(ODD.lower(), safe='')}")
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script>alert" not in visit("alice", "").text


def test_a_stranger_is_sent_to_the_hubs_login(hub: HubProcess) -> None:
    page = Visitor(hub.url).open(f"{hub.service_url}/users/alice")
    assert page.status == 200
    assert 'name="username"' in page.text
    assert "scipy" not in page.text


async def test_no_token_of_a_user_posts_events_or_reads_metrics(hub: HubProcess) -> None:
    token = await hub.client.add_user("mallory")
    batch = {"hub": hub.name, "events": [event(hub.name, username="mallory").to_wire()]}
    posted = await hub.client.request(
        "POST", f"{hub.service_url}/api/v1/events", batch, token=token
    )
    assert posted.status == 403
    assert (await hub.client.get(f"{hub.service_url}/metrics", token=token)).status == 401
    hub.client.close()


def test_no_cookie_posts_events(hub: HubProcess) -> None:
    visitor = Visitor(hub.url)
    visitor.log_in("alice", hub.password)
    assert visitor.open(f"{hub.service_url}/").status == 200
    assert visitor.open(f"{hub.service_url}/api/v1/events", data=b"{}").status == 401


async def test_a_database_that_dies_is_told_kindly_and_started_again(
    visit: Visit, hub: HubProcess
) -> None:
    noted = next((hub.data_dir / "postgres").rglob("postmaster.pid"))
    os.kill(int(noted.read_text().splitlines()[0]), signal.SIGKILL)
    page = await asyncio.to_thread(visit, "alice", "")
    assert page.status == 503
    assert "Nothing is lost" in page.text

    async def back() -> bool:
        return (await asyncio.to_thread(visit, "alice", "")).status == 200

    await until(back, "the page is back", every_seconds=0.3)
