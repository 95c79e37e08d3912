"""What Grafana makes of a query before PostgreSQL gets it, by its documentation.

First the browser puts in the values of variables, in the format that ``${name:format}`` asks for,
then the server replaces the macros of the PostgreSQL data source. What Grafana would refuse, or
leave in the query as it stands, raises ``ValueError``. Used by a benchmark too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

Value = str | Sequence[str]

_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)\]\]|\$(\w+)\b(?!\()")
_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^\)]*)\)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


@dataclass(frozen=True)
class Everything:
    """The value All of a variable with a custom "all" value, which is put in as it stands."""

    text: str


@dataclass(frozen=True)
class View:
    """A dashboard that is looked at: its range, the interval of a panel, and its variables."""

    since: datetime
    until: datetime
    variables: Mapping[str, Value | Everything]
    interval: str = "1h"
    timescale: bool = False

    def sends(self, query: str) -> str:
        """The statement that reaches PostgreSQL; raises ValueError if Grafana would not send it."""
        return _MACRO.sub(self._macro, _VARIABLE.sub(self._variable, query))

    def _variable(self, found: re.Match[str]) -> str:
        name = found[1] or found[3] or found[4]
        if name.startswith("__"):
            return self._own(name, found[0])
        if name not in self.variables:
            raise ValueError(f"no variable {name}: {found[0]}")
        value = self.variables[name]
        if isinstance(value, Everything):
            return value.text
        return formatted(value, found[2])

    def _own(self, name: str, whole: str) -> str:
        milliseconds = {
            "__from": round(self.since.timestamp() * 1000),
            "__to": round(self.until.timestamp() * 1000),
            "__interval_ms": round(seconds_of(self.interval) * 1000),
        }
        if name == "__interval":
            return self.interval
        if name not in milliseconds:
            raise ValueError(f"no such variable of Grafana's own: {whole}")
        return str(milliseconds[name])

    def _macro(self, found: re.Match[str]) -> str:
        name, arguments = found[1], [one.strip(" ") for one in found[2].split(",")]
        if name == "__timeGroup" and found.string[found.end() :].startswith(","):
            name = "__timeGroupAlias"
        since, until = (in_rfc3339(moment) for moment in (self.since, self.until))
        whole_since, whole_until = (int(moment.timestamp()) for moment in (self.since, self.until))
        if name in ("__timeFrom", "__timeTo"):
            return f"'{since if name == '__timeFrom' else until}'"
        if name in ("__unixEpochFrom", "__unixEpochTo"):
            return str(whole_since if name == "__unixEpochFrom" else whole_until)
        column = arguments[0]
        if not column:
            raise ValueError(f"a column is missing: {found[0]}")
        if name == "__time":
            return f'{column} AS "time"'
        if name == "__timeEpoch":
            return f'extract(epoch from {column}) as "time"'
        if name == "__timeFilter":
            return f"{column} BETWEEN '{since}' AND '{until}'"
        if name == "__unixEpochFilter":
            return f"{column} >= {whole_since} AND {column} <= {whole_until}"
        if name in ("__timeGroup", "__timeGroupAlias"):
            if len(arguments) < 2:
                raise ValueError(f"an interval is missing: {found[0]}")
            alias = ' AS "time"' if name == "__timeGroupAlias" else ""
            return self._bucket(column, seconds_of(arguments[1].strip("'"))) + alias
        raise ValueError(f"no macro of PostgreSQL's data source: {found[0]}")

    def _bucket(self, column: str, seconds: float) -> str:
        if self.timescale:
            return f"time_bucket('{seconds:.3f}s',{column})"
        return f"floor(extract(epoch from {column})/{seconds:g})*{seconds:g}"


def formatted(value: Value, form: str | None) -> str:
    """A value, or several, as ``${name:form}`` has it."""
    values = [value] if isinstance(value, str) else list(value)
    quoted = ["'" + one.replace("'", "''") + "'" for one in values]
    if form is None:
        # one value of a variable that can have only one is put in without quotes
        return value.replace("'", "''") if isinstance(value, str) else ",".join(quoted)
    forms = {
        "sqlstring": ",".join(quoted),
        "csv": ",".join(values),
        "raw": ",".join(values),
        "pipe": "|".join(values),
        "json": json.dumps(values if len(values) > 1 else values[0]),
        "singlequote": ",".join("'" + one.replace("'", "\\'") + "'" for one in values),
        "doublequote": ",".join('"' + one.replace('"', '\\"') + '"' for one in values),
    }
    if form not in forms:
        raise ValueError(f"no format {form}")
    return forms[form]


def in_rfc3339(moment: datetime) -> str:
    """As Go writes it: UTC, without zeros at the end of a fraction."""
    text = moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"


def seconds_of(interval: str) -> float:
    """The length of an interval such as ``5m``; raises ValueError for what is none."""
    found = re.fullmatch(r"(\d+)(ms|[smhdwy])", interval)
    if found is None:
        raise ValueError(f"no interval: {interval}")
    return int(found[1]) * _UNITS[found[2]]


def between(since: datetime, until: datetime, variables: Mapping[str, Value | Everything]) -> View:
    """A view with the interval of a panel of about a thousand points."""
    width = max((until - since) / 1000, timedelta(minutes=1))
    return View(since, until, variables, f"{int(width.total_seconds())}s")
