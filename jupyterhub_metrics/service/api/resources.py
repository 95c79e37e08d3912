"""What the API answers: each resource with its parameters, its columns, and how it is asked.

Called by ``handlers.api`` and :mod:`.openapi`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from . import asking, columns
from .asking import Answer, Question
from .columns import Column
from .parameters import (
    BY,
    CURSOR,
    FORMAT,
    GROUP,
    HUB,
    LIMIT,
    SEARCH,
    SERVER,
    SINCE,
    SORT,
    STEP,
    UNTIL,
    USER,
    ZONE,
    Parameter,
)


@dataclass(frozen=True)
class Resource:
    """One address under ``api/v1/``. ``single``: the answer is one object and not a list."""

    name: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    columns: tuple[Column, ...]
    ask: Callable[[Question], Awaitable[Answer]]
    single: bool = False


_PAGED: Final = (LIMIT, CURSOR, FORMAT)
_WINDOW: Final = (SINCE, UNTIL, ZONE)

RESOURCES: Final = (
    Resource(
        "me",
        "Who is asking",
        "Who the Hub says that you are, and what you may read.",
        (FORMAT,),
        columns.ME,
        asking.me,
        single=True,
    ),
    Resource(
        "sessions",
        "Sessions, newest first",
        "Sessions that overlap the window: your own, those of a group that you own, or, for "
        "operators, anyone's.",
        (USER, GROUP, HUB, SERVER, *_WINDOW, *_PAGED),
        columns.SESSIONS,
        asking.sessions,
    ),
    Resource(
        "running",
        "What starts or runs now, newest first",
        "Your own servers, those of a group that you own, or, for operators, anyone's.",
        (USER, GROUP, HUB, *_PAGED),
        columns.RUNNING,
        asking.running,
    ),
    Resource(
        "users",
        "Users with their usage",
        "For operators everyone who used something, or whose name holds `search`; for a group's "
        "owner, with `group`, who used something in it.",
        (GROUP, HUB, SEARCH, SORT, *_WINDOW, *_PAGED),
        columns.USERS,
        asking.users,
    ),
    Resource(
        "groups",
        "Groups with their usage, by name",
        "The groups whose usage you may read. A group has what its members used while they were in "
        "it; who is in several counts in each.",
        (HUB, *_WINDOW, *_PAGED),
        columns.GROUPS,
        asking.groups,
    ),
    Resource(
        "usage",
        "Usage by any dimension and time",
        "Usage of yourself, of a group that you own, or, for operators, of anyone or everyone, "
        "by bucket, Hub and value.",
        (BY, STEP, USER, GROUP, HUB, *_WINDOW, *_PAGED),
        columns.USAGE,
        asking.usage,
    ),
    Resource(
        "overasking",
        "What sessions asked for and used, by profile and image",
        "For operators: sessions that were measured, the most memory that nobody touched first.",
        (HUB, *_PAGED),
        columns.OVERASKING,
        asking.overasking,
    ),
)
