"""What the handlers work with, put together once by ``service.app``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any

from .._clock import utc_now
from .api.cursors import Cursors
from .checker import Checker
from .credentials import HubSecrets
from .database import Database
from .directory import Directory
from .homes import HomeReader
from .metrics import Metrics
from .pages import Pages
from .privacy import Privacy
from .scrape_access import ScrapeAccess
from .server_tokens import ServerTokens
from .snapshots import Snapshots
from .upkeeper import Upkeeper


class Requests:
    """Counts the batches that are under way, so that a stop can wait for them."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self) -> None:
        self._count += 1
        self._none.clear()

    def end(self) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def finished(self) -> None:
        """Returns once no batch is under way."""
        await self._none.wait()


@dataclass(frozen=True)
class Wiring:
    """The parts of a running service. ``prefix`` begins and ends with a slash; ``further_hubs`` are
    those that the Hub's operators see beside their own."""

    prefix: str
    hub_name: str
    hub_secrets: HubSecrets
    scrape_access: ScrapeAccess
    server_tokens: ServerTokens
    max_body_bytes: int
    database: Database
    metrics: Metrics
    snapshots: Snapshots
    pages: Pages
    hub_auth: Any
    security_headers: dict[str, str]
    upkeeper: Upkeeper
    cursors: Cursors
    privacy: Privacy
    further_hubs: tuple[str, ...] = ()
    checker: Checker | None = None
    directory: Directory | None = None
    homes: HomeReader | None = None
    requests: Requests = field(default_factory=Requests)
    clock: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = perf_counter
