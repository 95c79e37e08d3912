"""Which reader tells of a container that somebody named. Called by the monitors and the loop.

The kernel's control groups are asked first, because they cost least and need nobody; then Docker's
API, then its command.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
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

    def names(self) -> list[str]: ...


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
        self._names: dict[str, str] = {}
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
        if "/" in container.strip("/"):
            # no name of Docker's
            return None
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

    def like(self, pattern: str) -> list[str]:
        """The containers that a name with ``*`` fits: control groups that there are, or names of
        Docker's containers that run. None while Docker does not say."""
        path = pattern.strip("/")
        if _is_path(path):
            return self.cgroups.paths(path) if _below(path) else []
        complaints = []
        asked: list[Containers] = [self._docker]
        if self._command.there:
            asked.append(self._command)
        for source in asked:
            try:
                names = source.names()
            except SourceUnavailable as error:
                complaints.append(str(error))
                continue
            self._complaints.pop(pattern, None)
            return [name for name in names if fnmatchcase(name, pattern)]
        self._complain(pattern, complaints)
        return []

    def known_as(self, container: str) -> str:
        """The name that whoever started it gave it: Docker's, or the last part of its path."""
        path = container.strip("/")
        return path.rpartition("/")[2] if _is_path(path) else self._names.get(container, container)

    def forget(self, container: str) -> None:
        """Let go of a container that is read no more."""
        self._names.pop(container, None)
        self._complaints.pop(container, None)
        group = self._groups.pop(container, None)
        if group is not None:
            self.cgroups.forget(group)

    def close(self) -> None:
        self.cgroups.close()

    def _group_of(self, container: str) -> str | None:
        """The path of the container's control group on this machine, if it can be found."""
        path = container.strip("/")
        if _is_path(path):
            found = _below(path)
            return found if found and self.cgroups.exists(found) else None
        try:
            inspected: Mapping[str, object] = self._docker.inspect(container) or {}
        except SourceUnavailable:
            inspected = {}
        identity = inspected.get("Id") or container
        if name := str(inspected.get("Name") or "").lstrip("/"):
            self._names[container] = name
        paths = [pattern.format(id=identity) for pattern in DOCKER_GROUPS]
        return next((path for path in [*paths, path] if path and self.cgroups.exists(path)), None)

    def _complain(self, container: str, complaints: list[str]) -> None:
        """Says once why a container cannot be read, until that changes."""
        complaint = "; ".join(complaints)
        if complaint and self._complaints.get(container) != complaint:
            self._complaints[container] = complaint
            log.warning("found no reading of the container %s: %s", container, complaint)


def _is_path(container: str) -> bool:
    return "/" in container or container.endswith((".service", ".scope", ".slice"))


def _below(path: str) -> str | None:
    """The path, if it stays below where it is looked for."""
    return None if ".." in path.split("/") else path
