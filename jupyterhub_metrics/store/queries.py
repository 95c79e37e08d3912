"""The named statements of ``sql/queries/``. Called by every part of the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache

import asyncpg

from .._sql import load_named

Fetch = Callable[..., Awaitable[Sequence[asyncpg.Record]]]
"""Executes the statement of a name with these values; gives its rows."""


@lru_cache(maxsize=1)
def all_queries() -> Mapping[str, str]:
    """Every statement by its name. Read once."""
    return load_named("queries")


def query(name: str) -> str:
    """The statement of this name; raises KeyError if there is none."""
    return all_queries()[name]


def statement_names() -> dict[str, str]:
    """The name of each statement by its text, as a log of what was executed has it."""
    return {text: name for name, text in all_queries().items()}
