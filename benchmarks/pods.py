"""What following the pods of a large cluster costs: memory, CPU, and the time to see a change.

    python benchmarks/pods.py [--pods 10000] [--changes 1000]

A process of its own serves the pods, each about 10 kB as KubeSpawner's are, from the tests' API
server over loopback. This process lists them, then follows: deletions and new pods one at a time
(time to see each), and a burst of changes. Memory is this process' peak above what it had with
everything imported; CPU is this process' alone.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kube_api import KubeApi
from pod_cluster import make_source, running, user_pod, whole_second

from jupyterhub_metrics.sources.pods import PodSource
from jupyterhub_metrics.sources.world import PodView

NAMESPACE = "jhub"


def realistic(number: int) -> dict[str, object]:
    """A pod of about 10 kB: 40 variables, volumes, and the fields' owners that servers add."""
    env = [{"name": f"VARIABLE_{i}", "value": "x" * 60} for i in range(40)]
    env.append({"name": "GIT_AUTHOR_EMAIL", "value": f"user-{number}@example.org"})
    pod = user_pod(f"jupyter-user-{number}", username=f"user-{number}", env=env)
    owner = {f"f:field-{i}": {".": {}, "f:name": {}, "f:value": {}} for i in range(75)}
    pod["metadata"] |= {
        "namespace": NAMESPACE,
        "managedFields": [{"manager": "hub", "operation": "Update", "fieldsV1": owner}],
    }
    pod["spec"]["volumes"] = [
        {"name": f"volume-{i}", "persistentVolumeClaim": {"claimName": f"claim-{number}-{i}"}}
        for i in range(8)
    ]
    pod["status"] = running(whole_second())
    return pod


async def serve(count: int, kubeconfig: Path) -> None:
    """Serves pods, and does what the lines of its input say; answers each when it has done it."""
    api = KubeApi()
    for number in range(count):
        api.store.create(realistic(number))
    await api.start()
    api.kubeconfig(kubeconfig, "test")
    size = sum(len(stored.body) for stored in api.store.pods.values())
    print(size, flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        what, _, text = line.strip().partition(" ")
        number = int(text)
        if what == "delete":
            api.store.delete(NAMESPACE, f"jupyter-user-{number}")
        elif what == "create":
            api.store.create(realistic(number))
        elif what == "touch":
            for each in range(number):
                labels = {"metadata": {"labels": {"touched": "yes"}}}
                api.store.patch(NAMESPACE, f"jupyter-user-{each}", labels)
            api.store.create(realistic(10_000_000))
        print(time.time(), flush=True)


class Peak:
    """The most resident memory that this process has had, looked at every few milliseconds."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._ended = threading.Event()
        self.start_bytes = self.bytes = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self.bytes = max(self.bytes, self._process.memory_info().rss)

    def stop(self) -> float:
        self._ended.set()
        self._thread.join()
        return (self.bytes - self.start_bytes) / 2**20


async def until(source: PodSource, fact: Callable[[PodView], bool]) -> float:
    """When the view was first seen to be so."""
    while True:
        view = source.view()
        if view is not None and fact(view):
            return time.time()
        await asyncio.sleep(0.002)


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(
    server: subprocess.Popen[str], kubeconfig: Path, options: argparse.Namespace
) -> None:
    size = int(server.stdout.readline())
    print(f"{options.pods} pods of {size / options.pods / 1000:.1f} kB, {size / 1e6:.0f} MB")

    def tell(what: str) -> float:
        server.stdin.write(what + "\n")
        server.stdin.flush()
        return float(server.stdout.readline())

    peak = Peak()
    cpu, began = cpu_seconds(), time.time()
    source = make_source(kubeconfig, NAMESPACE)
    source.start()
    await until(source, lambda view: True)
    took, cpu = time.time() - began, cpu_seconds() - cpu
    print(
        f"first list: {took:.2f} s, {cpu:.2f} s of CPU, at most {peak.stop():.0f} MiB above idle "
        f"({peak.start_bytes / 2**20:.0f} MiB)"
    )
    resident = (psutil.Process().memory_info().rss - peak.start_bytes) / 2**20
    print(f"kept after it: {resident:.0f} MiB above idle")
    began, cpu = time.perf_counter(), cpu_seconds()
    rounds = 20
    for _ in range(rounds):
        source.view()
    each = (time.perf_counter() - began) / rounds
    print(f"a view of all pods: {each * 1e3:.1f} ms")
    delays = []
    for number in range(20):
        at = tell(f"delete {number}")
        seen = await until(source, lambda view, n=number: len(view.gone) > n)
        delays.append(seen - at)
    print(
        f"a deletion is seen after {statistics.median(delays) * 1e3:.1f} ms (median of 20; "
        f"worst {max(delays) * 1e3:.1f} ms)"
    )
    for number in range(20):
        tell(f"create {number}")
    await until(source, lambda view: len(view.pods) == options.pods)
    cpu, began = cpu_seconds(), time.time()
    tell(f"touch {options.changes}")
    await until(source, lambda view: len(view.pods) == options.pods + 1)
    took, cpu = time.time() - began, cpu_seconds() - cpu
    print(f"{options.changes} changes at once: {took:.2f} s, {cpu:.2f} s of CPU")
    await source.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=1_000)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.pods, options.serve))
        return
    with tempfile.TemporaryDirectory(prefix="jhm-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        server = subprocess.Popen(
            [sys.executable, __file__, "--pods", str(options.pods), "--serve", str(kubeconfig)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            asyncio.run(measure(server, kubeconfig, options))
        finally:
            server.stdin.close()
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
