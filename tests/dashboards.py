"""The committed dashboards, taken apart. Used by a benchmark too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"
EVERYONE = "'*'"


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard, and the queries it draws."""

    uid: str
    json: dict[str, Any]

    @property
    def title(self) -> str:
        return self.json["title"]

    @property
    def name(self) -> str:
        """``users / Active users``."""
        return f"{self.uid.removeprefix('jupyterhub-metrics-')} / {self.title}"

    @property
    def statements(self) -> list[str]:
        """SQL; empty where the panel asks Prometheus."""
        return [target["rawSql"] for target in self.json["targets"] if "rawSql" in target]

    @property
    def expressions(self) -> list[str]:
        """PromQL; empty where the panel asks PostgreSQL."""
        return [target["expr"] for target in self.json["targets"] if "expr" in target]


def dashboards() -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))]


def panels_of(dashboard: dict[str, Any]) -> list[Panel]:
    """Without rows, which are only titles."""
    return [Panel(dashboard["uid"], one) for one in dashboard["panels"] if one["type"] != "row"]


def all_panels() -> list[Panel]:
    return [panel for dashboard in dashboards() for panel in panels_of(dashboard)]


def variables_of(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def variable_statements() -> Iterator[tuple[str, str]]:
    """The SQL of every variable, with ``dashboard / variable``; each statement once."""
    seen = set()
    for dashboard in dashboards():
        for name, variable in variables_of(dashboard).items():
            if (variable.get("datasource") or {}).get("type") == "postgres":
                statement = variable["query"]
                if statement not in seen:
                    seen.add(statement)
                    yield f"{dashboard['uid']} / {name}", statement
