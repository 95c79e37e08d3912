"""Every setting of the pods' source stands in its documentation, with its default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from jupyterhub_metrics.sources.pods import PodSource

PAGE = (Path(__file__).parents[2] / "docs" / "pods.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Settings")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| `([a-z_]+)` \|[^|]*\|([^|]*)\|", SECTION, re.MULTILINE))
SETTINGS = PodSource.class_own_traits(config=True)


def test_the_settings_and_only_they_are_documented() -> None:
    assert set(ROWS) == set(SETTINGS)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_each_setting_is_explained_with_its_default(name: str) -> None:
    assert len(SETTINGS[name].help) > 20
    value = getattr(PodSource(environment={}), name)
    text = f"{value:g}" if isinstance(value, int | float) else str(value or "")
    assert text in ROWS[name]


@pytest.mark.parametrize("name", ["stale_seconds", "complaint", "lists", "faults"])
def test_each_property_is_documented(name: str) -> None:
    assert isinstance(getattr(PodSource, name), property)
    assert f"| `{name}` |" in PAGE


def test_the_role_allows_what_is_asked_for_and_nothing_else() -> None:
    (manifest,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    role, binding = yaml.safe_load_all(manifest)
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
