"""Every metric, setting, alert and runbook stands in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_rules import RULE_TESTS, alerts, metrics_in_rules

from jupyterhub_metrics.service import metrics
from jupyterhub_metrics.service.metrics import Metrics
from jupyterhub_metrics.service.present_families import (
    PERIODS,
    STATES,
    Disk,
    Seen,
    present_families,
)
from jupyterhub_metrics.service.scraping import Scraping
from jupyterhub_metrics.service.session_flow import OTHER
from jupyterhub_metrics.service.user_families import LABELS, MULTIPLE, NO_GROUP, UserRules
from jupyterhub_metrics.service.user_families import user_families as families_of_users
from jupyterhub_metrics.store import DUTIES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([^`]+)` \|(.*)$", PAGE, re.MULTILINE))
SETTINGS = Scraping.class_own_traits(config=True)

FLOW = {
    f"{f.name}{'_total' * (f.type == 'counter')}{'_info' * (f.type == 'info')}"
    for f in Metrics().registry.collect()
}
PRESENT = {
    family.name
    for family in [
        *present_families(Seen((), (), 1, 1, Disk(1, 1)), ()),
        *families_of_users(UserRules(), (), ()),
    ]
}


def test_each_series_is_documented_and_no_other() -> None:
    documented = {name for name in ROWS if name.startswith("jupyterhub_")}
    own = {name for name in FLOW | PRESENT if "_process_" not in name}
    assert own == documented - {"jupyterhub_metrics_process_…"}


def test_each_value_of_a_closed_set_is_documented() -> None:
    for value in (
        *metrics.REFUSALS, *metrics.SCRAPE_REFUSALS, *metrics.SOURCES, *metrics.TASKS,
        metrics.UNREADABLE, OTHER, *STATES, *PERIODS, *LABELS, MULTIPLE, NO_GROUP,
        *(duty.name for duty in DUTIES),
    ):  # fmt: skip
        assert f"`{value}`" in PAGE, value


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_each_setting_is_documented_and_explained(name: str) -> None:
    assert name in ROWS
    assert len(SETTINGS[name].help) > 20


def test_each_alert_has_its_runbook_and_stands_on_the_page() -> None:
    runbooks = {path.name for path in (DOCS / "runbooks").glob("*.md")}
    for alert in alerts():
        link = alert["annotations"]["runbook_url"]
        text = (DOCS.parent / link).read_text(encoding="utf-8")
        assert f"Alert `{alert['alert']}`." in text
        assert f"[`{alert['alert']}`]({link.removeprefix('docs/')})" in PAGE
        runbooks.remove(Path(link).name)
    assert not runbooks, "runbooks of no alert"


def test_links_between_the_pages_lead_somewhere() -> None:
    for path in [DOCS / "metrics.md", *(DOCS / "runbooks").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).is_file(), f"{path.name}: {target}"


def test_each_alert_is_tested_to_fire_and_to_keep_still() -> None:
    fires: set[str] = set()
    keeps_still: set[str] = set()
    for test in yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]:
        for case in test.get("alert_rule_test", ()):
            (fires if case.get("exp_alerts") else keeps_still).add(case["alertname"])
    names = {alert["alert"] for alert in alerts()}
    assert fires == names
    assert keeps_still == names


def test_each_series_in_a_rule_is_one_of_ours() -> None:
    histograms = {f"{name}_{part}" for name in FLOW for part in ("bucket", "sum", "count")}
    assert len(metrics_in_rules()) > 20
    assert metrics_in_rules() <= FLOW | PRESENT | histograms
