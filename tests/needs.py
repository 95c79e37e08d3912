"""``needs(program)``: tests that a program from outside Python must be there for.

Loaded as a pytest plugin by ``conftest.py``. Where the program is missing, its tests are
deselected and the summary says which and why; with ``JUPYTERHUB_METRICS_TEST_ALL=1`` that is an
error instead, so that a machine that must run everything cannot run less.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict

import pytest

ALL_VARIABLE = "JUPYTERHUB_METRICS_TEST_ALL"
_DESELECTED = pytest.StashKey[dict[str, list[str]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program): runs only where the program is installed")
    config.stash[_DESELECTED] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Part the items; raises UsageError when all must run and a program is missing."""
    kept: list[pytest.Item] = []
    missing: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        programs = [mark.args[0] for mark in item.iter_markers("needs")]
        lacking = [program for program in programs if shutil.which(program) is None]
        if lacking:
            missing[lacking[0]].append(item)
        else:
            kept.append(item)
    if missing and os.environ.get(ALL_VARIABLE) == "1":
        raise pytest.UsageError(
            f"not installed: {', '.join(sorted(missing))}; {ALL_VARIABLE}=1 wants every test run; "
            "install what is missing or unset the variable"
        )
    for program, lost in missing.items():
        config.hook.pytest_deselected(items=lost)
        config.stash[_DESELECTED][program] = [item.nodeid for item in lost]
    items[:] = kept


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for program, names in config.stash[_DESELECTED].items():
        terminalreporter.section(f"deselected: {program} is not installed", sep="-")
        for name in names:
            terminalreporter.line(name)
