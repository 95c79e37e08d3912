"""A missing program takes its tests out, and says so; where all must run it is an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.needs("no-such-program")
def test_with_it(): ...

@pytest.mark.needs("sh")
def test_with_a_shell(): ...

def test_without(): ...
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(TESTS)
    return pytester


def test_what_lacks_its_program_is_deselected_and_named(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUPYTERHUB_METRICS_TEST_ALL", raising=False)
    result = suite.runpytest_subprocess("-p", "needs")
    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.fnmatch_lines(["*deselected: no-such-program is not installed*", "*test_with_it"])


def test_where_all_must_run_a_missing_program_is_an_error(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_METRICS_TEST_ALL", "1")
    result = suite.runpytest_subprocess("-p", "needs")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*not installed: no-such-program*install what is missing*"])


def test_what_mounts_is_deselected_where_that_is_not_permitted(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_METRICS_TEST_ALL", "1")
    refusing = suite.mkdir("bin") / "mount"
    refusing.write_text("#!/bin/sh\nexit 32\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(refusing.parent), prepend=os.pathsep)
    suite.makepyfile(TESTS.replace("no-such-program", "mount"))
    result = suite.runpytest_subprocess("-p", "needs")
    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.fnmatch_lines(["*deselected: mount is not permitted*", "*test_with_it"])
