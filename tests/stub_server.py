"""The least that a Hub takes for a user's server; run by the spawner of the test Hubs.

``STUB_MODE`` is one of ``normal``, ``slow`` (answers after a second), ``silent`` (never listens)
and ``exit7`` (ends at once with status 7). What an observer needs to know of the process goes to
``STUB_FOLDER``, one JSON file per process: who, pid, and when it was born and first answered.
Standard library only, so that a process costs little.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

SLOW_SECONDS = 1.0


class Diary:
    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}-{time.time_ns()}.json"
        self._lock = threading.Lock()
        self._facts: dict[str, object] = {
            "pid": os.getpid(),
            "username": os.environ["JUPYTERHUB_USER"],
            "server_name": os.environ.get("JUPYTERHUB_SERVER_NAME", ""),
        }

    def note(self, moment: str) -> None:
        """Write down when ``moment`` happened, the first time only."""
        with self._lock:
            if moment in self._facts:
                return
            self._facts[moment] = time.time()
            draft = self._path.with_suffix(".draft")
            draft.write_text(json.dumps(self._facts))
            draft.rename(self._path)


def main() -> None:
    mode = os.environ.get("STUB_MODE", "normal")
    diary = Diary(Path(os.environ["STUB_FOLDER"]))
    diary.note("born_at")
    if mode == "exit7":
        sys.exit(7)
    if mode == "silent":
        threading.Event().wait()
    if mode == "slow":
        time.sleep(SLOW_SECONDS)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            diary.note("answered_at")
            body = b'{"version": "stub"}'
            self.send_response(200)
            self.send_header("X-JupyterHub-Version", os.environ["STUB_HUB_VERSION"])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            # the system delivers it now, whatever becomes of this process
            diary.note("sent_at")

        def log_message(self, *_: object) -> None:
            """Keep the Hub's log to the Hub."""

    address = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    place = (str(address.hostname), address.port or 0)
    while True:
        # the Hub found the port free a while ago; somebody else may have it for a moment
        with contextlib.suppress(OSError), ThreadingHTTPServer(place, Answer) as server:
            server.serve_forever()
        time.sleep(0.05)


if __name__ == "__main__":
    # the Hub asks with SIGINT first; a traceback for each stop would fill its log
    with contextlib.suppress(KeyboardInterrupt):
        main()
