"""A real Prometheus that scrapes what a test gives it, and is asked over its HTTP API."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ports import free_port
from prometheus_rules import RULES
from tornado.httpclient import AsyncHTTPClient

_CONFIG = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: jupyterhub-metrics
    metrics_path: {path}
    {authorization}
    static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {labels}}}]
"""


class Prometheus:
    """``wait_for`` gives the samples of a query once there are as many as wanted."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self._process = process
        self._log = log
        self._http = AsyncHTTPClient(force_instance=True)

    async def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; None while there is none."""
        try:
            answer = await self._http.fetch(
                f"{self.url}/api/v1/{path}?{urlencode(parameters)}", raise_error=False
            )
        except OSError:
            return None
        return json.loads(answer.body)["data"] if answer.code == 200 else None

    async def query(self, text: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The values by their labels, without those that Prometheus itself adds."""
        data = await self.ask("query", query=text)
        added = ("__name__", "job", "instance")
        return {
            tuple(sorted((k, v) for k, v in sample["metric"].items() if k not in added)): float(
                sample["value"][1]
            )
            for sample in (data or {"result": []})["result"]
        }

    async def until(self, text: str, wanted: dict[tuple[tuple[str, str], ...], float]) -> None:
        """Returns once the query gives just this; AssertionError with what it gives after 40 s."""
        deadline = time.monotonic() + 40
        while (found := await self.query(text)) != wanted:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, (text, found, await self.ask("targets"))
            await asyncio.sleep(0.2)

    def close(self) -> None:
        self._http.close()


@asynccontextmanager
async def prometheus_of(
    folder: Path,
    port: int,
    path: str,
    token_file: Path | None,
    labels: Mapping[str, str] | None = None,
) -> AsyncIterator[Prometheus]:
    """A Prometheus in this folder with our rules, ended at the end; ``labels`` it adds itself."""
    authorization = f"authorization: {{credentials_file: {token_file}}}" if token_file else ""
    config = folder / "prometheus.yml"
    config.write_text(
        _CONFIG.format(
            rules=RULES,
            path=path,
            port=port,
            authorization=authorization,
            labels=json.dumps(dict(labels or {})),
        )
    )
    own_port, log = free_port(), folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{own_port}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    prometheus = Prometheus(f"http://127.0.0.1:{own_port}", process, log)
    try:
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        process.wait(20)
