"""A user's server tells what it uses: measured here, posted with that server's own token.

Called by :mod:`.command`, in the user's server or in a container beside it. Has no credentials but
that token and needs nothing but Python's standard library.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from .._lifetime import ask_to_end_with_parent
from .._names import SAMPLES_URL_VARIABLE
from ..errors import ConfigurationError, SourceUnavailable
from .cgroups import CgroupReader
from .containers import ContainerReading, use_between
from .processes import ProcessTree

log = logging.getLogger(__name__)

URL_VARIABLE: Final = SAMPLES_URL_VARIABLE
TOKEN_VARIABLE: Final = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable
KEPT_SAMPLES: Final = 1000
TIMEOUT_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 300.0

_RETRIED: Final = frozenset({401, 403, 404, 408, 429, 500, 502, 503, 504})
"""Statuses after which the same samples may be taken later."""


class Reader(Protocol):
    """What measures the server; None once it is gone."""

    def read(self) -> ContainerReading | None: ...


class OwnContainer:
    """The container that this process runs in, by its control group."""

    def __init__(self, cgroups: CgroupReader) -> None:
        self._cgroups = cgroups

    def read(self) -> ContainerReading | None:
        return self._cgroups.read(".")


def reader_of(
    server: int | None, *, whole_pod: bool, own_container: bool, cgroups: CgroupReader
) -> Reader:
    """What measures the server with the process id ``server``, without the sampler itself.

    Its processes, unless it is told otherwise: with ``whole_pod`` all processes that can be seen,
    for a container of its own in a pod that shares its process namespace; with ``own_container``
    the control group that is seen here, which only who made the container knows to be the server's
    and not a whole Hub's. Raises ConfigurationError if that is the machine's.
    """
    if whole_pod:
        return ProcessTree(None, without=[os.getpid()])
    if not own_container:
        return ProcessTree(server, without=[os.getpid()])
    reading = cgroups.read(".")
    # the machine's own group has no memory of its own in version 2, and no limit in version 1
    limited = "memory" not in cgroups.mounts.v1 or (reading and reading.memory_limit_bytes)
    if reading is None or "memory" not in reading.gauges or not limited:
        raise ConfigurationError(
            "found no control group of a container; expected one with --own-container; "
            "leave it out where servers share a machine"
        )
    return OwnContainer(cgroups)


@dataclass(frozen=True)
class Post:
    """Where samples go, and with which token, which is never shown."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"Post({self.url!r})"

    def send(self, samples: Sequence[Mapping[str, Any]]) -> Answer:
        """Post them. Raises SourceUnavailable if nobody answers."""
        parts = urlsplit(self.url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(
                "POST",
                parts.path,
                body=json.dumps({"samples": list(samples)}, allow_nan=False).encode(),
                headers={
                    "Authorization": f"Bearer {self.token}",
                    "Content-Type": "application/json",
                },
            )
            response = connection.getresponse()
            body = response.read(65_536)
            retry = response.getheader("Retry-After") or ""
            return Answer(
                response.status, _error(body), float(retry) if retry.isdecimal() else None
            )
        except (OSError, http.client.HTTPException) as error:
            raise SourceUnavailable(
                f"the service does not answer at {self.url}: {error}; expected it to take samples; "
                f"check {URL_VARIABLE}"
            ) from error
        finally:
            connection.close()


@dataclass(frozen=True)
class Answer:
    """What the service answered; ``retry_seconds`` is when it wants to be asked again."""

    status: int
    text: str
    retry_seconds: float | None


def post_of(url: str | None, environment: Mapping[str, str]) -> Post:
    """Where to post and with which token. Raises ConfigurationError."""
    found = url or environment.get(URL_VARIABLE) or ""
    token = environment.get(TOKEN_VARIABLE) or ""
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"found the address {found[:100]!r} of the service; expected "
            "http://HOST:PORT/services/jupyterhub-metrics/api/v1/samples; "
            f"set {URL_VARIABLE} or give --url"
        )
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigurationError(
            f"found no token of the server in {TOKEN_VARIABLE}; expected the Hub's; "
            "start it in the server's own environment"
        )
    return Post(found, token)


class Sidecar:
    """Measures every ``interval_seconds`` and posts every ``batch_seconds``, until ``stop`` or the
    server's end. What cannot be posted is kept, a thousand samples of it."""

    def __init__(
        self,
        reader: Reader,
        post: Post,
        *,
        interval_seconds: float,
        batch_seconds: float,
        stop: Event,
        clock: Callable[[], float] = time.time,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._post = post
        self._interval_seconds = interval_seconds
        self._batch_seconds = batch_seconds
        self._stop = stop
        self._clock = clock
        self._seconds = seconds
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT_SAMPLES)
        self._complaint = ""
        self._failures = 0

    def run(self) -> None:
        """Returns when the server is gone or ``stop`` is set."""
        before = self._reader.read()
        due = self._seconds() + self._batch_seconds
        while before is not None and not self._stop.wait(self._interval_seconds):
            after = self._reader.read()
            if after is None:
                break
            self._kept.append(self._sample(before, after))
            before = after
            if self._seconds() >= due:
                due = self._seconds() + self._deliver()
        if self._kept:
            self._deliver()

    def _sample(self, before: ContainerReading, after: ContainerReading) -> dict[str, Any]:
        use = use_between(before, after)
        return {
            "sampled_at": round(self._clock(), 3),
            "interval_seconds": round(use.seconds, 3),
            "memory_bytes": use.memory_bytes,
            "cpu_cores": use.cpu_cores,
            "oom_kills": use.oom_kills,
        }

    def _deliver(self) -> float:
        """Posts what is kept; gives after how many seconds to post again."""
        try:
            answer = self._post.send(list(self._kept))
        except SourceUnavailable as error:
            return self._failed(str(error), None)
        if answer.status == 200:
            self._kept.clear()
            self._failures = 0
            if self._complaint:
                log.info("Samples are taken again")
                self._complaint = ""
            return self._batch_seconds
        if answer.status not in _RETRIED:
            self._kept.clear()
        return self._failed(f"status {answer.status}: {answer.text}", answer.retry_seconds)

    def _failed(self, complaint: str, retry_seconds: float | None) -> float:
        if complaint != self._complaint:
            log.warning("Samples were not taken: %s", complaint)
            self._complaint = complaint
        self._failures += 1
        if retry_seconds is not None:
            return min(max(retry_seconds, self._interval_seconds), LONGEST_PAUSE_SECONDS)
        return min(self._batch_seconds * 2.0 ** min(self._failures, 10), LONGEST_PAUSE_SECONDS)


def become(command: Sequence[str], sample: Callable[[int], None]) -> int:
    """Turns this process into ``command``, with a child beside it that samples it.

    ``sample`` runs in the child and is given the server's process id. The server has this process'
    id, signals and exit status, as if there were no sampler; the child ends with it. Gives 127 if
    there is no such command, and does not return otherwise.
    """
    server = os.getpid()
    child = os.fork()
    if child == 0:
        ask_to_end_with_parent(signal.SIGTERM)
        status = 1
        try:
            if os.getppid() == server:
                sample(server)
            status = 0
        finally:
            # not the parent's way out: nothing of the server's is to be flushed or closed twice
            sys.stderr.flush()
            os._exit(status)
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - the server itself, as it was given
    except OSError as error:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sys.stderr.write(
            f"jupyterhub-metrics: found no command {command[0]} ({error.strerror}); expected that "
            "of the user's server after --\n"
        )
        return 127


def _error(body: bytes) -> str:
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    return str(told.get("error", ""))[:300] if isinstance(told, dict) else ""
