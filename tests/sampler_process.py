"""``jupyterhub-metrics sample`` as a process of its own, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import parse_qs, unquote, urlsplit


def flags_of(dsn: str) -> tuple[list[str], str]:
    """The address as flags, and the password."""
    parts = urlsplit(dsn)
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    flags = ["--host", host, "--database", parts.path.lstrip("/"), "--user", parts.username or ""]
    if parts.port:
        flags += ["--port", str(parts.port)]
    return flags, unquote(parts.password or "")


def command(*flags: str, password: str | None, **environment: str) -> subprocess.Popen[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DB_", "JUPYTERHUB_METRICS_", "POSTGRES_"))
    }
    if password is not None:
        kept["POSTGRES_PASSWORD"] = password
    return subprocess.Popen(
        [sys.executable, "-m", "jupyterhub_metrics.cli", "sample", *flags],
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
