"""``needs(program)``: tests that a program from outside Python must be there for, or a package.

``needs("mount")`` asks for more than the program: that file systems may be mounted here, and
``needs("cgroups")`` that control groups may be made. Where they may not, no setting can ask for it.

Loaded as a pytest plugin by ``conftest.py``. Where the program is missing, its tests are
deselected and the summary says which and why; with ``JUPYTERHUB_METRICS_TEST_ALL=1`` that is an
error instead, so that a machine that must run everything cannot run less.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections import defaultdict
from functools import cache, lru_cache

import pytest

ALL_VARIABLE = "JUPYTERHUB_METRICS_TEST_ALL"
_DESELECTED = pytest.StashKey[dict[str, list[str]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program): runs only where the program is installed")
    config.stash[_DESELECTED] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Part the items; raises UsageError when all must run and a program is missing."""
    kept: list[pytest.Item] = []
    forbidden: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    missing: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        programs = [mark.args[0] for mark in item.iter_markers("needs")]
        lacking = [
            program for program in programs if program != "cgroups" and not _installed(program)
        ]
        if lacking:
            missing[lacking[0]].append(item)
        elif "mount" in programs and not _may_mount():
            forbidden["mount is not permitted"].append(item)
        elif "cgroups" in programs and not _may_make_groups():
            forbidden["control groups may not be made"].append(item)
        else:
            kept.append(item)
    if missing and os.environ.get(ALL_VARIABLE) == "1":
        raise pytest.UsageError(
            f"not installed: {', '.join(sorted(missing))}; {ALL_VARIABLE}=1 wants every test run; "
            "install what is missing or unset the variable"
        )
    why = {f"{program} is not installed": lost for program, lost in missing.items()}
    why.update(forbidden)
    for reason, lost in why.items():
        config.hook.pytest_deselected(items=lost)
        config.stash[_DESELECTED][reason] = [item.nodeid for item in lost]
    items[:] = kept


@cache
def _installed(name: str) -> bool:
    return shutil.which(name) is not None or importlib.util.find_spec(name) is not None


def _may_make_groups() -> bool:
    # only where a test asks, for it takes the software under test
    from real_cgroups import may_make_groups

    return may_make_groups()


@lru_cache(maxsize=1)
def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for reason, names in config.stash[_DESELECTED].items():
        terminalreporter.section(f"deselected: {reason}", sep="-")
        for name in names:
            terminalreporter.line(name)
