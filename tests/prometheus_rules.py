"""Reads the rules that come with the project, as Prometheus' own parser understands them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RULES = ROOT / "grafana" / "prometheus" / "jupyterhub-metrics.rules.yml"
RULE_TESTS = ROOT / "tests" / "prometheus" / "rules.test.yml"

_OURS = re.compile(r"(?<![\w:])jupyterhub_(?:metrics|user_group)_\w+")


def all_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in all_rules() if "alert" in rule]


def metrics_in_rules() -> set[str]:
    """Every series that a rule asks for, beside what other rules record."""
    return {name for rule in all_rules() for name in _OURS.findall(rule["expr"])}
