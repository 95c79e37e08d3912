"""Twenty random schedules on real Hubs whose parts are killed for real, judged from outside."""

from __future__ import annotations

import pytest
import pytest_asyncio
from kill_plan import VICTIMS
from kill_run import Total, run_schedules

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEED = 20
SCHEDULES = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def total() -> Total:
    """All of them were played, and nothing was lost, doubled, misplaced or too vague."""
    return await run_schedules(SEED, range(SCHEDULES), stacks=4)


async def test_no_session_is_lost_doubled_or_misplaced(total: Total) -> None:
    assert total.schedules == SCHEDULES
    assert total.sessions > 5 * SCHEDULES


async def test_each_part_was_struck_several_times(total: Total) -> None:
    assert min(total.kills[victim] for victim in VICTIMS) >= 4


async def test_some_ends_were_seen_by_nobody(total: Total) -> None:
    assert total.intervals >= SCHEDULES
