"""Which reader tells of a container that somebody named. Called by the monitors and the loop.

The kernel's control groups are asked first, because they cost least and need nobody; then Docker's
API, then its command.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from ..errors import SourceUnavailable
from .cgroups import CgroupReader
from .containers import ContainerReading
from .docker_api import DockerApi
from .docker_command import DockerCommand

log = logging.getLogger(__name__)

DOCKER_GROUPS = ("docker/{id}", "system.slice/docker-{id}.scope")
"""Where Docker puts its containers, with its own and with systemd's driver of control groups."""


class Containers(Protocol):
    """What tells of containers: None for one that is not there, SourceUnavailable if it cannot."""

    source: str

    def read(self, container: str) -> ContainerReading | None: ...


class ContainerFinder:
    """Reads containers by whatever knows them."""

    def __init__(
        self,
        cgroups: CgroupReader | None = None,
        docker: DockerApi | None = None,
        command: DockerCommand | None = None,
    ) -> None:
        self.cgroups = cgroups or CgroupReader()
        self._docker = docker or DockerApi()
        self._command = command or DockerCommand()
        self._groups: dict[str, str] = {}
        self._complaints: dict[str, str] = {}

    def read(self, container: str) -> tuple[ContainerReading, str] | None:
        """What a container has used, and who told it; None if nobody knows it or can be asked.

        ``container`` is the path of a control group, or Docker's id or name.
        """
        group = self._groups.get(container) or self._group_of(container)
        if group is not None:
            reading = self.cgroups.read(group)
            if reading is not None:
                self._groups[container] = group
                return reading, "cgroup"
            self._groups.pop(container, None)
        complaints = []
        asked: list[Containers] = [self._docker]
        if self._command.there:
            asked.append(self._command)
        for source in asked:
            try:
                told = source.read(container)
            except SourceUnavailable as error:
                complaints.append(str(error))
                continue
            self._complaints.pop(container, None)
            return None if told is None else (told, source.source)
        self._complain(container, complaints)
        return None

    def close(self) -> None:
        self.cgroups.close()

    def _group_of(self, container: str) -> str | None:
        """The path of the container's control group on this machine, if it can be found."""
        path = container.strip("/")
        if "/" in path or path.endswith((".service", ".scope", ".slice")):
            found = _below(path)
            return found if found and self.cgroups.exists(found) else None
        try:
            inspected: Mapping[str, object] = self._docker.inspect(container) or {}
        except SourceUnavailable:
            inspected = {}
        identity = inspected.get("Id") or container
        paths = [pattern.format(id=identity) for pattern in DOCKER_GROUPS]
        return next((path for path in [*paths, path] if path and self.cgroups.exists(path)), None)

    def _complain(self, container: str, complaints: list[str]) -> None:
        """Says once why a container cannot be read, until that changes."""
        complaint = "; ".join(complaints)
        if complaint and self._complaints.get(container) != complaint:
            self._complaints[container] = complaint
            log.warning("found no reading of the container %s: %s", container, complaint)


def _below(path: str) -> str | None:
    """The path, if it stays below where it is looked for."""
    return None if ".." in path.split("/") else path
