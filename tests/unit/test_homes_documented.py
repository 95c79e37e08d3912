"""Every setting and bound of the sizes of homes stands in their page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jupyterhub_metrics.service.homes import SOURCE
from jupyterhub_metrics.sources.dirsize import MAX_DIRECTORIES, SERIES
from jupyterhub_metrics.sources.home_sizes import MAX_ANSWER_BYTES, HomeSizes

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "homes.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Settings")[2].partition("\n## ")[0]
ROWS = {
    name: [cell.strip() for cell in cells.split("|")]
    for name, cells in re.findall(r"^\| `([a-z_]+)` \|(.*)\|$", SECTION, re.MULTILINE)
}
SETTINGS = HomeSizes.class_own_traits(config=True)


def test_the_settings_and_only_they_are_documented() -> None:
    assert set(ROWS) == set(SETTINGS)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_each_setting_is_explained_with_its_default(name: str) -> None:
    assert len(SETTINGS[name].help) > 20
    value = getattr(HomeSizes(), name)
    assert ROWS[name][1] == (f"{value:g}" if isinstance(value, float) else "none")


def test_bounds_are_those_of_the_code() -> None:
    assert f"{MAX_ANSWER_BYTES // 2**20} MiB or {MAX_DIRECTORIES:,} directories" in PAGE
    assert f"at most {SETTINGS['interval_seconds'].max:g}" in ROWS["interval_seconds"][2]
    assert f'source="{SOURCE}"' in PAGE
    assert SERIES in PAGE


def test_the_addresses_of_the_examples_are_some() -> None:
    urls = re.findall(r"""["'](http://[^']*?metrics|http://[^']*?\})["']""", PAGE)
    assert len(urls) == 2
    assert HomeSizes(urls=urls).configured


def test_links_lead_somewhere() -> None:
    for target, anchor in re.findall(r"\]\(([a-z/-]+\.md)(?:#([a-z-]+))?\)", PAGE):
        text = (DOCS / target).read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, f"{target}#{anchor}"
