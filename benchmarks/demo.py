"""How long the demo takes from its command to its first page.

    python benchmarks/demo.py [--history 90] [--users 60] [--port 8765]

Runs ``jupyterhub-metrics demo`` in an empty folder with the packages installed, asks for the
Hub's login page until it answers, then waits until the simulated past is there, and ends the demo.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

LIMIT_SECONDS = 120


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def until(fact, began: float, demo: subprocess.Popen) -> float:
    """Seconds since ``began`` when the fact became true."""
    while not fact():
        if demo.poll() is not None:
            raise SystemExit(f"the demo ended with status {demo.returncode}")
        if time.monotonic() - began > LIMIT_SECONDS:
            raise SystemExit(f"not within {LIMIT_SECONDS} s")
        time.sleep(0.05)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--history", type=int, default=90)
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jhm-") as folder:
        Path(folder).chmod(0o711)
        said = Path(folder) / "said"
        command = [
            str(Path(sys.executable).with_name("jupyterhub-metrics")),
            "demo",
            f"--data={folder}/demo",
            f"--port={options.port}",
            f"--history={options.history}",
            f"--users={options.users}",
        ]
        with said.open("w") as out:
            began = time.monotonic()
            demo = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            page = f"http://127.0.0.1:{options.port}/hub/login"
            print(f"first page after {until(lambda: answers(page), began, demo):.1f} s")
            past = re.compile(r"The past is there: (.*)")
            took = until(lambda: past.search(said.read_text()) is not None, began, demo)
            print(f"{past.search(said.read_text()).group(1)} after {took:.1f} s")
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)


if __name__ == "__main__":
    main()
