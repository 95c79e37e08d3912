"""Rows are read from a stream as PostgreSQL's COPY writes them, however the stream is cut."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.store.copying import parsed_rows

ESCAPES = {
    "\\": r"\\",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
}
"""What COPY TO writes for each of these characters, by its documentation."""

# no text of PostgreSQL's has a NUL or half a surrogate pair
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TRICKY = st.text(st.sampled_from("\\\b\f\n\r\t\vNbfnrtv.x"))
ROWS = st.lists(
    st.lists(st.none() | TEXTS | TRICKY, min_size=2, max_size=2), min_size=1, max_size=6
)


def written(row: Sequence[str | None]) -> bytes:
    fields = (
        r"\N" if value is None else "".join(ESCAPES.get(letter, letter) for letter in value)
        for value in row
    )
    return "\t".join(fields).encode() + b"\n"


@given(ROWS, st.integers(1, 9))
def test_every_value_comes_back(rows: list[list[str | None]], size: int) -> None:
    stream = b"".join(written(row) for row in rows)
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert list(parsed_rows(chunks)) == rows
