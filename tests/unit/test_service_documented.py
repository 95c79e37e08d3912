"""Every setting, endpoint and metric of the service stands in its documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from traitlets.config import Application

from jupyterhub_metrics.service.routes import ENDPOINTS
from jupyterhub_metrics.service.settings import Settings

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([^`]*)`(?: \(the root\))? \|(.*)$", DOCUMENTATION, re.MULTILINE)
SETTINGS = Settings.class_own_traits(config=True)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_each_setting_is_documented_and_explained(name: str) -> None:
    assert name in dict(ROWS)
    assert len(SETTINGS[name].help) > 20


def test_only_what_there_is_is_documented() -> None:
    section = DOCUMENTATION.partition("## Settings")[2].partition("###")[0]
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))
    assert documented == set(SETTINGS)
    assert not documented & set(Application.class_own_traits(config=True))


@pytest.mark.parametrize("path", ENDPOINTS)
def test_each_endpoint_is_documented(path: str) -> None:
    section = DOCUMENTATION.partition("## Endpoints")[2].partition("###")[0]
    rows = re.findall(r"^\| `([^`]*)`", section, re.MULTILINE)
    assert path in rows or (path == "" and "| `` (the root) |" in section)


@pytest.mark.parametrize(
    "name", ["max_body_bytes", "pool_connections", "graceful_stop_seconds", "follow_parent"]
)
def test_documented_defaults_are_the_defaults(name: str) -> None:
    cells = [cell.strip(" `") for cell in dict(ROWS)[name].split("|")]
    assert cells[1] == f"{SETTINGS[name].default_value:g}" or cells[1] == str(
        SETTINGS[name].default_value
    )
