"""What the acceptance tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from hub_database import hub_environment
from hub_process import HubProcess
from usage_hub import UsageHub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[HubProcess]:
    """A Hub for one module's tests, in the module's event loop."""
    hub = HubProcess(environment=hub_environment())
    try:
        await hub.start()
        yield hub
    finally:
        await hub.close()


@pytest.fixture(scope="session")
def usage_hub() -> Iterator[UsageHub]:
    """A Hub with a simulated past, for all tests of the API and the pages."""
    hub = UsageHub()
    try:
        hub.start()
        yield hub
    finally:
        hub.close()
