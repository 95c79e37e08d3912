"""Containers by Docker's HTTP API, over its Unix socket or TCP. Standard library only.

Called by :mod:`.finding`. What is asked stands in the reference of Docker's Engine API
(``GET /containers/{id}/json`` and ``GET /containers/{id}/stats``).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, urlsplit

from ..errors import ConfigurationError, SourceUnavailable
from .containers import ContainerReading
from .rates import Counters

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
HOST_VARIABLE: Final = "DOCKER_HOST"
TIMEOUT_SECONDS: Final = 10.0
_NANO: Final = 1e-9


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class DockerApi:
    """Docker at ``host`` (``DOCKER_HOST``, else the usual socket); nothing is asked before the
    first call. Raises ConfigurationError for an address that is none."""

    source = "docker"

    def __init__(
        self,
        host: str | None = None,
        *,
        environment: Mapping[str, str] = os.environ,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._host = host or environment.get(HOST_VARIABLE) or DEFAULT_HOST
        self._environment = environment
        self._seconds = seconds
        scheme = self._host.partition("://")[0]
        if scheme not in ("unix", "tcp", "http", "https"):
            raise ConfigurationError(
                f"found {HOST_VARIABLE} {self._host[:60]!r}; expected unix:///path or "
                "tcp://host:port; correct it"
            )

    def read(self, container: str) -> ContainerReading | None:
        """What a container, by id or name, has used; None if there is none or it does not run.

        Raises SourceUnavailable if Docker does not answer.
        """
        found = self.inspect(container)
        if found is None or not (found.get("State") or {}).get("Running"):
            return None
        name = quote(str(found.get("Id") or container), safe="")
        stats = self._get(f"/containers/{name}/stats?stream=false&one-shot=true")
        return reading_of(found, stats, self._seconds()) if isinstance(stats, dict) else None

    def inspect(self, container: str) -> dict[str, Any] | None:
        """What Docker knows of the container; None if there is none.

        Raises SourceUnavailable.
        """
        found = self._get(f"/containers/{quote(container, safe='')}/json")
        return found if isinstance(found, dict) else None

    def names(self) -> list[str]:
        """The names of the containers that run. Raises SourceUnavailable."""
        listed = self._get("/containers/json")
        told = [one.get("Names") for one in listed or () if isinstance(one, Mapping)]
        return [str(names[0]).lstrip("/") for names in told if isinstance(names, list) and names]

    def _get(self, path: str) -> dict[str, Any] | list[Any] | None:
        connection = self._connection()
        try:
            connection.request("GET", path, headers={"Host": "docker"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 404:
                return None
            value = json.loads(body) if answer.status == 200 else None
            if isinstance(value, dict | list):
                return value
            raise self._silent(f"status {answer.status}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silent(str(error) or type(error).__name__) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._host)
        if parts.scheme == "unix":
            return _SocketConnection(parts.path, TIMEOUT_SECONDS)
        host, port = parts.hostname or "localhost", parts.port
        if parts.scheme == "https" or self._environment.get("DOCKER_TLS_VERIFY"):
            return http.client.HTTPSConnection(
                host, port or 2376, timeout=TIMEOUT_SECONDS, context=self._tls()
            )
        return http.client.HTTPConnection(host, port or 2375, timeout=TIMEOUT_SECONDS)

    def _tls(self) -> ssl.SSLContext:
        """As Docker's own client: ``ca.pem``, ``cert.pem`` and ``key.pem`` of DOCKER_CERT_PATH."""
        folder = Path(self._environment.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
        try:
            context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
            context.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
        except OSError as error:
            raise ConfigurationError(
                f"found no certificates for Docker in {folder} ({error.strerror or error}); "
                "expected ca.pem, cert.pem and key.pem; correct DOCKER_CERT_PATH"
            ) from None
        return context

    def _silent(self, found: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"Docker does not answer: found {found} at {self._host}; expected its API; check that "
            f"it runs, that this account may use it, and {HOST_VARIABLE}"
        )


def reading_of(
    found: Mapping[str, Any], stats: Mapping[str, Any], seconds: float
) -> ContainerReading:
    """The reading that the answers of ``json`` and ``stats`` make. Pure.

    A part that is missing, null or of another shape leaves its numbers out: Docker sends empty
    parts for what a kernel does not count.
    """
    state = _part(found, "State")
    cpu, memory = _part(stats, "cpu_stats"), _part(stats, "memory_stats")
    usage = _part(cpu, "cpu_usage")
    counters = _numbers(
        usage,
        {
            "total_usage": "cpu",
            "usage_in_usermode": "cpu_user",
            "usage_in_kernelmode": "cpu_system",
        },
        _NANO,
    )
    counters |= _numbers(_part(cpu, "throttling_data"), {"throttled_time": "throttled"}, _NANO)
    blocks = _part(stats, "blkio_stats")
    counters |= _io(blocks.get("io_service_bytes_recursive"), "read_bytes", "written_bytes")
    counters |= _io(blocks.get("io_serviced_recursive"), "reads", "writes")
    count = cpu.get("online_cpus")
    return ContainerReading(
        seconds=seconds,
        run=f"{found.get('Id')} {state.get('StartedAt')}",
        counters=counters,
        nets=_nets(_part(stats, "networks")),
        gauges=_memory(memory),
        cpu_limit_cores=cpu_limit_cores(found),
        memory_limit_bytes=_positive(_part(found, "HostConfig").get("Memory")),
        cpu_count=count if type(count) is int and count > 0 else os.cpu_count() or 1,
    )


def cpu_limit_cores(found: Mapping[str, Any]) -> float | None:
    """How many cores a container may use, by its ``HostConfig``; None without a limit."""
    host = _part(found, "HostConfig")
    nano = _positive(host.get("NanoCpus"))
    if nano:
        return nano * _NANO
    quota, period = _positive(host.get("CpuQuota")), _positive(host.get("CpuPeriod"))
    return quota / (period or 100_000) if quota else None


def _memory(memory: Mapping[str, Any]) -> dict[str, float]:
    """Version 1's names begin with ``total_`` and say rss and cache, version 2's anon and file."""
    gauges = _numbers(memory, {"usage": "memory"})
    stats = _part(memory, "stats")
    for name, keys in {
        "rss": ("total_rss", "anon", "rss"),
        "cache": ("total_cache", "file", "cache"),
        "shared": ("total_shmem", "shmem"),
        "inactive": ("total_inactive_file", "inactive_file"),
    }.items():
        value = next((stats[key] for key in keys if _is_number(stats.get(key))), None)
        if value is not None:
            gauges[name] = float(value)
    inactive = gauges.pop("inactive", 0.0)
    if "memory" in gauges:
        gauges["working_set"] = max(gauges["memory"] - inactive, 0.0)
    return gauges


def _nets(networks: Mapping[str, Any]) -> dict[str, Counters]:
    names = {
        f"{way}_{told}": f"{way}_{what}"
        for way in ("rx", "tx")
        for told, what in {
            "bytes": "bytes",
            "packets": "pkts",
            "errors": "errs",
            "dropped": "drops",
        }.items()
    }
    return {name: _numbers(_part(networks, name), names) for name in networks}


def _io(entries: Any, read: str, written: str) -> dict[str, float]:
    """Sums over devices; the operation is written large by version 1 and small by version 2."""
    if not isinstance(entries, Iterable) or isinstance(entries, str | Mapping):
        return {}
    summed = {read: 0.0, written: 0.0}
    for entry in entries:
        if isinstance(entry, Mapping) and _is_number(entry.get("value")):
            what = {"read": read, "write": written}.get(str(entry.get("op")).lower())
            if what:
                summed[what] += entry["value"]
    return summed


def _numbers(
    values: Mapping[str, Any], names: Mapping[str, str], unit: float = 1.0
) -> dict[str, float]:
    return {to: values[key] * unit for key, to in names.items() if _is_number(values.get(key))}


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}


def _positive(value: Any) -> float | None:
    return float(value) if _is_number(value) and value > 0 else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
