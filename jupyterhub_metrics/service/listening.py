"""Takes the port that the Hub assigned, and waits for it while another process holds it.

Called by ``service.app``.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from tornado.netutil import bind_sockets

from ..errors import ConfigurationError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Address:
    """Where the service listens."""

    host: str
    port: int


def address_of(url: str) -> Address:
    """The host and port of ``url``, such as ``http://127.0.0.1:10101/services/x/``.

    Raises ConfigurationError if it is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None or parts.scheme != "http":
        raise ConfigurationError(
            f"found {url!r} as the address to listen on; expected http://host:port/; "
            "set the service's url in the Hub, or MetricsService.url"
        )
    return Address(host, port)


async def take_port(address: Address, *, seconds: float = RETRY_SECONDS) -> list[socket.socket]:
    """Bound sockets, as soon as the port is free; tries every ``seconds``.

    Raises ConfigurationError if the address cannot be bound for another reason than its being in
    use.
    """
    waiting = False
    while True:
        try:
            sockets: list[socket.socket] = bind_sockets(address.port, address.host)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigurationError(
                    f"found that {address.host} port {address.port} cannot be listened on "
                    f"({error.strerror}); expected an address of this machine and a port that this "
                    "user may take; correct the service's url in the Hub, or MetricsService.url"
                ) from None
            if not waiting:
                log.warning(
                    "found port %s of %s taken by another process; expected it free; waiting for "
                    "it: a service left over from a killed Hub ends by itself, else stop the "
                    "process that holds it or give this service another url",
                    address.port,
                    address.host,
                )
            waiting = True
            await asyncio.sleep(seconds)
        else:
            if waiting:
                log.info("Port %s is free again", address.port)
            return sockets
