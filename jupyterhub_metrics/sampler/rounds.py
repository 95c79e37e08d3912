"""One round of readings after another, each against the one before. Called by the loop.

Blocking: files of the kernel, and Docker where a container is only Docker's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from ..errors import MetricsError
from .cgroups import CgroupReader
from .containers import ContainerReading, ContainerUse, use_between
from .gpus import Gpu, GpuReader, use_of
from .host import HostReading
from .measuring import Measuring
from .pods import LOOK_SECONDS, NodePods, Pod
from .samples import Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PodUse:
    """What a user's pod or container used, told to the session that it runs.

    A container has no namespace, and the name by which its session knows it. ``sampled_at`` is in
    seconds since 1970, cores in seconds a second; None where it is not known.
    """

    node_name: str
    namespace: str | None
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
    """Keeps the last readings of the node, of the containers that were named, and of pods.

    A name with ``*`` stands for all containers that it fits, looked for anew every 15 s.
    """

    def __init__(
        self,
        measuring: Measuring,
        containers: Iterable[str] = (),
        *,
        pods: NodePods | None = None,
        groups: CgroupReader | None = None,
        gpus: GpuReader | None = None,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._measuring = measuring
        named = tuple(containers)
        self._named = tuple(name for name in named if "*" not in name)
        self._patterns = tuple(name for name in named if "*" in name)
        self._found: tuple[str, ...] = ()
        self._seconds = seconds
        self._looked = -LOOK_SECONDS
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
        self._look()
        names = dict.fromkeys((*self._named, *self._found))
        named = [found for name in names if (found := self._one(name)) is not None]
        uses = [*named, *self._of_pods()]
        return Found(tuple(sample for sample, _ in uses), tuple(use for _, use in uses))

    def close(self) -> None:
        self._measuring.close()
        if self._groups is not None:
            self._groups.close()
        if self._gpus is not None:
            self._gpus.close()

    def _look(self) -> None:
        """Finds the containers that the patterns fit, and lets go of those that are gone."""
        if not self._patterns or self._seconds() - self._looked < LOOK_SECONDS:
            return
        self._looked = self._seconds()
        found = tuple(
            name for pattern in self._patterns for name in self._measuring.containers_like(pattern)
        )
        for name in {*self._found} - {*found, *self._named}:
            self._last.pop(name, None)
            self._measuring.forget(name)
        self._found = found

    def _one(self, name: str) -> tuple[Sample, PodUse] | None:
        try:
            reading, source = self._measuring.read_container(name)
        except MetricsError as error:
            self._last.pop(name, None)
            if name in self._named and name not in self._absent:
                self._absent.add(name)
                log.warning("%s; it is sampled once it runs", error)
            return None
        self._absent.discard(name)
        before = self._last.get(name)
        self._last[name] = reading
        if before is None:
            return None
        sample = self._measuring.container(name, before, reading, source)
        known_as = self._measuring.known_as(name)
        return sample, self._use(sample, None, known_as, use_between(before, reading))

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
        return sample, replace(
            self._use(sample, pod.namespace, pod.name, use),
            gpu_pct=None if gpu is None else gpu.used_pct,
            gpu_memory_bytes=None if gpu is None else gpu.memory_bytes,
        )

    def _use(self, sample: Sample, namespace: str | None, name: str, use: ContainerUse) -> PodUse:
        return PodUse(
            node_name=self._measuring.node_name,
            namespace=namespace,
            pod_name=name,
            sampled_at=sample.sample_time,
            interval_seconds=use.seconds,
            memory_bytes=use.memory_bytes,
            cpu_cores=use.cpu_cores,
            oom_kills=use.oom_kills,
        )
