"""GPUs by NVIDIA's management library (NVML). Called by the sampling loop.

``nvidia-ml-py`` is optional: without it, or without a driver, there are no GPUs to tell of.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

log = logging.getLogger(__name__)

_UNKNOWN_BYTES: Final = 2**64 - 1


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment. ``used_pct`` is the part of the last sampling period (a sixth of a
    second to a second) in which something ran; ``processes`` are process ids of the node with the
    GPU's memory that each holds, None where the driver does not tell."""

    index: int
    uuid: str
    name: str
    used_pct: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    processes: Mapping[int, float | None] = field(default_factory=dict)


class GpuReader:
    """The GPUs of this node. ``library`` is ``pynvml``; found by itself unless given."""

    def __init__(self, library: Any = None) -> None:
        self._library = library
        self._ready: bool | None = None

    def read(self) -> list[Gpu]:
        """All GPUs; empty without any. What one does not tell is None."""
        if not self._open():
            return []
        nvml = self._library
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            log.warning(
                "GPUs cannot be read any more (%s); trying again at the next reading", error
            )
            self._ready = None
            return []
        handles = (self._ask(nvml.nvmlDeviceGetHandleByIndex, index) for index in range(count))
        return [self._gpu(index, handle) for index, handle in enumerate(handles) if handle]

    def close(self) -> None:
        if self._ready:
            self._ask(self._library.nvmlShutdown)
        self._ready = None

    def _open(self) -> bool:
        if self._ready is None:
            if self._library is None:
                try:
                    self._library = importlib.import_module("pynvml")
                except ImportError:
                    self._ready = False
                    return False
            try:
                self._library.nvmlInit()
                self._ready = True
            except self._library.NVMLError as error:
                # nobody installs a driver under a running sampler
                log.debug("found no GPU driver: %s", error)
                self._ready = False
        return self._ready

    def _gpu(self, index: int, handle: Any) -> Gpu:
        nvml = self._library
        used = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        power = self._ask(nvml.nvmlDeviceGetPowerUsage, handle)
        heat = self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        processes: dict[int, float | None] = {}
        for asked in (
            nvml.nvmlDeviceGetComputeRunningProcesses,
            nvml.nvmlDeviceGetGraphicsRunningProcesses,
        ):
            for process in self._ask(asked, handle) or ():
                held = process.usedGpuMemory
                processes[process.pid] = None if held in (None, _UNKNOWN_BYTES) else float(held)
        return Gpu(
            index=index,
            uuid=_text(self._ask(nvml.nvmlDeviceGetUUID, handle)),
            name=_text(self._ask(nvml.nvmlDeviceGetName, handle)),
            used_pct=None if used is None else float(used.gpu),
            memory_used_bytes=None if memory is None else float(memory.used),
            memory_total_bytes=None if memory is None else float(memory.total),
            temperature_celsius=None if heat is None else float(heat),
            power_watts=None if power is None else power / 1000,
            processes=processes,
        )

    def _ask(self, question: Callable[..., Any], *values: Any) -> Any:
        """The answer; None where this GPU or this driver has none."""
        try:
            return question(*values)
        except self._library.NVMLError:
            return None


@dataclass(frozen=True)
class GpuUse:
    """What a container used; ``used_pct`` is summed over its GPUs, 100 being all of one."""

    used_pct: float | None
    memory_bytes: float | None


def use_of(gpus: Iterable[Gpu], pids: Iterable[int]) -> GpuUse | None:
    """What the processes ``pids`` hold of the GPUs; None if they hold none.

    A GPU that several containers share counts for each of them as much as it was used.
    """
    of_container = frozenset(pids)
    held = [(gpu, of_container & gpu.processes.keys()) for gpu in gpus]
    shares = [gpu.used_pct for gpu, found in held if found and gpu.used_pct is not None]
    memory = [
        amount for gpu, found in held for pid in found if (amount := gpu.processes[pid]) is not None
    ]
    if not any(found for _, found in held):
        return None
    return GpuUse(sum(shares) if shares else None, sum(memory) if memory else None)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
