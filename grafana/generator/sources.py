"""Where panels get their data: PostgreSQL through the reader role, and Prometheus.

Both are variables of the dashboards, so that an imported dashboard finds the data sources of a
Grafana that has others than the provisioned ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusQuery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from jupyterhub_metrics._sql import load_named

POSTGRES = DataSourceRef(type_val="postgres", uid="${postgres}")
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${prometheus}")

Format = Literal["table", "time_series"]


@cache
def sql(page: str) -> Mapping[str, str]:
    """The statements of ``sql/dashboards/<page>.sql`` by name."""
    return load_named("dashboards", f"{page}.sql")


class PostgresQuery(Builder[Dataquery], Dataquery):
    """A statement of ``sql/dashboards``; the SDK has no type for queries in SQL."""

    def __init__(self, page: str, name: str, shape: Format) -> None:
        self._page = page
        self._name = name
        self._shape = shape

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "refId": "A",
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": self._shape,
            "rawQuery": True,
            "rawSql": sql(self._page)[self._name],
        }


def prometheus(
    expression: str, legend: str = "__auto", *, ref_id: str = "A", instant: bool = False
) -> PrometheusQuery:
    """A query over the dashboard's range, or of its end alone."""
    query = (
        PrometheusQuery()
        .ref_id(ref_id)
        .datasource(PROMETHEUS)
        .expr(expression)
        .legend_format(legend)
        .format(PromQueryFormat.TIME_SERIES)
    )
    return query.instant() if instant else query.range()
