"""What the Hub's own pages include, also where a deployment overrides them."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader

from jupyterhub_metrics.hub.hooks import template_folder

CHECKOUT = Path(__file__).parents[2]
PLACES = {"prefix": "/", "base_url": "/hub/"}
LINES = {
    page: f'{{% include "jupyterhub_metrics_{page}.html" ignore missing %}}'
    for page in ("home", "admin")
}


@pytest.mark.parametrize("page", LINES)
def test_one_line_brings_ours_into_a_page_that_a_deployment_overrides(
    page: str, tmp_path: Path
) -> None:
    (tmp_path / f"{page}.html").write_text(f"<h1>Ours alone</h1>{LINES[page]}")
    folders = [str(tmp_path), str(template_folder())]
    shown = Environment(loader=FileSystemLoader(folders), autoescape=True)
    text = shown.get_template(f"{page}.html").render(**PLACES)
    assert f'id="jupyterhub-metrics-{page}"' in text
    assert 'data-summary="/hub/jupyterhub-metrics/summary"' in text
    assert " hidden>" in text
    without = Environment(loader=FileSystemLoader(folders[:1]), autoescape=True)
    assert without.get_template(f"{page}.html").render(**PLACES) == "<h1>Ours alone</h1>"


@pytest.mark.parametrize("page", LINES)
@pytest.mark.parametrize("document", ["README.md", "docs/pages.md"])
def test_the_line_is_documented(page: str, document: str) -> None:
    assert LINES[page] in (CHECKOUT / document).read_text(encoding="utf-8")
