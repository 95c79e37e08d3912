"""Takes what users' own servers say of what they use. The format stands in ``docs/service.md``."""

from __future__ import annotations

import math
from typing import Final

from tornado.web import stream_request_body

from ...errors import DatabaseUnavailable, SchemaMismatch
from ..batch import BatchRefused
from ..database import RETRY_AFTER_SECONDS
from ..sample_batch import read_samples
from ..server_tokens import TooMany
from .base import JSONHandler

MAX_BODY_BYTES: Final = 256 * 1024
READ_LIMITS: Final = 4
"""How many times the limit of a body is read before the sender is cut off."""


@stream_request_body
class SamplesHandler(JSONHandler):
    """``POST api/v1/samples``: a server is believed of itself alone, and nothing is billed."""

    def initialize(self) -> None:
        self._body = bytearray()
        self._size_bytes = 0

    def check_xsrf_cookie(self) -> None:
        """No cookie is ever looked at here: a browser's page cannot know the server's token."""

    def prepare(self) -> None:
        super().prepare()
        self.request.connection.set_max_body_size(READ_LIMITS * MAX_BODY_BYTES)

    def data_received(self, chunk: bytes) -> None:
        self._size_bytes += len(chunk)
        if self._size_bytes <= MAX_BODY_BYTES:
            self._body += chunk

    async def post(self) -> None:
        wiring = self.wiring
        try:
            if self._size_bytes > MAX_BODY_BYTES:
                raise BatchRefused(
                    413,
                    "too_large",
                    "body",
                    f"found {self._size_bytes} bytes; expected at most {MAX_BODY_BYTES}; "
                    "send fewer at once",
                )
            server = await wiring.server_tokens.server_of(
                self.request.headers.get("Authorization", "")
            )
            batch = read_samples(
                bytes(self._body), server.username, server.server_name, wiring.clock()
            )
            taken = await wiring.database.store().resources.record(
                wiring.hub_name, server.username, server.server_name, batch.samples
            )
            if taken is None:
                raise BatchRefused(
                    404,
                    "no_session",
                    "server_name",
                    "found no open session of this server; expected one; try again later",
                )
        except TooMany as refused:
            self.set_header("Retry-After", str(math.ceil(refused.seconds)))
            self._refuse(refused)
        except BatchRefused as refused:
            if refused.status == 401:
                self.set_header("WWW-Authenticate", "Bearer")
            self._refuse(refused)
        except (DatabaseUnavailable, SchemaMismatch) as error:
            wiring.database.lost(error)
            self.set_header("Retry-After", str(RETRY_AFTER_SECONDS))
            self._refuse(BatchRefused(503, "database_unavailable", "database", str(error)))
        else:
            wiring.metrics.samples_taken.inc(taken)
            receipt = {
                "received": batch.received,
                "new": taken,
                "rejected": list(batch.rejected),
            }
            self.answer(200, receipt)

    def _refuse(self, refused: BatchRefused) -> None:
        self.wiring.metrics.sample_posts_rejected.labels(refused.reason).inc()
        self.answer(refused.status, {"error": str(refused), "field": refused.field})
