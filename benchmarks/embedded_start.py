"""How long the embedded PostgreSQL takes to start: the first time, and every time after it.

    python benchmarks/embedded_start.py [--rounds 5]

Makes the server in an empty folder, with the schema, and starts and stops it again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from jupyterhub_metrics.store import EmbeddedServer, open_store


async def start(folder: Path) -> float:
    """Seconds until the store answers; ends it again."""
    server = EmbeddedServer(folder)
    began = time.monotonic()
    store = await open_store(await server.start(), migrate="always")
    took = time.monotonic() - began
    await store.close()
    await server.stop()
    return took


async def measure(folder: Path, rounds: int) -> None:
    print(f"first start, with the schema: {await start(folder):.1f} s")
    later = [await start(folder) for _ in range(rounds)]
    print(f"{rounds} later ones: {min(later):.2f} to {max(later):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jhm-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        asyncio.run(measure(folder, options.rounds))


if __name__ == "__main__":
    main()
