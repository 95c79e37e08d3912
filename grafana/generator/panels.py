"""What panels look like: each kind of drawing with the settings that all of its kind share.

``w`` and ``h`` are columns (24 to a line) and rows of Grafana's grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    piechart,
    stat,
    statetimeline,
    statushistory,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.piechart import PieChartLabels, PieChartType

from .sources import POSTGRES

P = TypeVar(
    "P",
    bargauge.Panel,
    piechart.Panel,
    stat.Panel,
    statetimeline.Panel,
    statushistory.Panel,
    table.Panel,
    timeseries.Panel,
)
Target = Builder[Dataquery]


@dataclass(frozen=True)
class About:
    """What a panel says of itself. ``unit`` is one of Grafana's; ``none`` is a plain number."""

    title: str
    description: str
    unit: str
    w: int
    h: int = 8
    source: DataSourceRef = POSTGRES


@dataclass(frozen=True)
class Column:
    """A column of a table; ``link`` is where a click on its values leads."""

    name: str
    title: str
    unit: str | None = None
    width: int | None = None
    link: tuple[str, str] | None = None


def _drawn(panel: P, about: About, targets: Sequence[Target]) -> P:
    panel = (
        panel.title(about.title)
        .description(about.description)
        .unit(about.unit)
        .datasource(about.source)
        .span(about.w)
        .height(about.h)
    )
    for target in targets:
        panel = panel.with_target(target)
    return panel


def _last() -> ReduceDataOptions:
    return ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _each_row() -> ReduceDataOptions:
    return ReduceDataOptions().calcs(["lastNotNull"]).values(True).limit(30)


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> ThresholdsConfig:
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )


def numbers(
    about: About,
    *targets: Target,
    steps: Sequence[tuple[float | None, str]] = ((None, "blue"),),
    units: Mapping[str, str] | None = None,
) -> stat.Panel:
    """One large number for each column or series; ``steps`` colour it from a value on."""
    panel = (
        _drawn(stat.Panel(), about, targets)
        .reduce_options(_last())
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .thresholds(_thresholds(steps))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .no_value("-")
    )
    for name, unit in (units or {}).items():
        panel = panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    return panel


def lines(
    about: About,
    *targets: Target,
    stacked: bool = False,
    bars: bool = False,
) -> timeseries.Panel:
    """A graph over time from zero up."""
    panel = (
        _drawn(timeseries.Panel(), about, targets)
        .draw_style(GraphDrawStyle.BARS if bars else GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(60 if stacked or bars else 10)
        .show_points(VisibilityMode.NEVER)
        .min(0)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL).group("A"))
    return panel


def pie(about: About, *targets: Target, rows: bool = True) -> piechart.Panel:
    """Shares of a whole: each row, or each column, is a slice."""
    return (
        _drawn(piechart.Panel(), about, targets)
        .pie_type(PieChartType.DONUT)
        .reduce_options(_each_row() if rows else _last())
        .display_labels([PieChartLabels.PERCENT])
        .legend(
            piechart.PieChartLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs([])
            .values([])
        )
    )


def ranks(about: About, *targets: Target) -> bargauge.Panel:
    """A bar for each row, of which one column is text and one a number."""
    return (
        _drawn(bargauge.Panel(), about, targets)
        .reduce_options(_each_row())
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .show_unfilled(False)
        .min(0)
        .thresholds(_thresholds(((None, "blue"),)))
    )


def rows(about: About, columns: Sequence[Column], *targets: Target) -> table.Panel:
    """A table with these columns, in the order of the query."""
    panel = _drawn(table.Panel(), about, targets)
    for column in columns:
        settings = [DynamicConfigValue("displayName", column.title)]
        if column.unit:
            settings.append(DynamicConfigValue("unit", column.unit))
        if column.width:
            settings.append(DynamicConfigValue("custom.width", column.width))
        if column.link:
            title, url = column.link
            settings.append(DynamicConfigValue("links", [{"title": title, "url": url}]))
        panel = panel.override_by_name(column.name, settings)
    return panel


def matrix(about: About, target: Target, *, row: str, column: str, value: str) -> table.Panel:
    """A table of one value by two others, the more the darker."""
    return (
        _drawn(table.Panel(), about, [target])
        .with_transformation(
            DataTransformerConfig(
                id_val="groupingToMatrix",
                options={
                    "rowField": row,
                    "columnField": column,
                    "valueField": value,
                    "emptyValue": "null",
                },
            )
        )
        .color_scheme(FieldColor().mode(FieldColorModeId.CONTINUOUS_BL_PU))
        .override_by_field_type(
            "number",
            [
                DynamicConfigValue("custom.cellOptions", {"type": "color-background"}),
                DynamicConfigValue("decimals", 0),
            ],
        )
    )


def cells(about: About, *targets: Target) -> statushistory.Panel:
    """A row for each series and a cell for each moment, the more the darker."""
    return (
        _drawn(statushistory.Panel(), about, targets)
        .show_value(VisibilityMode.NEVER)
        .row_height(0.9)
        .col_width(1)
        .color_scheme(FieldColor().mode(FieldColorModeId.CONTINUOUS_BL_PU))
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(False)
            .calcs([])
        )
    )


def spans(
    about: About, target: Target, *, by: str, colors: Mapping[str, str]
) -> statetimeline.Panel:
    """A row for each value of the column ``by``, with what it was from when to when."""
    mappings: list[ValueMapping] = [
        ValueMap(
            options={
                value: ValueMappingResult(color=color, text=value, index=place)
                for place, (value, color) in enumerate(colors.items())
            }
        )
    ]
    return (
        _drawn(statetimeline.Panel(), about, [target])
        .with_transformation(
            DataTransformerConfig(
                id_val="partitionByValues", options={"fields": [by], "keepFields": False}
            )
        )
        .display_name(f"${{__field.labels.{by}}}")
        .mappings(mappings)
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .merge_values(False)
        .show_value(VisibilityMode.AUTO)
        .row_height(0.8)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
    )
