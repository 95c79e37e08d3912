"""What the table says of servers that the Hub cannot end, because its proxy is away.

JupyterHub then calls them ready for ever, whether they run or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from hub_database import hub_environment, sessions_of
from hub_process import POLL_SECONDS, HubProcess, until
from observer import Observer, Run

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROXY = """
from jupyterhub.proxy import ConfigurableHTTPProxy

class Away(ConfigurableHTTPProxy):
    async def delete_user(self, user, server_name=""):
        if Path("proxy-away").exists():
            raise ConnectionRefusedError("the proxy is away")
        await super().delete_user(user, server_name)

c.JupyterHub.proxy_class = Away
c.Away.command = c.ConfigurableHTTPProxy.command
"""

SLACK_SECONDS = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[HubProcess]:
    hub = HubProcess(before=PROXY, environment=hub_environment())
    try:
        await hub.start()
        yield hub
    finally:
        await hub.close()


@pytest_asyncio.fixture(loop_scope="module")
async def observer(hub: HubProcess) -> AsyncIterator[Observer]:
    observer = Observer(hub)
    yield observer
    await observer.close()


@pytest_asyncio.fixture(loop_scope="module")
async def away(hub: HubProcess) -> AsyncIterator[Path]:
    """The file that keeps the proxy away while it is there."""
    flag = hub.folder / "proxy-away"
    flag.touch()
    yield flag
    flag.unlink(missing_ok=True)


async def session_once(hub: HubProcess, username: str, state: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def as_expected() -> bool:
        found[:] = [row for row in await sessions_of(hub) if row["username"] == username]
        return [row["state"] for row in found] == [state]

    try:
        await until(as_expected, f"{state}", every_seconds=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}; found {found}\n{hub.log_tail()}") from None
    return found[0]


def assert_true_end(row: dict[str, Any], run: Run) -> None:
    after, before = row["ended_after"].timestamp(), row["ended_before"].timestamp()
    assert after <= run.gone_at
    assert run.alive_at <= before
    assert before - after <= POLL_SECONDS + SLACK_SECONDS


async def test_one_that_dies_ends(hub: HubProcess, observer: Observer, away: Path) -> None:
    await observer.add_user("ann")
    run = await observer.start_ready("ann")
    psutil.Process(run.pid).kill()
    await observer.gone(run)
    row = await session_once(hub, "ann", "ended")
    assert (row["end_reason"], row["exit_status"]) == ("died", -9)
    assert_true_end(row, run)


async def test_one_that_exits_while_its_start_is_cancelled_has_failed(
    hub: HubProcess, observer: Observer, away: Path
) -> None:
    await observer.add_user("ben")
    run = await observer.start("ben", mode="exit7")
    await observer.ask_to_stop(run, by="ben")
    await observer.gone(run)
    row = await session_once(hub, "ben", "failed")
    assert (row["end_reason"], row["exit_status"]) == ("exited", 7)
    assert row["ready_at"] is None


async def test_one_whose_start_was_cancelled_in_vain_runs_until_it_dies(
    hub: HubProcess, observer: Observer, away: Path
) -> None:
    await observer.add_user("cy")
    run = await observer.start("cy", mode="slow")
    await observer.ask_to_stop(run)
    away.unlink()
    await session_once(hub, "cy", "running")
    assert run.gone_at == float("inf")
    await asyncio.sleep(POLL_SECONDS)
    psutil.Process(run.pid).kill()
    await observer.gone(run)
    row = await session_once(hub, "cy", "ended")
    assert (row["end_reason"], row["end_source"]) == ("died", "hub_poll")
    assert_true_end(row, run)


async def test_a_new_start_finds_the_end_of_one_that_died(
    hub: HubProcess, observer: Observer, away: Path
) -> None:
    await observer.add_user("dora")
    run = await observer.start_ready("dora")
    psutil.Process(run.pid).kill()
    await until(lambda: run.gone_at != float("inf"), "it is gone")
    again = await observer.start_ready("dora")
    away.unlink()
    await observer.stop(again)
    found: list[dict[str, Any]] = []

    async def both_have_ended() -> bool:
        found[:] = [row for row in await sessions_of(hub) if row["username"] == "dora"]
        return [row["state"] for row in found] == ["ended", "ended"]

    await until(both_have_ended, "both have ended", every_seconds=0.2)
    assert [row["end_reason"] for row in found] == ["died", "stopped_by_service"]
    assert_true_end(found[0], run)
