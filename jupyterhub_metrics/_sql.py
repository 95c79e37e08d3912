"""Reads files of named SQL statements: blocks that each begin with ``-- name: NAME``.

Called by the Hub's outbox (SQLite) and by the store (PostgreSQL). Standard library only.
"""

from __future__ import annotations

import re

from . import _data
from .errors import ConfigurationError

_HEADER = re.compile(r"^--\s*name:\s*(\w+)\s*$", re.MULTILINE)


def parse_named(text: str) -> dict[str, str]:
    """The statements of one file by name, in the file's order.

    Raises ConfigurationError on a file without a name, or with the same name twice.
    """
    parts = _HEADER.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if not names:
        raise ConfigurationError("found a file of queries without '-- name:'; expected one a query")
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise ConfigurationError(f"found the query {min(doubled)} twice; expected each name once")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


def load_named(*parts: str) -> dict[str, str]:
    """The named statements of ``sql/<parts>``, a file or all ``*.sql`` of a folder."""
    found = _data.path("sql", *parts)
    files = sorted(found.glob("*.sql")) if found.is_dir() else [found]
    return parse_named("\n".join(file.read_text(encoding="utf-8") for file in files))
