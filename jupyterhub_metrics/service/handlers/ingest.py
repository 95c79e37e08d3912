"""Takes batches of events from the Hubs. The format stands in ``docs/service.md``."""

from __future__ import annotations

from tornado.web import stream_request_body

from ...errors import DatabaseUnavailable, SchemaMismatch
from ..batch import BatchRefused, read_batch
from ..credentials import bearer
from ..database import RETRY_AFTER_SECONDS
from .base import JSONHandler

READ_LIMITS = 8
"""How many times the limit of a body is read before the sender is cut off."""


@stream_request_body
class IngestHandler(JSONHandler):
    """``POST api/v1/events``; the secret and the size are judged before the body is kept.

    A refused body is read to its end and dropped, because a sender that is cut off may lose the
    answer; one that is far too large is cut off.
    """

    hub: str

    def initialize(self) -> None:
        self._body = bytearray()
        self._refused: BatchRefused | None = None
        self._under_way = False
        self._posting = False

    def check_xsrf_cookie(self) -> None:
        """No cookie is ever looked at here: a browser's page cannot know the bearer secret."""

    def prepare(self) -> None:
        super().prepare()
        self.wiring.requests.begin()
        self._under_way = True
        self.request.connection.set_max_body_size(READ_LIMITS * self.wiring.max_body_bytes)
        try:
            self.hub = self._bound_hub()
            announced = self.request.headers.get("Content-Length", "")
            # what is no number is refused by tornado, which reads it next
            self._check_size(int(announced) if announced.isdecimal() else 0)
        except BatchRefused as refused:
            self._refused = refused

    def data_received(self, chunk: bytes) -> None:
        if self._refused is not None:
            return
        self._body += chunk
        try:
            self._check_size(len(self._body))
        except BatchRefused as refused:
            self._refused = refused
            self._body.clear()

    async def post(self) -> None:
        self._posting = True
        if self._refused is not None:
            self._refuse(self._refused)
            return
        wiring = self.wiring
        began = wiring.monotonic()
        try:
            batch = read_batch(bytes(self._body), self.hub)
            # also while the database is away, which is when the outbox grows
            wiring.metrics.recorder_says(self.hub, batch.recorder, wiring.clock())
            store = wiring.database.store()
            result = await store.ingest(batch.events)
        except BatchRefused as error:
            self._refuse(error)
            return
        except (DatabaseUnavailable, SchemaMismatch) as error:
            wiring.database.lost(error)
            self.set_header("Retry-After", str(RETRY_AFTER_SECONDS))
            self._refuse(BatchRefused(503, "database_unavailable", "database", str(error)))
            return
        wiring.metrics.ingest_duration.observe(wiring.monotonic() - began)
        refused = [batch.refused_by_store(one.index, one.error) for one in result.refused]
        rejected = sorted([*batch.rejected, *refused], key=lambda rejection: rejection.index)
        wiring.metrics.committed(batch.events, result.new_ids, wiring.clock())
        wiring.metrics.events_malformed(rejected)
        receipt = {
            "received": batch.received,
            "new": result.new,
            "rejected": [rejection.to_wire() for rejection in rejected],
        }
        self.answer(200, receipt)

    def on_finish(self) -> None:
        self._end()

    def on_connection_close(self) -> None:
        """The sender went away; what it had sent completely is stored all the same."""
        super().on_connection_close()
        if not self._posting:
            self._end()

    def _end(self) -> None:
        if self._under_way:
            self._under_way = False
            self.wiring.requests.end()

    def _bound_hub(self) -> str:
        token = bearer(self.request.headers.get("Authorization", ""))
        if token is None:
            self.set_header("WWW-Authenticate", "Bearer")
            raise BatchRefused(
                401,
                "bad_secret",
                "Authorization",
                "found no bearer secret; expected the Hub's events secret",
            )
        hub = self.wiring.hub_secrets.hub_of(token)
        if hub is None:
            raise BatchRefused(
                403,
                "bad_secret",
                "Authorization",
                "found a secret of no Hub; expected the Hub's events secret",
            )
        return hub

    def _check_size(self, size_bytes: int) -> None:
        limit = self.wiring.max_body_bytes
        if size_bytes > limit:
            raise BatchRefused(
                413,
                "too_large",
                "body",
                f"found {size_bytes} bytes or more; expected at most {limit}; send fewer at once",
            )

    def _refuse(self, refused: BatchRefused) -> None:
        self.wiring.metrics.requests_rejected.labels(refused.reason).inc()
        self.answer(refused.status, {"error": str(refused), "field": refused.field})
