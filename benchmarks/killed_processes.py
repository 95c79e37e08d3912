"""Whether the record survives what kills a Hub and all its parts, over many random schedules.

    python benchmarks/killed_processes.py [--schedules 200] [--seed 1] [--first 0] [--stacks 3]

In each schedule users start, stop and lose servers on a real Hub while two of the Hub, the
service, PostgreSQL, the proxy and the network are killed or cut in the middle of it. Then the
recorded sessions are compared with what an outside observer saw. Ends at the first violation, with
what is wrong; ``--first N --schedules 1`` with the same seed plays that schedule again. Stacks run
at the same time, and every second one keeps its database beside the service instead of within it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kill_plan import VICTIMS
from kill_run import run_schedules


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--stacks", type=int, default=3)
    chosen = parser.parse_args()
    numbers = range(chosen.first, chosen.first + chosen.schedules)
    began = time.monotonic()
    try:
        total = await run_schedules(chosen.seed, numbers, stacks=chosen.stacks, told=print)
    except AssertionError as error:
        print(error)
        return 1
    kills = ", ".join(f"{total.kills[victim]} {victim}" for victim in VICTIMS)
    print(
        f"{total.schedules} schedules in {time.monotonic() - began:.0f} s; struck: {kills}; "
        f"{total.sessions} sessions compared, none lost, none doubled, every end in its interval; "
        f"{total.intervals} ends were intervals; the one with the least room: "
        f"{total.closest[0]:.2f} s of {total.closest[1]:.2f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
