"""Delivery over real HTTP: what the service answers decides what stays in the outbox."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from builders import event
from faults import full_disk
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from jupyterhub_metrics.hub.delivery import Delivery
from jupyterhub_metrics.hub.outbox import Outbox

LOG = logging.getLogger("test_delivery")


def accept(events):
    return 200, {"received": len(events), "new": len(events), "rejected": []}


def too_large(events):
    return 413, {"error": "too large", "field": "body"}


class Service:
    """Answers as the test says, and remembers what it was sent."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.tokens: set[str] = set()
        self.statuses: list[dict] = []
        self.answer = accept
        service = self

        class Events(RequestHandler):
            def post(self) -> None:
                service.tokens.add(self.request.headers["Authorization"])
                body = json.loads(self.request.body)
                assert body["hub"] == "campus"
                service.statuses.append(body["recorder"])
                seconds = [e["occurred_at"][17:19] for e in body["events"]]
                service.batches.append(seconds)
                status, answer = service.answer(seconds)
                self.set_status(status)
                self.write(answer)

        self.socket, self.port = bind_unused_port()
        self.server = HTTPServer(Application([("/events", Events)]))

    def start(self) -> None:
        self.server.add_socket(self.socket)

    @property
    def received(self) -> list[str]:
        return [second for batch in self.batches for second in batch]


@pytest.fixture
async def service():
    made = Service()
    yield made
    made.server.stop()
    made.socket.close()
    await made.server.close_all_connections()


@pytest.fixture
async def delivery(tmp_path, service):
    outbox = Outbox(tmp_path / "outbox.sqlite", LOG)
    outbox.open()
    (tmp_path / "token").write_text("secret\n")
    made = Delivery(
        log=LOG,
        outbox=outbox,
        hub_name="campus",
        events_url=f"http://127.0.0.1:{service.port}/events",
        token_file=tmp_path / "token",
        first_backoff_seconds=0.02,
        longest_backoff_seconds=0.1,
        idle_seconds=5,
        batch_events=4,
    )
    yield made
    await made.stop()
    outbox.close()


def add(delivery: Delivery, *seconds: int) -> None:
    for second in seconds:
        delivery.outbox.append([event("requested", second)])
    delivery.wake()


async def until(fact) -> None:
    for _ in range(500):
        if fact():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within five seconds")


def empty(delivery: Delivery):
    return lambda: delivery.outbox.depth().events == 0


async def test_events_arrive_in_order_and_in_batches(delivery, service):
    service.start()
    add(delivery, *range(10))
    delivery.start()
    await until(empty(delivery))
    assert service.received == [f"{second:02}" for second in range(10)]
    assert [len(batch) for batch in service.batches] == [4, 4, 2]
    assert service.tokens == {"Bearer secret"}


async def test_a_new_event_is_delivered_at_once_not_at_the_next_look(delivery, service):
    service.start()
    delivery.start()
    await asyncio.sleep(0.05)
    add(delivery, 1)
    await until(empty(delivery))
    assert service.received == ["01"]


async def test_an_event_stays_until_the_service_says_it_is_committed(delivery, service, caplog):
    service.start()
    service.answer = lambda events: (503, {"error": "database away"})
    add(delivery, 1)
    delivery.start()
    await until(lambda: len(service.batches) > 2)
    assert delivery.outbox.depth().events == 1
    waits = [r.getMessage() for r in caplog.records if "waits" in r.getMessage()]
    assert len(waits) == 1, "said once, not at each try"
    assert "503 (database away)" in waits[0]
    service.answer = accept
    await until(empty(delivery))


async def test_a_service_that_is_not_there_yet_gets_everything_when_it_comes(delivery, service):
    add(delivery, 1, 2)
    service.socket.close()
    delivery.start()
    await asyncio.sleep(0.2)
    assert delivery.outbox.depth().events == 2
    service.server.listen(service.port, "127.0.0.1")
    await until(empty(delivery))
    assert service.received == ["01", "02"]


async def test_a_malformed_event_is_set_aside_and_the_rest_goes_on(delivery, service, caplog):
    def refuse_two(events):
        bad = [i for i, second in enumerate(events) if second == "02"]
        refused = [{"index": i, "field": "kind", "message": "odd"} for i in bad]
        return 200, {"received": len(events), "rejected": refused}

    service.start()
    service.answer = refuse_two
    add(delivery, 1, 2, 3)
    delivery.start()
    await until(empty(delivery))
    assert delivery.outbox.depth().set_aside == 1
    assert "kind: odd" in caplog.text


async def test_a_batch_that_is_too_large_is_halved_until_it_passes(delivery, service):
    service.start()
    service.answer = lambda events: accept(events) if len(events) < 2 else too_large(events)
    add(delivery, *range(5))
    delivery.start()
    await until(empty(delivery))
    assert delivery.outbox.depth().set_aside == 0
    delivered = [batch[0] for batch in service.batches if len(batch) == 1]
    assert delivered == [f"{second:02}" for second in range(5)]


