"""Asks prometheus-dirsize-exporters, or a Prometheus that scrapes them, how large homes are.

Called by ``service.homes``. What an answer may say stands in :mod:`.dirsize`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tornado.httpclient import HTTPRequest
from tornado.httputil import HTTPInputError
from traitlets import Float, List, Unicode
from traitlets.config import LoggingConfigurable

from .._private_files import read_secret
from ..errors import ConfigurationError, SourceUnavailable
from .dirsize import Sizes, read_sizes
from .web import NoAnswer, WebClient

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""What a hundred thousand directories take, with all that the exporter tells of each."""

ACCEPTED: Final = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5"

_URL_CHARACTERS: Final = "%/:=&?~+!$,;'@()*[]#"
"""Stay as they are; others, such as the braces and quotes of match[], are escaped."""


class HomeSizes(LoggingConfigurable):
    """Where the sizes of home directories are read."""

    urls = List(
        Unicode(),
        help="""Addresses of prometheus-dirsize-exporters, http://host:8000/metrics, or of a
        Prometheus that scrapes them,
        http://host:9090/federate?match[]=dirsize_total_size_bytes{namespace="prod"}. Default:
        none, nobody is asked.""",
    ).tag(config=True)
    token_file = Unicode(
        help="""Path of the file with the token that goes to each of urls as a bearer's; read at
        each reading, so that it may rotate. Default: empty, none is sent."""
    ).tag(config=True)
    interval_seconds = Float(
        300.0,
        min=0.0,
        max=900.0,
        help="""Time between two readings, in seconds; at most 900, after which a source counts as
        stale. 0: never.""",
    ).tag(config=True)
    timeout_seconds = Float(
        30.0, min=0.1, help="Seconds until a request without a whole answer counts as failed."
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # what is too long is noticed while it is read, and told as that
        self._web = WebClient(max_body_size=2**62)

    @property
    def configured(self) -> bool:
        """Whether anything is to be asked. Raises ConfigurationError for an unusable address."""
        for number, url in enumerate(self.urls):
            if not _usable(url):
                # the address itself may hold a password
                raise ConfigurationError(
                    f"found HomeSizes.urls[{number}] that is none; expected http://host:port/path "
                    "or https, without a name and password, for which token_file is; correct it"
                )
        return bool(self.urls and self.interval_seconds)

    async def read(self, url: str) -> Sizes:
        """What one of ``urls`` tells now.

        Raises ConfigurationError if the token cannot be read, SourceUnavailable if there was no
        usable answer; the message begins with the address and holds no secret.
        """
        address = urlsplit(url)._replace(query="", fragment="").geturl()
        headers = {"Accept": ACCEPTED, "Accept-Encoding": "identity", **self._authorization()}
        body = bytearray()

        def take(chunk: bytes) -> None:
            body.extend(chunk)
            if len(body) > MAX_ANSWER_BYTES:
                raise HTTPInputError(f"longer than {MAX_ANSWER_BYTES} bytes")

        request = HTTPRequest(
            quote(url, safe=_URL_CHARACTERS),
            headers=headers,
            streaming_callback=take,
        )
        try:
            response = await self._web.fetch(request, timeout_seconds=self.timeout_seconds)
        except NoAnswer as error:
            if len(body) > MAX_ANSWER_BYTES:
                raise SourceUnavailable(
                    f"{address}: found more than {MAX_ANSWER_BYTES} bytes; expected less; ask for "
                    "dirsize_total_size_bytes alone, or for a part at each of several urls"
                ) from None
            raise SourceUnavailable(
                f"{address}: found {error}; expected an answer within {self.timeout_seconds:g} "
                "seconds; check that it runs and HomeSizes.urls"
            ) from error
        if response.code != 200:
            raise SourceUnavailable(
                f"{address}: found status {response.code}; expected 200; {_remedy(response.code)}"
            )
        kind = response.headers.get("Content-Type", "")
        try:
            return await asyncio.to_thread(read_sizes, bytes(body), kind)
        except SourceUnavailable as error:
            raise SourceUnavailable(f"{address}: {error}") from None

    def close(self) -> None:
        """Ends its connections."""
        self._web.close()

    def _authorization(self) -> dict[str, str]:
        if not self.token_file:
            return {}
        token = read_secret(Path(self.token_file))
        if token is None or not (token.isascii() and token.isprintable()):
            raise ConfigurationError(
                f"found {'no file' if token is None else 'more than a token in'} "
                f"{self.token_file}; expected one line of ASCII; write the token into it or "
                "correct HomeSizes.token_file"
            )
        return {"Authorization": f"Bearer {token}"}


def _usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and "@" not in parts.netloc
            and url.isprintable()
        )
    except ValueError:
        return False


def _remedy(code: int) -> str:
    if code in (401, 403):
        return "put a token that it accepts into the file of HomeSizes.token_file"
    if 300 <= code < 400:
        return "put the address that it leads to into HomeSizes.urls"
    return "check HomeSizes.urls; its own log may say why"
