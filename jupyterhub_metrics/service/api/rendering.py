"""Answers as JSON or CSV. Pure; called by ``handlers.api``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Final

from .asking import Answer, Row
from .resources import Resource

JSON_TYPE: Final = "application/json; charset=utf-8"
CSV_TYPE: Final = "text/csv; charset=utf-8; header=present"
_FORMULAS: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""Also the full-width forms, which spreadsheets in East Asian locales take for the others."""


def as_json(resource: Resource, answer: Answer, cursor: str | None) -> str:
    """``{"items": [...], "next": cursor or null, "total": number or null}``, or one object."""
    if resource.single:
        return json.dumps(answer.rows[0], ensure_ascii=False)
    body = {"items": list(answer.rows), "next": cursor, "total": answer.total}
    return json.dumps(body, ensure_ascii=False)


def as_csv(resource: Resource, rows: Sequence[Row]) -> str:
    """RFC 4180 with a header; unknown is empty, what is several is joined by ``;``."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.name for column in resource.columns])
    for row in rows:
        writer.writerow([cell(row[column.name]) for column in resource.columns])
    return text.getvalue()


def cell(value: Any) -> Any:
    """A value as a spreadsheet may read it: text that it would run begins with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = ";".join(value)
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return "'" + value
    return value


def preferred(accept: str) -> str:
    """``json`` or ``csv``, as an ``Accept`` header (RFC 9110) prefers; empty for neither."""
    best, found = 0.0, ""
    weights: dict[str, float] = {}
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        kind, *options = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for option in options:
            name, _, value = option.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        weights[kind] = max(quality, weights.get(kind, 0.0))
    for name, kinds in {
        "json": ("application/json", "application/*", "*/*"),
        "csv": ("text/csv", "text/*", "*/*"),
    }.items():
        quality = next((weights[kind] for kind in kinds if kind in weights), 0.0)
        if quality > best:
            best, found = quality, name
    return found
