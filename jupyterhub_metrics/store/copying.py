"""Fills a table from its stream in a backup. Called by :mod:`.restore`.

The stream is in the text format of PostgreSQL's COPY, so the server reads it by itself. One that
cannot be sent rows by COPY gets the same values in arrays.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import asyncpg

from .tables import Table

_ROWS_AT_ONCE: Final = 5_000
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_MEANT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


async def copy_into(
    connection: asyncpg.Connection,
    table: Table,
    chunks: Iterable[bytes],
    advance: Callable[[int], None],
) -> None:
    """By COPY; tells how many rows more were sent."""

    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
            advance(chunk.count(b"\n"))

    await connection.copy_to_table(
        table.name, schema_name=table.namespace, columns=table.columns, source=source()
    )


async def insert_into(
    connection: asyncpg.Connection,
    table: Table,
    chunks: Iterable[bytes],
    advance: Callable[[int], None],
) -> None:
    """By INSERT; tells how many rows more were inserted."""
    rows = parsed_rows(chunks)
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        columns = [list(column) for column in zip(*batch, strict=True)]
        await connection.execute(table.insert_statement, *columns)
        advance(len(batch))


def parsed_rows(chunks: Iterable[bytes]) -> Iterator[Sequence[str | None]]:
    """The values of each row as text, None for NULL."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield [_value(field) for field in line.decode().split("\t")]


def _value(field: str) -> str | None:
    if field == r"\N":
        return None
    if "\\" not in field:
        return field
    return _ESCAPED.sub(lambda match: _MEANT.get(match[1], match[1]), field)
