"""The sampler in a user's server: what it measures, what it posts, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from kernel_trees import write_tree, write_v1, write_v2

from jupyterhub_metrics.errors import ConfigurationError
from jupyterhub_metrics.sampler.cgroups import CgroupReader
from jupyterhub_metrics.sampler.containers import ContainerReading
from jupyterhub_metrics.sampler.processes import ProcessTree
from jupyterhub_metrics.sampler.sidecar import (
    OwnContainer,
    Post,
    Reader,
    Sidecar,
    post_of,
    reader_of,
)

TOKEN = "the-servers-token"


class Service:
    """Takes samples; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        service = self

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.posts.append((self.headers["Authorization"], json.loads(body)))
                self.send_response(service.status)
                self.send_header("Retry-After", "1")
                self.end_headers()
                self.wfile.write(b'{"error": "found it so"}')

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/v1/samples"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def samples(self) -> list[dict[str, Any]]:
        return [sample for _, body in self.posts for sample in body["samples"]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


class Readings:
    """A server that uses half a core, for so many readings."""

    def __init__(self, count: int, then: Callable[[], None] = lambda: None) -> None:
        self._left = count
        self._then = then
        self.number = 0

    def read(self) -> ContainerReading | None:
        if self.number == self._left:
            self._then()
            return None
        self.number += 1
        return ContainerReading(
            seconds=10.0 * self.number,
            run="1",
            counters={"cpu": 5.0 * self.number},
            gauges={"working_set": 100.0 * self.number},
        )


def sidecar(service: Service, readings: Readings, *, batch_seconds: float = 0) -> Sidecar:
    return Sidecar(
        readings,
        Post(service.url, TOKEN),
        interval_seconds=0.001,
        batch_seconds=batch_seconds,
        stop=threading.Event(),
        clock=lambda: 1_700_000_000.5,
    )


def test_samples_are_posted_with_the_servers_own_token(service: Service) -> None:
    sidecar(service, Readings(4)).run()
    assert {token for token, _ in service.posts} == {f"Bearer {TOKEN}"}
    assert service.samples[0] == {
        "sampled_at": 1_700_000_000.5,
        "interval_seconds": 10.0,
        "memory_bytes": 200.0,
        "cpu_cores": 0.5,
        "oom_kills": None,
    }
    assert [sample["memory_bytes"] for sample in service.samples] == [200, 300, 400]


def test_what_was_not_taken_is_posted_again_and_the_last_when_the_server_ends(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.status = 503

    def back() -> None:
        service.status = 200

    sidecar(service, Readings(5, back)).run()
    assert [sample["memory_bytes"] for sample in service.posts[-1][1]["samples"]] == [
        200, 300, 400, 500,
    ]  # fmt: skip
    assert "Samples were not taken: status 503: found it so" in caplog.text
    assert TOKEN not in caplog.text


def test_what_is_refused_for_ever_is_not_posted_again(service: Service) -> None:
    service.status = 400
    sidecar(service, Readings(3)).run()
    assert len(service.samples) == len({sample["memory_bytes"] for sample in service.samples})


def test_a_service_that_is_away_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    post = Post("http://127.0.0.1:1/api/v1/samples", TOKEN)
    readings = Readings(5)
    Sidecar(readings, post, interval_seconds=0.001, batch_seconds=0, stop=threading.Event()).run()
    assert readings.number == 5
    assert "the service does not answer" in caplog.text
    assert TOKEN not in repr(post)


@pytest.mark.parametrize(
    ("url", "token", "found"),
    [
        (None, TOKEN, "found the address ''"),
        ("ftp://x/y", TOKEN, "found the address 'ftp://x/y'"),
        ("http://x/y", "", "found no token of the server in JUPYTERHUB_API_TOKEN"),
        ("http://x/y", "a\nb", "found no token"),
    ],
)
def test_without_an_address_or_a_token_it_does_not_start(
    url: str | None, token: str, found: str
) -> None:
    with pytest.raises(ConfigurationError, match=found) as raised:
        post_of(url, {"JUPYTERHUB_API_TOKEN": token})
    assert "\n" not in str(raised.value)


def test_a_container_is_measured_only_where_somebody_says_so(tmp_path: Path) -> None:
    inside, host, old = tmp_path / "inside", tmp_path / "host", tmp_path / "old"
    write_tree(inside, {"cgroup.controllers": "cpu memory\n"})
    write_v2(inside, ".")
    write_tree(host, {"cgroup.controllers": "cpu memory\n", "cpu.stat": "usage_usec 5\n"})
    write_v1(old, ".")

    def chosen(root: Path, *, own: bool, pod: bool = False) -> Reader:
        cgroups = CgroupReader(root)
        return reader_of(os.getpid(), whole_pod=pod, own_container=own, cgroups=cgroups)

    for root in (inside, host, old):
        assert isinstance(chosen(root, own=False), ProcessTree)
        assert isinstance(chosen(root, own=False, pod=True), ProcessTree)
    for root in (host, old):
        with pytest.raises(ConfigurationError, match="found no control group of a container"):
            chosen(root, own=True)
    write_tree(old, {"memory/memory.limit_in_bytes": "1073741824\n"})
    assert isinstance(chosen(old, own=True), OwnContainer)
    reader = chosen(inside, own=True)
    assert isinstance(reader, OwnContainer)
    reading = reader.read()
    assert reading is not None
    assert (reading.cpu_limit_cores, reading.gauges["memory"]) == (0.5, 209_715_200)


SERVER = "import os, sys, time; print(os.getpid(), flush=True); sys.stdin.read(); sys.exit(7)"


def start(url: str, *command: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_METRICS_SAMPLES_URL": url,
    }
    sampled = [
        sys.executable, "-m", "jupyterhub_metrics.cli", "sample", "--sidecar", "--interval", "0.1",
        "--", *command,
    ]  # fmt: skip
    return subprocess.Popen(
        sampled,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_server_is_itself_with_its_sampler_beside(service: Service) -> None:
    with start(service.url, sys.executable, "-S", "-c", SERVER) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        deadline = time.monotonic() + 30
        while not service.samples:
            assert time.monotonic() < deadline, "samples come"
            time.sleep(0.05)
        [beside] = psutil.Process(process.pid).children()
        _, said = process.communicate("")
        assert process.returncode == 7, said
    beside.wait(10)
    first = service.samples[0]
    assert first["memory_bytes"] > 1_000_000
    assert first["cpu_cores"] is not None
    assert TOKEN not in " ".join(said.split())


def test_a_killed_server_takes_its_sampler_with_it(service: Service) -> None:
    with start(service.url, sys.executable, "-S", "-c", SERVER) as process:
        assert process.stdout is not None
        process.stdout.readline()
        [beside] = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        beside.wait(10)


def test_a_command_that_is_not_there_says_so() -> None:
    with start("http://127.0.0.1:1/x", "no-such-server") as process:
        _, said = process.communicate()
    assert process.returncode == 127
    assert "found no command no-such-server" in said
