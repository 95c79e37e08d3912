"""The parameters of the API: how each is read, and what the OpenAPI document says of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from ...errors import MetricsError
from ...model import MAX_NAME_CHARACTERS
from ...store import STEPS, USER_ORDERS, Step, Window
from ..periods import LONGEST, Month, in_zone, read_moment, read_zone

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_SEARCH_CHARACTERS: Final = 100
DIMENSIONS: Final = ("user", "group", "server", "profile", "image", "node", "hub")
FORMATS: Final = ("json", "csv")
LONGEST_BY_STEP: Final[Mapping[Step | None, timedelta]] = {
    "hour": timedelta(days=93),
    "day": timedelta(days=1100),
    "week": LONGEST,
    "month": LONGEST,
    None: LONGEST,
}


class BadRequest(MetricsError):
    """A question that cannot be answered; :attr:`field` names the parameter."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Parameter:
    """``read`` turns the text into a value and raises ValueError with what it found."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]


def _one_of(values: Iterable[str]) -> Callable[[str], str]:
    known = tuple(values)

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"found {text[:40]!r}; expected one of {', '.join(known)}")
        return text

    return read


def _name(text: str) -> str:
    if not 0 < len(text) <= MAX_NAME_CHARACTERS or "\0" in text:
        raise ValueError(f"found {len(text)} characters; expected 1 to {MAX_NAME_CHARACTERS}")
    return text


def _name_or_empty(text: str) -> str:
    return text and _name(text)


def _search(text: str) -> str:
    if len(text) > MAX_SEARCH_CHARACTERS or "\0" in text:
        raise ValueError(f"found {len(text)} characters; expected at most {MAX_SEARCH_CHARACTERS}")
    return text


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9) or not (
        1 <= int(text) <= MAX_LIMIT
    ):
        raise ValueError(f"found {text[:40]!r}; expected a number from 1 to {MAX_LIMIT}")
    return int(text)


def _cursor(text: str) -> str:
    return text


_TEXT: Final = {"type": "string"}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS}
_ORDERS: Final = tuple(f"{sign}{name}" for name in USER_ORDERS for sign in ("", "-"))

SINCE = Parameter(
    "since",
    "Beginning of the window, included: a day, which begins in `zone`, or a moment with its "
    "offset. Default: the first of this month.",
    {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]},
    read_moment,
)
UNTIL = Parameter(
    "until",
    "End of the window, not included. Default: now.",
    SINCE.schema,
    read_moment,
)
ZONE = Parameter(
    "zone",
    "IANA time zone in which days, weeks and months begin. Default: UTC.",
    {"type": "string", "examples": ["Europe/Berlin"]},
    read_zone,
)
USER = Parameter(
    "user", "Name of a user in the Hub. Default: yourself, or everyone for operators.", _NAME, _name
)
GROUP = Parameter("group", "Name of a group that you own; operators: any.", _NAME, _name)
SERVER = Parameter(
    "server",
    "Name of a server; empty: the default server. Default: all servers.",
    {"type": "string", "maxLength": MAX_NAME_CHARACTERS},
    _name_or_empty,
)
HUB = Parameter("hub", "Name of a Hub. Default: all that you may see.", _NAME, _name)
BY = Parameter(
    "by",
    "What to tell apart. Default: hub.",
    {"type": "string", "enum": list(DIMENSIONS)},
    _one_of(DIMENSIONS),
)
STEP = Parameter(
    "step",
    "Length of the buckets. Default: the whole window is one. By the hour, a window has at most 93 "
    "days; by the day, 1,100.",
    {"type": "string", "enum": list(STEPS)},
    _one_of(STEPS),
)
SEARCH = Parameter(
    "search",
    "A part of a name or e-mail; finds also those who used nothing.",
    {"type": "string", "maxLength": MAX_SEARCH_CHARACTERS},
    _search,
)
SORT = Parameter(
    "sort",
    "Column to sort by, with - for descending. Default: -seconds.",
    {"type": "string", "enum": list(_ORDERS)},
    _one_of(_ORDERS),
)
LIMIT = Parameter(
    "limit",
    f"Rows in an answer at most. Default: {DEFAULT_LIMIT}.",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
    _limit,
)
CURSOR = Parameter(
    "cursor", "Where to go on: `next` of the answer before, unchanged.", _TEXT, _cursor
)
FORMAT = Parameter(
    "format",
    "In place of an `Accept` header, which browsers do not let a link choose.",
    {"type": "string", "enum": list(FORMATS)},
    _one_of(FORMATS),
)


def read_arguments(
    parameters: Iterable[Parameter], given: Mapping[str, list[str]]
) -> dict[str, Any]:
    """The values by name; only those that were given. Raises BadRequest that names the first
    parameter which is unknown, given twice, or wrong."""
    known = {parameter.name: parameter for parameter in parameters}
    values = {}
    for name, texts in given.items():
        if name not in known:
            raise BadRequest(
                name[:100], f"found an unknown parameter; expected one of {', '.join(known)}"
            )
        if len(texts) != 1:
            raise BadRequest(name, f"found it {len(texts)} times; expected it once")
        try:
            values[name] = known[name].read(texts[0])
        except ValueError as error:
            raise BadRequest(name, str(error)) from None
    return values


def window_of(values: Mapping[str, Any], now: datetime) -> Window:
    """The window that the arguments describe. Raises BadRequest if it is reversed or too long."""
    zone = values.get("zone", "UTC")
    step: Step | None = values.get("step")
    until = _moment(values.get("until"), zone, now)
    # so that a window of the past alone needs no second argument
    default = Month.at(min(until, now), zone)
    since = _moment(values.get("since"), zone, default.since)
    if since >= until:
        field = "until" if "until" in values else "since"
        raise BadRequest(field, "found a window that ends before it begins; expected until > since")
    longest = LONGEST_BY_STEP[step]
    if until - since > longest:
        raise BadRequest(
            "since" if "since" in values else "until",
            f"found a window of {(until - since).days} days; expected at most {longest.days}"
            + (f" by the {step}" if step else ""),
        )
    return Window(since, until, zone, step)


def _moment(given: date | datetime | None, zone: str, default: datetime) -> datetime:
    return default if given is None else in_zone(given, zone)
