"""What the acceptance tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from hub_database import hub_environment
from hub_process import HubProcess


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[HubProcess]:
    """A Hub for one module's tests, in the module's event loop."""
    hub = HubProcess(environment=hub_environment())
    try:
        await hub.start()
        yield hub
    finally:
        await hub.close()
