"""Every action of ``jupyterhub-metrics db`` and each of its options stands in the documentation."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from jupyterhub_metrics.store.command import ACTIONS, add_arguments

DOCS = Path(__file__).parents[2] / "docs"
SECTION = (DOCS / "store.md").read_text(encoding="utf-8").partition("## Commands")[2]
SECTION = SECTION.partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `db ([a-z]+)[^`]*` \| (.*) \|$", SECTION, re.MULTILINE))


def parsers() -> dict[str, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    chosen = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(chosen.choices)


def test_every_action_is_documented_and_no_other() -> None:
    assert set(ROWS) == set(ACTIONS) == set(parsers())


def test_every_option_is_documented_and_no_other() -> None:
    taken = {
        name: {
            option
            for action in parser._actions
            for option in action.option_strings or [action.metavar]
        }
        - {"-h", "--help", "--dsn-file", "--data-dir"}
        for name, parser in parsers().items()
    }
    written = {
        name: set(re.findall(r"--[a-z-]+|FILE", line))
        for name, line in re.findall(r"^\| `db ([a-z]+)([^`]*)`", SECTION, re.MULTILINE)
    }
    assert written == taken


def test_where_the_database_is_said_to_be_is_documented() -> None:
    for option in ("--dsn-file", "--data-dir", "JUPYTERHUB_METRICS_DSN", "DB_HOST"):
        assert f"`{option}" in SECTION, option
