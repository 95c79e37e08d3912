"""One round of readings after another, each against the one before. Called by the loop.

Blocking: files of the kernel, and Docker where a container is only Docker's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import MetricsError
from .cgroups import CgroupReader
from .containers import ContainerReading, use_between
from .gpus import Gpu, GpuReader, use_of
from .host import HostReading
from .measuring import Measuring
from .pods import NodePods, Pod
from .samples import Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PodUse:
    """What a user's pod used, told to the session that it runs. ``sampled_at`` is in seconds since
    1970, cores in seconds a second; None where it is not known."""

    namespace: str
    pod_name: str
    sampled_at: int
    interval_seconds: float
    memory_bytes: float | None
    cpu_cores: float | None
    oom_kills: float | None = None
    gpu_pct: float | None = None
    gpu_memory_bytes: float | None = None

    def to_row(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Found:
    """What a round has found."""

    samples: tuple[Sample, ...] = ()
    pods: tuple[PodUse, ...] = ()


class Rounds:
    """Keeps the last readings of the node, of the containers that were named, and of pods."""

    def __init__(
        self,
        measuring: Measuring,
        containers: Iterable[str] = (),
        *,
        pods: NodePods | None = None,
        groups: CgroupReader | None = None,
        gpus: GpuReader | None = None,
    ) -> None:
        self._measuring = measuring
        self._containers = tuple(containers)
        self._pods = pods
        self._groups = groups
        self._gpus = gpus
        self._node: HostReading | None = None
        self._last: dict[str, ContainerReading] = {}
        self._last_pods: dict[str, ContainerReading] = {}
        self._absent: set[str] = set()

    def node(self) -> Found:
        """The node's sample; none at the first reading."""
        before, self._node = self._node, self._measuring.read_node()
        if before is None:
            return Found()
        return Found((self._measuring.node(before, self._node, "psutil"),))

    def containers(self) -> Found:
        """The samples of all containers that were there now and at the reading before."""
        named = [sample for name in self._containers if (sample := self._one(name)) is not None]
        uses = self._of_pods()
        return Found((*named, *(sample for sample, _ in uses)), tuple(use for _, use in uses))

    def close(self) -> None:
        self._measuring.close()
        if self._groups is not None:
            self._groups.close()
        if self._gpus is not None:
            self._gpus.close()

    def _one(self, name: str) -> Sample | None:
        try:
            reading, source = self._measuring.read_container(name)
        except MetricsError as error:
            self._last.pop(name, None)
            if name not in self._absent:
                self._absent.add(name)
                log.warning("%s; it is sampled once it runs", error)
            return None
        self._absent.discard(name)
        before = self._last.get(name)
        self._last[name] = reading
        if before is None:
            return None
        return self._measuring.container(name, before, reading, source)

    def _of_pods(self) -> list[tuple[Sample, PodUse]]:
        if self._pods is None or self._groups is None:
            return []
        gpus = self._gpus.read() if self._gpus is not None else []
        readings: dict[str, ContainerReading] = {}
        found = []
        for pod in self._pods.pods():
            reading = self._groups.read(pod.path)
            if reading is None:
                continue
            readings[pod.path] = reading
            before = self._last_pods.get(pod.path)
            if before is not None:
                found.append(self._pod(pod, before, reading, gpus))
        for path in self._last_pods.keys() - readings.keys():
            self._groups.forget(path)
        self._last_pods = readings
        return found

    def _pod(
        self, pod: Pod, before: ContainerReading, reading: ContainerReading, gpus: list[Gpu]
    ) -> tuple[Sample, PodUse]:
        assert self._groups is not None  # noqa: S101 - there are pods
        sample = self._measuring.container(pod.container_name, before, reading, "cgroup")
        use = use_between(before, reading)
        gpu = use_of(gpus, self._groups.processes(pod.path)) if gpus else None
        return sample, PodUse(
            namespace=pod.namespace,
            pod_name=pod.name,
            sampled_at=sample.sample_time,
            interval_seconds=use.seconds,
            memory_bytes=use.memory_bytes,
            cpu_cores=use.cpu_cores,
            oom_kills=use.oom_kills,
            gpu_pct=None if gpu is None else gpu.used_pct,
            gpu_memory_bytes=None if gpu is None else gpu.memory_bytes,
        )
