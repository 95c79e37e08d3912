"""Two readings and the time between them: how both monitors measure.

Called by :mod:`.monitor`, :mod:`.complete` and the sampling loop.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Protocol

from ..errors import ConfigurationError, SourceUnavailable
from .containers import ContainerReading, container_sample
from .finding import ContainerFinder
from .host import HostReader, HostReading, node_sample
from .samples import Sample

MAX_NAME_CHARACTERS = 255


class NodeReader(Protocol):
    """What reads the node."""

    def read(self) -> HostReading: ...


class Measuring:
    """Makes the samples of one node and its containers."""

    def __init__(
        self,
        node_name: str | None,
        *,
        master: bool = False,
        host: NodeReader | None = None,
        containers: ContainerFinder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.node_name = checked_name(node_name or socket.gethostname())
        self._master = master
        self._host = host or _host_reader()
        self._containers = containers or ContainerFinder()
        self._clock = clock

    def read_node(self) -> HostReading:
        """A reading of the node."""
        return self._host.read()

    def node(self, before: HostReading, after: HostReading, source: str) -> Sample:
        """The node's sample for the time between two readings."""
        return node_sample(
            before,
            after,
            sample_time=self.now(),
            node_name=self.node_name,
            master=self._master,
            source=source,
        )

    def read_container(self, container: str) -> tuple[ContainerReading, str]:
        """A reading of a container and who told it. Raises SourceUnavailable if nobody can."""
        found = self._containers.read(container)
        if found is None:
            raise SourceUnavailable(
                f"found no running container {container!r}; expected Docker's id or name, or the "
                "path of a control group; correct it"
            )
        return found

    def containers_like(self, pattern: str) -> list[str]:
        """The running containers that a name with ``*`` fits."""
        return self._containers.like(pattern)

    def known_as(self, container: str) -> str:
        """How whoever started a container calls it."""
        return self._containers.known_as(container)

    def forget(self, container: str) -> None:
        """Let go of a container that is read no more."""
        self._containers.forget(container)

    def container(
        self,
        container_name: str,
        before: ContainerReading,
        after: ContainerReading,
        source: str,
    ) -> Sample:
        """A container's sample for the time between two readings."""
        return container_sample(
            before,
            after,
            sample_time=self.now(),
            node_name=self.node_name,
            container_name=checked_name(container_name),
            source=source,
        )

    def now(self) -> int:
        """The moment in whole seconds since 1970, which are UTC's."""
        return int(self._clock())

    def close(self) -> None:
        self._containers.close()


def checked_name(name: str) -> str:
    """The name itself; raises ConfigurationError if it is empty, too long or not printable."""
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise ConfigurationError(
            f"found the name {name[:40]!r} of {len(name)} characters; expected 1 to "
            f"{MAX_NAME_CHARACTERS} printable ones; correct it"
        )
    return name


def _host_reader() -> NodeReader:
    host = HostReader()
    if host.there:
        return host
    from .psutil_host import PsutilReader

    return PsutilReader()
