"""GPUs by NVML: a stub library that keeps to its names, and the real one where it finds a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jupyterhub_metrics.sampler.gpus import Gpu, GpuReader, GpuUse, use_of


class NVMLError(Exception):
    """As pynvml's."""


class StubNvml:
    """Two GPUs; the second one is old and tells little. Written from NVML's API reference."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *, driver: bool = True) -> None:
        self.driver = driver
        self.opened = 0

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError("Driver Not Loaded")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        if not self.driver:
            raise NVMLError("GPU is lost")
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        if index == 2:
            raise NVMLError("No Permission")
        return f"handle-{index}"

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlDeviceGetUUID": lambda index: f"GPU-{index}".encode(),
            "nvmlDeviceGetName": lambda index: "NVIDIA A100",
            "nvmlDeviceGetUtilizationRates": lambda index: SimpleNamespace(gpu=80, memory=10),
            "nvmlDeviceGetMemoryInfo": lambda index: SimpleNamespace(used=5 * 2**30, total=2**35),
            "nvmlDeviceGetTemperature": lambda index, kind: 61,
            "nvmlDeviceGetPowerUsage": lambda index: 123_456,
            "nvmlDeviceGetComputeRunningProcesses": lambda index: [
                SimpleNamespace(pid=10, usedGpuMemory=2**30),
                SimpleNamespace(pid=11, usedGpuMemory=2**64 - 1),
            ],
            "nvmlDeviceGetGraphicsRunningProcesses": lambda index: [],
        }

        def ask(handle: str, *more: Any) -> Any:
            if handle == "handle-1" and name not in ("nvmlDeviceGetUUID", "nvmlDeviceGetName"):
                raise NVMLError("Not Supported")
            return answers[name](int(handle[-1]), *more)

        return ask


def test_a_gpu_tells_what_it_does() -> None:
    library = StubNvml()
    reader = GpuReader(library)
    first, second = reader.read()
    assert first == Gpu(
        index=0,
        uuid="GPU-0",
        name="NVIDIA A100",
        used_pct=80.0,
        memory_used_bytes=5 * 2**30,
        memory_total_bytes=2**35,
        temperature_celsius=61.0,
        power_watts=123.456,
        processes={10: 2**30, 11: None},
    )
    assert second == Gpu(index=1, uuid="GPU-1", name="NVIDIA A100")
    reader.close()
    assert library.opened == 0


def test_without_a_driver_there_are_none() -> None:
    assert GpuReader(StubNvml(driver=False)).read() == []


def test_a_driver_that_goes_away_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    library = StubNvml()
    reader = GpuReader(library)
    assert len(reader.read()) == 2
    library.driver = False
    assert reader.read() == []
    assert "GPU is lost" in caplog.text


def test_a_container_uses_what_its_processes_hold() -> None:
    gpus = [
        Gpu(0, "a", "x", used_pct=80.0, processes={10: 100.0, 11: 50.0, 99: 7.0}),
        Gpu(1, "b", "x", used_pct=None, processes={10: None}),
        Gpu(2, "c", "x", used_pct=5.0, processes={}),
    ]
    assert use_of(gpus, [10, 11]) == GpuUse(80.0, 150.0)
    assert use_of(gpus, [5]) is None
    assert use_of(gpus[1:], [10]) == GpuUse(None, None)


def test_this_machines_gpus_are_read_where_there_are_some() -> None:
    reader = GpuReader()
    for gpu in reader.read():
        assert gpu.uuid
        assert gpu.memory_total_bytes is None or gpu.memory_total_bytes > 0
    reader.close()
