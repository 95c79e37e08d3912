"""A Docker daemon that tells of containers over a Unix socket, in the format of its Engine API.

The answers are written from the API's reference (v1.48): ``/containers/json``,
``/containers/{id}/json`` and ``/containers/{id}/stats``, with control groups of version 1 and of
version 2.
"""

from __future__ import annotations

import copy
import json
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

ID = "f2d1c6a79c1b4c2f8f0f6d6b4f0d2c1f7b6f5f0a1d2c3b4a5968778695a4b3c2"

INSPECTED: dict[str, Any] = {
    "Id": ID,
    "Name": "/web-server",
    "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-05T10:00:00.1Z"},
    "RestartCount": 0,
    "HostConfig": {"NanoCpus": 500_000_000, "CpuQuota": 0, "CpuPeriod": 0, "Memory": 268_435_456},
}

STATS_V2: dict[str, Any] = {
    "read": "2026-01-05T10:05:00.0Z",
    "preread": "2026-01-05T10:04:59.0Z",
    "name": "/web-server",
    "id": ID,
    "num_procs": 0,
    "pids_stats": {"current": 3},
    "networks": {
        "eth0": {
            "rx_bytes": 5_000_000, "rx_packets": 5000, "rx_errors": 1, "rx_dropped": 2,
            "tx_bytes": 700_000, "tx_packets": 600, "tx_errors": 0, "tx_dropped": 0,
        },
        "eth1": {"rx_bytes": 1_000_000, "rx_packets": 10},
    },
    "memory_stats": {
        "usage": 157_286_400,
        "limit": 268_435_456,
        "stats": {
            "anon": 104_857_600, "file": 52_428_800, "shmem": 2_097_152,
            "inactive_file": 31_457_280, "active_file": 20_971_520, "pgfault": 1,
        },
    },
    "cpu_stats": {
        "cpu_usage": {
            "total_usage": 2_000_000_000,
            "usage_in_usermode": 1_500_000_000,
            "usage_in_kernelmode": 500_000_000,
        },
        "system_cpu_usage": 1_000_000_000_000,
        "online_cpus": 4,
        "throttling_data": {"periods": 10, "throttled_periods": 3, "throttled_time": 100_000_000},
    },
    "precpu_stats": {
        "cpu_usage": {"total_usage": 1_750_000_000},
        "system_cpu_usage": 996_000_000_000,
        "online_cpus": 4,
    },
    # version 2 writes the operations small
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "read", "value": 3_000_000},
            {"major": 8, "minor": 0, "op": "write", "value": 1_000_000},
            {"major": 8, "minor": 16, "op": "read", "value": 1_000_000},
        ],
        "io_serviced_recursive": None,
    },
    "storage_stats": {},
}  # fmt: skip

STATS_V1: dict[str, Any] = {
    **STATS_V2,
    "memory_stats": {
        "usage": 157_286_400,
        "max_usage": 160_000_000,
        "limit": 9_223_372_036_854_771_712,
        "stats": {
            "rss": 1, "total_rss": 94_371_840, "total_cache": 62_914_560, "total_shmem": 0,
            "inactive_file": 1, "total_inactive_file": 41_943_040, "hierarchical_memory_limit": 9,
        },
    },
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 3_000_000},
            {"major": 8, "minor": 0, "op": "Write", "value": 1_000_000},
            {"major": 8, "minor": 0, "op": "Total", "value": 4_000_000},
        ],
        "io_serviced_recursive": [{"major": 8, "minor": 0, "op": "Read", "value": 30}],
    },
}  # fmt: skip


class FakeDocker:
    """Listens on ``socket``; ``containers`` are what it knows, by name: what ``inspect`` and
    ``stats`` tell. What was asked is in ``asked``."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.host = f"unix://{socket}"
        self.asked: list[str] = []
        self.containers: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        # what one that reads the first container there is would find
        self.add("aaa-other", Id="0" * 64)
        self.add("web-server")
        daemon = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._send(200, b"")

            def do_GET(self) -> None:
                daemon.asked.append(self.path)
                path = re.sub(r"^/v[0-9.]+", "", self.path)
                if path == "/_ping":
                    self._send(200, b"OK")
                    return
                if path.partition("?")[0] == "/containers/json":
                    self._send(200, json.dumps(daemon.running()).encode())
                    return
                match = re.match(r"/containers/([^/]+)/(json|stats)(\?|$)", path)
                found = daemon.find(match[1]) if match else None
                if match is None or found is None:
                    name = match[1] if match else "?"
                    self._send(404, json.dumps({"message": f"No such container: {name}"}).encode())
                    return
                self._send(200, json.dumps(found[match[2] == "stats"]).encode())

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Api-Version", "1.48")
                self.send_header("Ostype", "linux")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def address_string(self) -> str:
                return "socket"

            def log_message(self, *_: Any) -> None:
                """Nothing: what was asked is kept."""

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self._server = Server(str(socket), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def add(self, name: str, stats: dict[str, Any] = STATS_V2, **inspected: Any) -> None:
        known = {**copy.deepcopy(INSPECTED), "Name": f"/{name}", **inspected}
        told = {**copy.deepcopy(stats), "name": f"/{name}", "id": known["Id"]}
        self.containers[name] = (known, told)

    def running(self) -> list[dict[str, Any]]:
        """The list of containers that run, in which each name has a slash before it."""
        return [
            {"Id": known["Id"], "Names": [known["Name"], f"/linked{known['Name']}"]}
            for known, _ in self.containers.values()
            if known["State"]["Running"]
        ]

    def find(self, asked: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """By name, or by the beginning of an id, as Docker does."""
        if asked in self.containers:
            return self.containers[asked]
        return next(
            (found for found in self.containers.values() if found[0]["Id"].startswith(asked)), None
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
