"""The page on Grafana names every dashboard, panel, function and variable that there is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from dashboards import all_panels, dashboards

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "grafana.md").read_text(encoding="utf-8")
PROVISIONING = ROOT / "grafana" / "provisioning"
SOURCES = (PROVISIONING / "datasources" / "jupyterhub-metrics.yml").read_text(encoding="utf-8")
TITLES = {
    board["uid"].removeprefix("jupyterhub-metrics-"): board["title"].rpartition("/ ")[2]
    for board in dashboards()
}


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_each_dashboard_is_on_the_page() -> None:
    rows = re.findall(r"^\| ([A-Z][\w ]+) \|", PAGE.partition("## Install")[0], re.MULTILINE)
    assert set(rows) == set(TITLES.values())


def test_panels_that_take_the_place_of_others_are_there() -> None:
    panels = {
        f"{TITLES[panel.uid.removeprefix('jupyterhub-metrics-')]}: {panel.title}"
        for panel in all_panels()
    }
    rows = re.findall(r"^\| .+? \| ([A-Z].+?) \|$", section("Panels of sampled metrics"), re.M)
    assert len(rows) == 28
    for row in rows:
        board, _, titles = row.partition(": ")
        for title in titles.split("; "):
            # of several of one name only the part that differs is written
            names = {f"{board}: {title}", f"{board}: Users, {title}"}
            assert names & panels, f"no panel {board}: {title}"


def test_each_function_of_the_panels_is_on_the_page() -> None:
    migrations = (ROOT / "sql" / "migrations").glob("*_panels*.sql")
    text = "".join(path.read_text(encoding="utf-8") for path in migrations)
    made = set(re.findall(r"^CREATE FUNCTION (\w+)", text, re.MULTILINE))
    told = set(re.findall(r"`(\w+)(?:\(.*?\))?`", section("What a panel asks")))
    assert made <= told
    assert {name for name in told if name.startswith("panel_")} <= made


def test_each_variable_of_the_provisioning_is_on_the_page_and_nothing_secret_is_in_it() -> None:
    named = set(re.findall(r"\$(JUPYTERHUB_\w+)", SOURCES))
    assert named == set(re.findall(r"^\| `(JUPYTERHUB_\w+)`", PAGE, re.MULTILINE))
    by_type = {one["type"]: one for one in yaml.safe_load(SOURCES)["datasources"]}
    assert set(by_type) == {"postgres", "prometheus"}
    password = by_type["postgres"]["secureJsonData"]["password"]
    assert re.fullmatch(r"\$__file\{/[\w/.-]+\}", password)
    assert password[len("$__file{") : -1] in PAGE


def test_the_dashboards_are_provisioned_from_where_the_page_puts_them() -> None:
    text = (PROVISIONING / "dashboards" / "jupyterhub-metrics.yml").read_text(encoding="utf-8")
    (provider,) = yaml.safe_load(text)["providers"]
    assert provider["type"] == "file"
    assert f"`{provider['options']['path']}/`" in PAGE


def test_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target