async def test_one_event_that_is_too_large_by_itself_is_set_aside(delivery, service):
    service.start()
    service.answer = lambda events: too_large(events) if "01" in events else accept(events)
    add(delivery, 0, 1, 2)
    delivery.start()
    await until(empty(delivery))
    assert delivery.outbox.depth().set_aside == 1
    assert {"00", "02"} <= set(service.received)


async def test_a_wrong_secret_loses_nothing(delivery, service):
    service.start()
    service.answer = lambda events: (403, {"error": "wrong secret"})
    add(delivery, 1)
    delivery.start()
    await until(lambda: service.batches)
    await delivery.stop()
    assert delivery.outbox.depth().events == 1


async def test_a_token_file_that_is_missing_for_a_while_loses_nothing(delivery, service, caplog):
    service.start()
    token = delivery.token_file.read_text()
    delivery.token_file.unlink()
    add(delivery, 1)
    delivery.start()
    await until(lambda: "expected the secret that setup(c) writes" in caplog.text)
    delivery.token_file.write_text(token)
    await until(empty(delivery))


async def test_waits_grow_and_stay_bounded(delivery):
    delivery._random = lambda: 1.0
    waits = [delivery.backoff_seconds(n) for n in (1, 2, 3, 4, 1000)]
    assert waits == [0.02, 0.04, 0.08, 0.1, 0.1]
    delivery._random = lambda: 0.0
    assert delivery.backoff_seconds(1000) == 0.05


@pytest.mark.parametrize(
    "foreign",
    [
        (200, "{}"),
        (200, "<html>welcome</html>"),
        (200, '{"received": 0, "rejected": []}'),
        (200, '{"received": 2, "rejected": [{"index": 9}]}'),
        (400, "<html>a TLS port</html>"),
        (413, "{}"),
        (404, "[]"),
    ],
)
async def test_another_program_on_the_port_destroys_nothing(delivery, service, caplog, foreign):
    service.start()
    service.answer = lambda events: foreign
    add(delivery, 1, 2)
    delivery.start()
    await until(lambda: len(service.batches) > 2)
    assert delivery.outbox.depth().events == 2
    assert delivery.outbox.depth().set_aside == 0
    told = [r for r in caplog.records if r.name == LOG.name and r.levelno >= logging.WARNING]
    assert len(told) == 1
    assert delivery.faults == 0
    service.answer = accept
    await until(empty(delivery))


async def test_a_full_disk_neither_sends_again_nor_spins(delivery, service):
    service.start()
    add(delivery, *range(6))
    with full_disk():
        delivery.start()
        await until(lambda: len(service.received) >= 6)
        add(delivery, 6)
        await asyncio.sleep(0.5)
        assert sorted(service.received) == [f"{second:02}" for second in range(7)]
        assert len(service.batches) < 10
    delivery.outbox.append([event("requested", 7)])
    delivery.wake()
    await until(empty(delivery))
    assert len(service.received) == 8


async def test_the_log_of_the_outbox_stays_small_while_the_service_is_away(delivery, service):
    service.start()
    service.answer = lambda events: (503, {"error": "away", "field": "database"})
    delivery.start()
    wal = delivery.outbox.path.with_name("outbox.sqlite-wal")
    largest = 0
    for number in range(4000):
        add(delivery, number % 60)
        if number % 20 == 0:
            await asyncio.sleep(0.005)
            largest = max(largest, wal.stat().st_size)
    assert delivery.outbox.depth().events == 4000
    assert largest < 16 * 2**20


async def test_the_recorders_own_health_travels_with_each_batch(delivery, service):
    service.start()
    delivery.recorder_faults = lambda: 3
    add(delivery, 1)
    delivery.start()
    await until(empty(delivery))
    (status,) = service.statuses
    assert (status["outbox_events"], status["lost_events"], status["faults"]) == (1, 0, 3)
    assert status["set_aside_events"] == 0
    assert 0 <= status["outbox_oldest_seconds"] < 60


def nothing_is_no_batch(events):
    return (200, accept(events)[1]) if events else (400, {"error": "no", "field": "events"})


@pytest.mark.parametrize("answer", [accept, nothing_is_no_batch])
async def test_a_recorder_with_nothing_to_send_is_heard_all_the_same(
    delivery, service, caplog, answer
):
    service.answer = answer
    service.start()
    delivery.heartbeat_seconds = 0.05
    delivery.idle_seconds = 0.02
    delivery.start()
    await until(lambda: len(service.batches) >= 3)
    assert service.received == []
    assert service.statuses[-1]["outbox_events"] == 0
    add(delivery, 1)
    await until(empty(delivery))
    assert service.received == ["01"]
    assert "Delivery" not in caplog.text, (
        "an older service that wants events is no reason to complain"
    )


async def test_a_recorder_is_not_heard_more_often_than_it_should(delivery, service):
    service.start()
    delivery.idle_seconds = 0.01
    delivery.start()
    await asyncio.sleep(0.2)
    assert service.batches == [], "a minute has not passed"
    delivery.heartbeat_seconds = 0
    await asyncio.sleep(0.1)
    assert service.batches == [], "0 is never"
