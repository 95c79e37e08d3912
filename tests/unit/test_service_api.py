"""The API's parts that need no database: arguments, cursors, CSV, Accept, the document."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.service.api.columns import ME, TYPES
from jupyterhub_metrics.service.api.cursors import Cursors
from jupyterhub_metrics.service.api.openapi import document
from jupyterhub_metrics.service.api.parameters import (
    BY,
    GROUP,
    LIMIT,
    SEARCH,
    SERVER,
    SORT,
    STEP,
    USER,
    BadRequest,
    read_arguments,
)
from jupyterhub_metrics.service.api.rendering import as_csv, cell, preferred
from jupyterhub_metrics.service.api.resources import RESOURCES

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
ALL = (BY, GROUP, LIMIT, SEARCH, SERVER, SORT, STEP, USER)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"limit": ["0"]}, "limit"),
        ({"limit": ["1001"]}, "limit"),
        ({"limit": ["1" * 5000]}, "limit"),
        ({"limit": ["\u0661"]}, "limit"),
        ({"limit": ["-1"]}, "limit"),
        ({"limit": ["1", "1"]}, "limit"),
        ({"user": [""]}, "user"),
        ({"user": ["a\0b"]}, "user"),
        ({"user": ["x" * 256]}, "user"),
        ({"by": ["nothing"]}, "by"),
        ({"step": ["minute"]}, "step"),
        ({"sort": ["--seconds"]}, "sort"),
        ({"search": ["x" * 101]}, "search"),
        ({"unheard of": ["1"]}, "unheard of"),
    ],
)
def test_bad_arguments_are_refused_by_name(given: dict[str, list[str]], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_arguments(ALL, given)
    assert refused.value.field == field
    assert "expected" in str(refused.value)


def test_good_arguments_are_read() -> None:
    given = {"limit": ["7"], "server": [""], "sort": ["-gpu_hours"], "user": ["ü & <b>"]}
    assert read_arguments(ALL, given) == {
        "limit": 7,
        "server": "",
        "sort": "-gpu_hours",
        "user": "ü & <b>",
    }


places = st.lists(st.text() | st.integers() | st.floats(allow_nan=False), max_size=4)
questions = st.dictionaries(st.sampled_from(["user", "since", "limit"]), st.text(), max_size=3)


@given(places, questions)
def test_a_cursor_leads_back_to_its_place(place: list[Any], question: dict[str, str]) -> None:
    cursors = Cursors(b"secret")
    text = cursors.write("users", question, place)
    assert cursors.read("users", {**question, "limit": "9", "cursor": text}, text) == place
    with pytest.raises(BadRequest):
        cursors.read("sessions", question, text)
    with pytest.raises(BadRequest):
        cursors.read("users", {**question, "zone": "UTC"}, text)
    with pytest.raises(BadRequest):
        Cursors(b"another").read("users", question, text)


@given(st.text("abcdef", min_size=8))
def test_a_cursor_does_not_tell_its_place(name: str) -> None:
    text = Cursors(b"secret").write("users", {}, [name])
    assert name.encode() not in base64.urlsafe_b64decode(text + "===")


@given(st.text() | st.binary().map(lambda raw: raw.hex()))
def test_forged_cursors_are_refused(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Cursors(b"secret").read("users", {}, text)
    assert refused.value.field == "cursor"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\uff1d1", "\n=1"])
def test_cells_that_a_spreadsheet_would_run_are_quoted(text: str) -> None:
    assert cell(text) == "'" + text
    assert cell([text, "b"]) == f"'{text};b"


def test_numbers_stay_numbers_and_unknown_is_empty() -> None:
    assert [cell(value) for value in (-1.5, None, True, "a", [])] == [-1.5, "", "true", "a", ""]


@given(st.text(), st.text())
def test_csv_is_read_back_as_it_was(name: str, hub: str) -> None:
    me = next(resource for resource in RESOURCES if resource.name == "me")
    row = {"name": name, "hub": hub, "operator": False, "groups": [], "hubs": []}
    text = as_csv(me, [{**row, "pseudonyms": False}])
    header, found = csv.reader(io.StringIO(text, newline=""))
    assert header == [column.name for column in ME]
    assert found[0] == cell(name)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/csv", "csv"),
        ("text/*", "csv"),
        ("application/json;q=0.5, text/csv", "csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("text/csv;q=0, */*", "json"),
        ("image/png", ""),
        ("application/json;q=x", ""),
    ],
)
def test_the_preferred_format_is_answered(accept: str, kind: str) -> None:
    assert preferred(accept) == kind


def test_the_document_is_json_and_every_reference_leads_somewhere() -> None:
    made = document("/services/jupyterhub-metrics/")
    text = json.dumps(made)
    for reference in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert reference in made["components"]["schemas"]
    assert set(made["paths"]) == {f"/{resource.name}" for resource in RESOURCES}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_resources_and_parameters_are_documented(resource: Any) -> None:
    documented = set(re.findall(r"`([a-z_]+)`", DOCUMENTATION))
    assert resource.name in documented
    assert {parameter.name for parameter in resource.parameters} <= documented
    assert all(column.kind in TYPES and column.description for column in resource.columns)
