"""Reads a CSV of people: from the bytes of a file to rows, or to what is wrong with its lines.

Called by ``sources.users_command``. Pure; the columns stand in ``docs/people.md``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..errors import ConfigurationError
from ..model import MAX_NAME_CHARACTERS, PERSON_FIELDS

COLUMNS: Final = {
    "username": ("user_name", "user", "login"),
    "email": ("e_mail", "mail", "user_email", "e_mail_address", "email_address"),
    "full_name": ("fullname", "name", "display_name", "displayname"),
    "department": ("dept",),
    "job_title": ("jobtitle", "title", "position"),
}
"""Columns by name, each with the other names that it may have. Case does not matter, and a space
or a hyphen counts as an underscore."""

_DELIMITERS: Final = (",", ";", "\t")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_BYTE_ORDER_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class PersonRow:
    """One line: who it is of, and what it says by the columns that the file has.

    Without a ``username`` there is an e-mail. An empty cell is None: said to be unknown.
    """

    line: int
    username: str | None
    fields: dict[str, str | None]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a line: found, expected, remedy."""

    line: int
    message: str


@dataclass(frozen=True)
class PeopleFile:
    """``ignored`` are the columns that mean nothing here, ``encoding`` is how it was read."""

    rows: tuple[PersonRow, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[str, ...]
    encoding: str


def read_people(content: bytes) -> PeopleFile:
    """The rows of a CSV with a header, separated by commas, semicolons or tabs.

    UTF-8 or UTF-16 with a byte order mark, UTF-8 without, else Windows-1252. Raises
    ConfigurationError if it is not such a file at all; what is wrong with single lines is told.
    """
    text, encoding = _decoded(content)
    skipped, delimiter, body = _delimited(text)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True)
    header, rows, problems = None, [], []
    first_of: dict[str, int] = {}
    try:
        for line, cells in _lines(reader, skipped):
            if header is None:
                header = _header(cells)
                continue
            read = _row(line, cells, header)
            if isinstance(read, PersonRow):
                key = read.username or f"<{(read.fields['email'] or '').lower()}>"
                if key in first_of:
                    read = Problem(
                        line,
                        f"found {key.strip('<>')} again; expected once, as in line "
                        f"{first_of[key]}; remove one of the lines",
                    )
                else:
                    first_of[key] = line
            if isinstance(read, PersonRow):
                rows.append(read)
            else:
                problems.append(read)
    except csv.Error as error:
        problems.append(
            Problem(
                skipped + reader.line_num,
                f"found {error}; expected CSV; close the quotation marks, and double those within "
                "a cell",
            )
        )
    if header is None:
        raise ConfigurationError(
            "found an empty file; expected a line with the names of columns, then one for each "
            f"user; the columns are {', '.join(COLUMNS)}"
        )
    ignored = tuple(name for name in header if name not in COLUMNS)
    return PeopleFile(tuple(rows), tuple(problems), ignored, encoding)


def _decoded(content: bytes) -> tuple[str, str]:
    marked = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    for encoding in [marked] if marked else ["utf-8", "cp1252"]:
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise ConfigurationError(
        "found bytes that are neither UTF-8, UTF-16 nor Windows-1252; expected text; save the "
        "file as CSV UTF-8"
    )


def _delimited(text: str) -> tuple[int, str, str]:
    """How many lines to skip, what separates cells, and the rest of the text."""
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r"sep=(.)\r?", first, re.IGNORECASE)
    if told:
        # what spreadsheets write for one another
        return 1, told[1], rest
    return 0, max(_DELIMITERS, key=first.count), text


def _lines(reader: Iterator[list[str]], skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the number of the line that it begins in."""
    line = skipped + 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, [cell.strip() for cell in cells]
        line = skipped + reader.line_num + 1  # type: ignore[attr-defined]


def _header(cells: list[str]) -> list[str]:
    """The name of each column, ours where it is one of ours."""
    names = [_column(cell) for cell in cells]
    doubled = {name for name in names if name in COLUMNS and names.count(name) > 1}
    if doubled:
        raise ConfigurationError(
            f"found two columns for {min(doubled)}; expected one; rename or remove the other"
        )
    if "username" not in names and "email" not in names:
        shown = ", ".join(cell[:30] for cell in cells[:8])
        raise ConfigurationError(
            f"found the columns {shown}; expected username or email among them; name the columns "
            f"in the first line: {', '.join(COLUMNS)}"
        )
    return names


def _column(cell: str) -> str:
    name = re.sub(r"[\s-]+", "_", cell.strip().lower())
    return next((own for own, others in COLUMNS.items() if name in (own, *others)), cell)


def _row(line: int, cells: list[str], header: list[str]) -> PersonRow | Problem:
    if len(cells) != len(header):
        return Problem(
            line,
            f"found {len(cells)} cells; expected {len(header)} as in the first line; add what is "
            "missing, or quote the cell that holds a separator",
        )
    told = {name: cell or None for name, cell in zip(header, cells, strict=True)}
    for name in (column for column in COLUMNS if told.get(column)):
        wrong = _wrong(name, str(told[name]))
        if wrong:
            return Problem(line, wrong)
    username = told.get("username")
    if username is None and told.get("email") is None:
        wanted = "username" if "username" in header else "email"
        return Problem(line, f"found no {wanted}; expected one; fill the cell")
    fields: dict[str, str | None] = {name: told[name] for name in PERSON_FIELDS if name in header}
    return PersonRow(line, username, fields)


def _wrong(name: str, value: str) -> str | None:
    if len(value) > MAX_NAME_CHARACTERS:
        return (
            f"found {len(value)} characters in {name}; expected at most {MAX_NAME_CHARACTERS}; "
            "shorten it, or close a quotation mark before it"
        )
    if not value.isprintable():
        return f"found a control character in {name}; expected text in one line; remove it"
    if name == "email" and not _EMAIL.fullmatch(value):
        return f"found the email {value!r}; expected name@domain; correct it or empty the cell"
    return None
