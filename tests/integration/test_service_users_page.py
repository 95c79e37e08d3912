"""What a user's page shows beside its table does not depend on which page of the table it is."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from fake_logins import Logins
from service_fixtures import RunningService, data_dir, run_of, running_service

__all__ = ["data_dir"]

NOW = datetime(2026, 10, 20, 12, tzinfo=timezone.utc)
MANY, FEW = 60, 7


@dataclass
class Page:
    """The page of one user, read as text."""

    text: str

    @property
    def rows(self) -> int:
        return self.text.count('<th scope="row"')

    @property
    def bars(self) -> int:
        return self.text.count('class="jhm-bar-')

    @property
    def running(self) -> int:
        return len(re.findall(r"<p>(Running|Starting) since ", self.text))

    def used(self, day: str) -> str:
        """What the calendar says of one day."""
        [words] = re.findall(rf"<title>{day}: ([^<]+)</title>", self.text)
        return str(words)

    def next(self) -> str:
        """What follows the question mark in the address of the table's next page."""
        [href] = re.findall(r'rel="next" href="\?([^"]*cursor[^"]*)"', self.text)
        return html.unescape(href)


@dataclass
class Asked:
    service: RunningService
    operator: dict[str, str]

    async def page(self, user: str, arguments: str = "") -> Page:
        answer = await self.service.get(f"users/{user}?{arguments}", **self.operator)
        assert answer.code == 200
        return Page(answer.body.decode())

    async def ingest(self, user: str, began: datetime, hours: float | None, server: str) -> None:
        length = None if hours is None else timedelta(hours=hours)
        of = {"username": user, "server_name": server}
        events = run_of(self.service.hub, began, length, **of)
        await self.service.server.wiring.database.store().ingest(events)


@pytest.fixture
async def asked(
    data_dir: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Asked]:
    """A service at noon of a day, of one user with many sessions in the month and one with few."""
    logins = Logins()
    for name, value in logins.environment.items():
        monkeypatch.setenv(name, value)
    async with (
        logins.listening(),
        running_service(
            data_dir,
            clock=lambda: NOW,
            dsn=postgres_dsn,
            environment=logins.environment,
            check_interval_seconds=0.0,
        ) as service,
    ):
        asked = Asked(service, logins.log_in("olga", admin=True))
        for user, count in (("mira", MANY), ("adam", FEW)):
            for number in range(count):
                began = datetime(2026, 10, 2, tzinfo=timezone.utc) + timedelta(hours=6 * number)
                await asked.ingest(user, began, 1.5, "gpu" if number % 3 == 0 else "")
        yield asked


async def test_the_timeline_draws_all_sessions_on_every_page_of_the_table(asked: Asked) -> None:
    first = await asked.page("mira")
    assert (first.rows, first.bars) == (50, MANY)
    second = await asked.page("mira", first.next())
    assert (second.rows, second.bars) == (MANY - 50, MANY)
    few = await asked.page("adam")
    assert (few.rows, few.bars) == (FEW, FEW)
    assert few.used("2026-10-02") == "6 h 00 min"
    assert few.used("2026-10-03") == "4 h 30 min"
    assert few.used("2026-10-04") == "nothing"


async def test_a_filter_by_server_holds_for_table_and_timeline(asked: Asked) -> None:
    for user, count in (("mira", MANY), ("adam", FEW)):
        gpu = await asked.page(user, "server=gpu")
        assert gpu.rows == gpu.bars == (count + 2) // 3
        unnamed = await asked.page(user, "server=+")
        assert unnamed.rows == unnamed.bars == count - (count + 2) // 3


async def test_what_runs_is_shown_as_soon_as_it_was_told_and_whatever_is_filtered(
    asked: Asked,
) -> None:
    assert (await asked.page("adam")).running == 0
    await asked.ingest("adam", NOW - timedelta(hours=3), None, "new")
    for arguments in ("", "server=gpu", "month=2026-09", "since=2026-10-02&until=2026-10-03"):
        assert (await asked.page("adam", arguments)).running == 1
    assert (await asked.page("mira")).running == 0
    await asked.ingest("adam", NOW - timedelta(hours=3), 2.5, "new")
    page = await asked.page("adam")
    assert (page.running, page.rows, page.bars) == (0, FEW + 1, FEW + 1)
    assert page.used("2026-10-20") == "2 h 30 min"
