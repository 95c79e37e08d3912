"""The numbers of a chart: seconds by day of the few who used most, and of all others. Pure.

Called by the page handlers. The page carries them as JSON, which a script draws.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from markupsafe import Markup

from ..store import SecondsRow, UsageRow

MAX_SERIES: Final = 7
OTHERS: Final = "others"
NOT_KNOWN: Final = "not known"


@dataclass(frozen=True)
class Chart:
    """``series`` are hours by name, one for each of ``moments`` (beginnings of days)."""

    moments: tuple[datetime, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def json(self) -> Markup:
        """For a script element of type application/json: nothing in it can end that."""
        data = {
            "moments": [moment.timestamp() for moment in self.moments],
            "series": [{"name": name, "hours": hours} for name, hours in self.series],
        }
        text = json.dumps(data).replace("<", "\\u003c").replace("&", "\\u0026")
        return Markup(text)  # noqa: S704


def chart_of(
    rows: Sequence[UsageRow] | Sequence[SecondsRow],
    moments: Sequence[datetime],
    names: Mapping[str, str] | None = None,
) -> Chart:
    """``rows`` by bucket of ``moments`` and value; ``names`` are shown in place of values."""
    places = {moment: place for place, moment in enumerate(moments)}
    hours: dict[str, list[float]] = {}
    for row in rows:
        if row.bucket not in places:
            continue
        name = NOT_KNOWN if row.value is None else (names or {}).get(row.value, row.value)
        line = hours.setdefault(name, [0.0] * len(moments))
        line[places[row.bucket]] += row.seconds / 3600
    ordered = sorted(hours.items(), key=lambda item: (-sum(item[1]), item[0]))
    drawn = ordered[:MAX_SERIES]
    rest = ordered[MAX_SERIES:]
    if rest:
        drawn.append((OTHERS, [sum(values) for values in zip(*(h for _, h in rest), strict=True)]))
    return Chart(
        tuple(moments),
        tuple((name, tuple(round(value, 4) for value in values)) for name, values in drawn),
    )
