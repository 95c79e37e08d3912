"""A small prometheus-dirsize-exporter, that can be made to misbehave.

It exposes through the official client, as the real one (3.2) does, the gauges of its names, of
directories that a test tells of instead of ones that it walks.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from ports import free_port
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

_TEXTS = {
    "total_size_bytes": "Total Size of the Directory (in bytes)",
    "latest_mtime": "Newest modified file in the directory (as unix timestamp)",
    "entries_count": "Total number of entries (files, directories & links) in the directory",
    "last_updated_ns": "Last time this directory was processed (as unix timestamp)",
}

Fault = Callable[[RequestHandler], Awaitable[None]]


class FakeDirsize:
    """``sizes`` are told; ``fault`` answers in its place if there is one; ``token`` opens it."""

    def __init__(self, **sizes: float) -> None:
        self.sizes: dict[str, float] = dict(sizes)
        self.fault: Fault | None = None
        self.token: str | None = None
        self.asked: list[RequestHandler] = []
        self.port = free_port()
        self._server: HTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    def exposition(self, accept: str) -> tuple[bytes, str]:
        registry = CollectorRegistry()
        gauges = {
            name: Gauge(f"dirsize_{name}", text, ["directory"], registry=registry)
            for name, text in _TEXTS.items()
        }
        for directory, size in self.sizes.items():
            gauges["total_size_bytes"].labels(directory).set(size)
            gauges["entries_count"].labels(directory).set(1)
            gauges["latest_mtime"].labels(directory).set(time.time())
            gauges["last_updated_ns"].labels(directory).set(time.time())
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def start(self) -> None:
        exporter = self

        class Sizes(RequestHandler):
            async def get(self) -> None:
                exporter.asked.append(self)
                if exporter.fault is not None:
                    await exporter.fault(self)
                    return
                given = self.request.headers.get("Authorization")
                if exporter.token is not None and given != f"Bearer {exporter.token}":
                    self.set_status(401)
                    # some say what they were given
                    self.finish(f"no such token: {given}")
                    return
                body, content_type = exporter.exposition(self.request.headers.get("Accept", ""))
                self.set_header("Content-Type", content_type)
                self.finish(body)

        application = Application([("/metrics|/federate", Sizes)], log_function=lambda _: None)
        self._server = application.listen(self.port, "127.0.0.1")

    async def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None
