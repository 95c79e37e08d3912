"""Asks a server over HTTP/1.1 with as little work as Python can: in a process of its own, so that
what asking takes is not counted as the server's.

    python benchmarks/light_client.py HOST PORT CONNECTIONS SECONDS EVERY < requests.json

Called by ``scrape.py`` and ``pages.py``. ``requests.json`` is a list of requests as they are sent.
Each connection is kept alive and asks again when answered, but not sooner than EVERY seconds after
it last asked; they share out the list from its beginning, and again. After SECONDS (0: never)
prints as JSON how long each answer took, in seconds. Anything but 200 with a length ends it.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Sequence

BUFFER_BYTES = 2**22


def answer_into(buffer: bytearray, connection: socket.socket) -> None:
    """Reads one answer to its end."""
    view = memoryview(buffer)
    got = connection.recv_into(view)
    while (head := buffer.find(b"\r\n\r\n", 0, got)) < 0:
        got += received(connection, view[got:])
    lines = bytes(view[:head]).lower().split(b"\r\n")
    [length] = [line[15:] for line in lines if line.startswith(b"content-length:")]
    if not lines[0].startswith(b"http/1.1 200 "):
        raise SystemExit(f"found {lines[0].decode()}; expected 200")
    while got < head + 4 + int(length):
        got += received(connection, view[got:])


def received(connection: socket.socket, view: memoryview) -> int:
    count = connection.recv_into(view)
    if not count:
        raise SystemExit("found an answer that was cut off")
    return count


def ask(
    address: tuple[str, int],
    requests: Sequence[bytes],
    first: int,
    step: int,
    until: float,
    every: float,
    took: list[float],
) -> None:
    """Asks for every ``step``-th of the requests over one connection."""
    buffer, at = bytearray(BUFFER_BYTES), first
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (began := time.perf_counter()) < until:
            connection.sendall(requests[at % len(requests)])
            answer_into(buffer, connection)
            at += step
            ended = time.perf_counter()
            took.append(ended - began)
            if every:
                time.sleep(max(0.0, every - (ended - began)))


def main() -> None:
    host, port, connections, seconds, every = sys.argv[1:]
    requests = [request.encode() for request in json.load(sys.stdin)]
    until = time.perf_counter() + float(seconds) if float(seconds) else float("inf")
    took: list[float] = []
    threads = [
        threading.Thread(
            target=ask,
            args=((host, int(port)), requests, n, int(connections), until, float(every), took),
        )
        for n in range(int(connections))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(took))


if __name__ == "__main__":
    main()
