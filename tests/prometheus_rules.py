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
_RECORDED = re.compile(r"\w+:jupyterhub_metrics_\w+:\w+")


def all_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in all_rules() if "alert" in rule]


def metrics_in_rules() -> set[str]:
    """Every series that a rule asks for, beside what other rules record."""
    return series_in(*(rule["expr"] for rule in all_rules()))


def series_in(*expressions: str) -> set[str]:
    """Our series that these ask for, beside what rules record."""
    return {name for expression in expressions for name in _OURS.findall(expression)}


def recorded_in(*expressions: str) -> set[str]:
    """What rules record that these ask for."""
    return {name for expression in expressions for name in _RECORDED.findall(expression)}
