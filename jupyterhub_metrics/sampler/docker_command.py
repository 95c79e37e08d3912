"""Containers by the commands ``docker stats`` and ``docker inspect``, where the API cannot be used.

Called by :mod:`.finding`. The command tells rounded numbers: rates of what was read and sent are
as coarse as those.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

from ..errors import SourceUnavailable
from .containers import ContainerReading
from .docker_api import cpu_limit_cores

TIMEOUT_SECONDS: Final = 30.0

_AMOUNT: Final = re.compile(r"\s*([0-9.]+)\s*([kKMGTPE]?i?)B\s*$")
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


class DockerCommand:
    """The command ``docker``, which finds the daemon by DOCKER_HOST or its context itself."""

    source = "docker-cli"

    def __init__(
        self, command: str = "docker", *, seconds: Callable[[], float] = monotonic
    ) -> None:
        self._command = command
        self._seconds = seconds

    @property
    def there(self) -> bool:
        """Whether the command is installed."""
        return shutil.which(self._command) is not None

    def read(self, container: str) -> ContainerReading | None:
        """What a container, by id or name, has used; None if there is none or it does not run.

        Raises SourceUnavailable if the command fails for another reason.
        """
        found = self._ask("inspect", "--type", "container", "--", container)
        if found is None:
            return None
        stats = self._ask("stats", "--no-stream", "--format", "{{json .}}", "--", container)
        return None if stats is None else reading_of_stats(found, stats, self._seconds())

    def names(self) -> list[str]:
        """The names of the containers that run. Raises SourceUnavailable."""
        told = self._run("ps", "--no-trunc", "--format", "{{.Names}}")
        # behind a comma is how others link to it
        return [line.partition(",")[0] for line in (told or "").splitlines() if line]

    def _ask(self, *arguments: str) -> Mapping[str, Any] | None:
        output = self._run(*arguments)
        if output is None:
            return None
        try:
            told = json.loads(output)
        except ValueError:
            raise self._silent("an answer that is no JSON") from None
        if isinstance(told, list):
            told = told[0] if told else None
        return told if isinstance(told, dict) else None

    def _run(self, *arguments: str) -> str | None:
        """What the command says; None if it knows no such container."""
        try:
            done = subprocess.run(
                [self._command, *arguments],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._silent(type(error).__name__) from error
        if done.returncode:
            if "no such" in done.stderr.lower():
                return None
            raise self._silent((done.stderr.strip().splitlines() or ["no reason"])[-1])
        return done.stdout

    def _silent(self, found: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"the command {self._command} failed: found {found[:200]}; expected what a container "
            "uses; check that Docker runs and that this account may use it"
        )


def reading_of_stats(
    found: Mapping[str, Any], stats: Mapping[str, Any], seconds: float
) -> ContainerReading | None:
    """The reading of a line of ``docker stats``; None if it is another container's. Pure."""
    identity, state = str(found.get("Id") or ""), found.get("State") or {}
    told = str(stats.get("ID") or stats.get("Container") or "")
    if not identity or not told or not identity.startswith(told) or not state.get("Running"):
        return None
    read, written = amounts(stats.get("BlockIO"))
    received, sent = amounts(stats.get("NetIO"))
    used, _ = amounts(stats.get("MemUsage"))
    share = _percent(stats.get("CPUPerc"))
    moved = {"read_bytes": read, "written_bytes": written}
    net = {"rx_bytes": received, "tx_bytes": sent}
    limit = (found.get("HostConfig") or {}).get("Memory")
    return ContainerReading(
        seconds=seconds,
        run=f"{identity} {state.get('StartedAt')}",
        counters={name: value for name, value in moved.items() if value is not None},
        nets={"all": {name: value for name, value in net.items() if value is not None}},
        # docker stats leaves out the page cache that can be dropped, and so tells the working set
        gauges={} if used is None else {"working_set": used, "rss": used},
        told={} if share is None else {"cpu_cores": share / 100},
        cpu_limit_cores=cpu_limit_cores(found),
        memory_limit_bytes=float(limit) if type(limit) is int and limit > 0 else None,
    )


def amounts(text: Any) -> tuple[float | None, float | None]:
    """``1.2kB / 3.4MiB`` in bytes; None for what is no amount, such as ``--``."""
    parts: Sequence[str] = text.split("/") if isinstance(text, str) else ()
    values = [_amount(part) for part in parts]
    return (values[0], values[1]) if len(values) == 2 else (None, None)


def _amount(text: str) -> float | None:
    match = _AMOUNT.match(text)
    if match is None:
        return None
    prefix = match[2].lower()
    base = 1024 if prefix.endswith("i") else 1000
    try:
        return float(match[1]) * float(base ** _POWERS[prefix.rstrip("i")])
    except ValueError:
        return None


def _percent(text: Any) -> float | None:
    try:
        return float(str(text).rstrip("%"))
    except ValueError:
        return None
