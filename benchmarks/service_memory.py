"""What the idle service weighs, without and with a watched cluster.

    python benchmarks/service_memory.py [--pods 10000]

Starts the real service as a process of its own over the embedded PostgreSQL, once as it is and
once watching pods that ``benchmarks/pods.py`` serves from the tests' API server in another
process, waits until it is ready and has listed them, and reads its resident memory. PostgreSQL's
own processes do not count.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from jupyterhub_metrics.hub.secret_files import ensure_secrets

SETTLED_SECONDS = 15


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def weigh(folder: Path, environment: dict[str, str], setting: str) -> None:
    """Prints the service's resident memory in this environment."""
    folder.mkdir(mode=0o711)
    secrets = ensure_secrets(folder)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    service = subprocess.Popen(
        [sys.executable, "-m", "jupyterhub_metrics.service", "--log-level=ERROR", setting],
        env={
            **os.environ,
            "JUPYTERHUB_METRICS_DATA_DIR": str(folder),
            "JUPYTERHUB_METRICS_HUB_NAME": "bench",
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/",
            "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api",
            "JUPYTERHUB_API_TOKEN": secrets["api_token"],
            **environment,
        },
    )
    try:
        url = f"http://127.0.0.1:{port}/services/jupyterhub-metrics/health/ready"
        for _ in range(300):
            if ready(url):
                break
            time.sleep(0.1)
        else:
            raise SystemExit("the service was not ready within half a minute")
        time.sleep(SETTLED_SECONDS)
        memory = psutil.Process(service.pid).memory_info().rss
        print(f"{setting}: {memory / 1e6:.0f} MB resident ({memory / 2**20:.0f} MiB)")
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jhm-") as folder:
        base = Path(folder)
        base.chmod(0o711)
        weigh(base / "without", {}, "--MetricsService.watch_pods=False")
        kubeconfig = base / "kubeconfig"
        cluster = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("pods.py")),
                f"--pods={options.pods}",
                f"--serve={kubeconfig}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            cluster.stdout.readline()
            watched = {"KUBECONFIG": str(kubeconfig), "NAMESPACE": "jhub"}
            weigh(base / "with", watched, "--MetricsService.watch_pods=True")
            print(f"while it watched {options.pods} pods")
        finally:
            cluster.stdin.close()
            cluster.terminate()
            cluster.wait(30)


if __name__ == "__main__":
    main()
