"""Turns rows of the view ``sessions`` into objects. Called by :mod:`.store` and :mod:`.reading`."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Final

import asyncpg

from ..model import Session

_SESSION_FIELDS: Final = tuple(field.name for field in fields(Session))


def session_of(row: asyncpg.Record) -> Session:
    """The session of a row that has at least the columns of ``sessions``."""
    values = {name: row[name] for name in _SESSION_FIELDS}
    values["groups"] = tuple(values["groups"] or ())
    values["user_options"] = json.loads(values["user_options"] or "{}")
    return Session(**values)
