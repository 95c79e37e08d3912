"""The committed dashboards are what the generator writes, and such as Grafana 10 to 12 draws."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from dashboards import FOLDER, Panel, all_panels, dashboards, panels_of, variables_of

BOARDS = dashboards()
UIDS = {board["uid"] for board in BOARDS}
PANELS = all_panels()
SOURCES = {"${postgres}": "postgres", "${prometheus}": "prometheus"}
# of the panels and transformations that Grafana 10.0 came with
KINDS = {"stat", "timeseries", "piechart", "table", "bargauge", "status-history", "state-timeline"}
TRANSFORMATIONS = {"groupingToMatrix", "partitionByValues"}
UNITS = {"none", "h", "s", "bytes", "cps", "percentunit", "dateTimeAsLocal"}
WIDTH = 24
RANGE_MACROS = ("$__timeFrom()", "$__timeTo()", "$__timeFilter(")
# whose answer has nothing to do with the range
TIMELESS = {"overview / Total users", "user / The user"}

board_of = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
panel_of = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.name)


# the SDK needs Python 3.11
@pytest.mark.needs("grafana_foundation_sdk")
def test_the_committed_files_are_what_the_generator_writes() -> None:
    from generator import every_dashboard

    written = every_dashboard.files()
    committed = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
    assert written == committed, "run python -m generator in grafana/"


def test_there_is_each_dashboard() -> None:
    assert [board["title"] for board in BOARDS] == [
        f"JupyterHub Metrics / {name}"
        for name in ("Demographics", "Nodes and images", "Overview", "Recorder health",
                     "Resources", "User detail", "Users")
    ]  # fmt: skip
    variables = {name for board in BOARDS for name in variables_of(board)}
    assert variables == {"postgres", "prometheus", "hub", "group", "user", "image", "node"}


@board_of
def test_it_can_be_imported_into_grafana_10_to_12(board: dict[str, Any]) -> None:
    # 36 is the schema of Grafana 9.1 to 10.1; later ones migrate it when they load it
    assert board["schemaVersion"] == 36
    assert board.get("id") is None
    assert re.fullmatch(r"[a-z-]{1,40}", board["uid"])
    for panel in panels_of(board):
        assert panel.json["type"] in KINDS
        for transformation in panel.json.get("transformations") or []:
            assert transformation["id"] in TRANSFORMATIONS


@board_of
def test_no_panels_overlap_or_leave_the_grid(board: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    taken: set[tuple[int, int]] = set()
    for place in places:
        assert place["x"] >= 0
        assert place["w"] > 0
        assert place["h"] > 0
        assert place["x"] + place["w"] <= WIDTH
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        assert not taken & cells, place
        taken |= cells
    # no holes either: all lines are full
    assert len(taken) == WIDTH * max(place["y"] + place["h"] for place in places)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


@panel_of
def test_a_panel_explains_itself(panel: Panel) -> None:
    assert panel.title
    assert len(panel.json["description"]) > 25
    assert panel.json["description"].endswith(".")
    assert panel.json["fieldConfig"]["defaults"]["unit"] in UNITS
    for override in panel.json["fieldConfig"]["overrides"]:
        for setting in override["properties"]:
            assert setting["id"] != "unit" or setting["value"] in UNITS


def test_titles_tell_panels_of_a_dashboard_apart() -> None:
    assert len({panel.name for panel in PANELS}) == len(PANELS)


@panel_of
def test_a_panel_asks_a_source_that_is_provisioned(panel: Panel) -> None:
    for asked in (panel.json, *panel.json["targets"]):
        source = asked["datasource"]
        assert SOURCES[source["uid"]] == source["type"]
    refs = [target["refId"] for target in panel.json["targets"]]
    assert refs
    assert len(refs) == len(set(refs))
    assert panel.json["datasource"] == panel.json["targets"][0]["datasource"]


@panel_of
def test_a_panel_selects_from_one_view_or_function(panel: Panel) -> None:
    for statement in panel.statements:
        assert not re.search(r"\b(JOIN|LATERAL|UNION|WITH|EXISTS)\b|;", statement)
        sources = re.findall(r"\bFROM\s+(\w+|\()", statement.replace("epoch FROM", "epoch OF"))
        assert len([source for source in sources if source != "("]) == 1, sources
        assert not re.search(r"\bFROM\s+\w+\s*,", statement)
        in_range = any(macro in statement for macro in RANGE_MACROS)
        assert in_range == (panel.name not in TIMELESS)


@board_of
def test_every_variable_is_used_and_none_is_missing(board: dict[str, Any]) -> None:
    variables = variables_of(board)
    asked = json.dumps([panel.json for panel in panels_of(board)])
    others = json.dumps([variable.get("query") for variable in variables.values()])
    for name in variables:
        used = rf"\$\{{?{name}\b"
        assert re.search(used, asked), f"{name} does nothing"
    for name in re.findall(r"\$\{?([a-z]\w*)", asked + others):
        assert name in variables, f"no variable {name}"
    # a variable asks only for those before it
    names = list(variables)
    for place, name in enumerate(names):
        for other in re.findall(r"\$\{?([a-z]\w*)", str(variables[name].get("query"))):
            assert other in names[:place]


@board_of
def test_each_panel_of_a_board_follows_the_board_s_filters(board: dict[str, Any]) -> None:
    """What is chosen in hub, group or user holds for every panel that asks PostgreSQL."""
    for panel in panels_of(board):
        for statement in panel.statements:
            for name in {"hub", "group", "user"} & set(variables_of(board)):
                assert f"${{{name}:sqlstring}}" in statement, panel.name


def links_of(board: dict[str, Any]) -> list[str]:
    found = [link["url"] for link in board["links"]]
    for panel in panels_of(board):
        for override in panel.json["fieldConfig"]["overrides"]:
            for setting in override["properties"]:
                if setting["id"] == "links":
                    found += [link["url"] for link in setting["value"]]
    return found


@board_of
def test_links_lead_to_dashboards_and_their_variables(board: dict[str, Any]) -> None:
    links = links_of(board)
    assert {link.split("?")[0] for link in board_links(board)} == {
        f"/d/{uid}" for uid in UIDS - {board["uid"]}
    }
    for link in links:
        path, _, parameters = link.partition("?")
        uid = path.removeprefix("/d/")
        assert uid in UIDS
        target = next(other for other in BOARDS if other["uid"] == uid)
        for name in re.findall(r"var-(\w+)=", parameters):
            assert name in variables_of(target)
        for field in re.findall(r"__data\.fields\.(\w+)", parameters):
            assert f" {field}" in json.dumps(
                [panel.statements for panel in panels_of(board) if link in json.dumps(panel.json)]
            )


def board_links(board: dict[str, Any]) -> list[str]:
    for link in board["links"]:
        assert link["includeVars"]
        assert link["keepTime"]
    return [link["url"] for link in board["links"]]


@panel_of
def test_columns_that_are_named_are_selected(panel: Panel) -> None:
    for override in panel.json["fieldConfig"]["overrides"]:
        if override["matcher"]["id"] == "byName":
            name = override["matcher"]["options"]
            assert any(re.search(rf"\b{name}\b", one) for one in panel.statements), name
    for transformation in panel.json.get("transformations") or []:
        options = transformation["options"]
        named = options.get("fields", []) + [
            options[key] for key in ("rowField", "columnField", "valueField") if key in options
        ]
        for name in named:
            assert re.search(rf"\b{name}\b", panel.statements[0]), name
