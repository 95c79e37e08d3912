"""How panels become a dashboard: variables, links to the others, rows."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from .sources import POSTGRES, PROMETHEUS, sql

OVERVIEW = "jupyterhub-metrics-overview"
USERS = "jupyterhub-metrics-users"
USER = "jupyterhub-metrics-user"
DEMOGRAPHICS = "jupyterhub-metrics-demographics"
NODES = "jupyterhub-metrics-nodes"
RESOURCES = "jupyterhub-metrics-resources"
RECORDER = "jupyterhub-metrics-recorder"

TITLES = {
    OVERVIEW: "Overview",
    USERS: "Users",
    USER: "User detail",
    DEMOGRAPHICS: "Demographics",
    NODES: "Nodes and images",
    RESOURCES: "Resources",
    RECORDER: "Recorder health",
}

WIDTH = 24
"""Columns of Grafana's grid."""

Line = Sequence[Builder[model.Panel]]
"""Panels side by side."""


def source(name: str, kind: str) -> DatasourceVariable:
    """The variable that says which data source of a kind is asked."""
    return DatasourceVariable(name).type(kind).label(kind.title()).hide(VariableHide.DONT_HIDE)


def several(name: str, label: str, query: str, *, everything: str | None = None) -> QueryVariable:
    """A variable of which several values may be chosen, at first all.

    ``everything`` is what stands in a query where all are meant; without it, each of them does.
    """
    variable = (
        one_of(name, label, query)
        .multi(True)
        .include_all(True)
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )
    return variable if everything is None else variable.all_value(everything)


def one_of(name: str, label: str, query: str) -> QueryVariable:
    """A variable of which one value is chosen, of a query of ``sql/dashboards/variables.sql``."""
    return (
        QueryVariable(name)
        .label(label)
        .datasource(POSTGRES)
        .query(sql("variables")[query])
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.DISABLED)
    )


def of_series(name: str, label: str, query: str) -> QueryVariable:
    """A variable of which several values may be chosen, of the labels of series."""
    return (
        QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def board(
    uid: str,
    description: str,
    variables: Sequence[Builder[VariableModel]],
    rows: Sequence[tuple[str, Sequence[Line]]],
    *,
    since: str = "now-30d",
    refresh: str | None = None,
) -> model.Dashboard:
    """A dashboard of titled rows, each of lines of panels that fill the grid's width."""
    page = (
        Dashboard(f"JupyterHub Metrics / {TITLES[uid]}")
        .uid(uid)
        .description(description)
        .tags(["jupyterhub-metrics"])
        .timezone("browser")
        .time(since, "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh(refresh or False)
        .variables(list(variables))
        .links([link(other) for other in TITLES if other != uid])
    )
    for title, lines in rows:
        page = page.with_row(Row(title))
        for line in lines:
            for panel in line:
                page = page.with_panel(panel)
    built = page.build()
    for number, placed in enumerate(built.panels or [], start=1):
        placed.id_val = number
    return built


def link(uid: str) -> DashboardLink:
    """A link to another dashboard, with the same variables and time."""
    return (
        DashboardLink(TITLES[uid])
        .type(DashboardLinkType.LINK)
        .icon("dashboard")
        .tooltip(f"Open {TITLES[uid]}")
        .url(f"/d/{uid}")
        .include_vars(True)
        .keep_time(True)
        .target_blank(False)
        .as_dropdown(False)
    )
