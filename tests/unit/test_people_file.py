"""A CSV of people: what is tolerated, and what is said of a line that is not."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.errors import ConfigurationError
from jupyterhub_metrics.sources.people_file import PersonRow, Problem, read_people

HEADER = "username,email,full_name,department,job_title\n"
ADA = PersonRow(
    2,
    "ada",
    {
        "email": "ada@uni.example",
        "full_name": "Ada Löwe",
        "department": "Mathematics",
        "job_title": None,
    },
)
TEXT = HEADER + "ada,ada@uni.example,Ada Löwe,Mathematics,\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("cp1252"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.rstrip("\n").encode(),
        (TEXT + "\n,,,,\n").encode(),
        TEXT.replace("username,email", "User Name, E-Mail ").encode(),
        TEXT.replace("full_name", "FULLNAME").replace("job_title", "jobTitle").encode(),
        TEXT.replace("Ada Löwe", '" Ada Löwe "').encode(),
    ],
    ids=lambda content: repr(content[:24]),
)
def test_what_spreadsheets_write_is_read(content: bytes) -> None:
    assert read_people(content).rows == (ADA,)


def test_the_line_that_names_the_separator_counts_as_a_line() -> None:
    read = read_people(b"sep=|\nusername|department\nada|Physics, applied\n\ngrace\n")
    assert read.rows == (PersonRow(3, "ada", {"department": "Physics, applied"}),)
    assert [problem.line for problem in read.problems] == [5]


def test_a_column_that_is_not_there_is_not_spoken_of() -> None:
    (row,) = read_people(b"username,department\nada,\n").rows
    assert row.fields == {"department": None}


def test_other_columns_are_named_and_ignored() -> None:
    read = read_people(b"fullname,email,GPU hours,last_seen\nAda,ada@uni,3,now\n")
    assert read.ignored == ("GPU hours", "last_seen")
    assert read.rows == (PersonRow(2, None, {"full_name": "Ada", "email": "ada@uni"}),)


def test_a_cell_over_several_lines_does_not_shift_the_numbers() -> None:
    read = read_people(b'username,note\nada,"two\nlines"\n\ngrace,x,y\n')
    assert [row.line for row in read.rows] == [2]
    assert [problem.line for problem in read.problems] == [5]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ada,a@b,Ada,Physics", "found 4 cells; expected 5"),
        ("ada,a@b,Love, lace,Physics,", "found 6 cells; expected 5"),
        (",a@,Ada,,", "found the email 'a@'; expected name@domain"),
        ("ada,nobody,,,", "found the email 'nobody'"),
        (",,Ada,Physics,", "found no username; expected one; fill the cell"),
        (f"ada,,{'x' * 256},,", "found 256 characters in full_name; expected at most 255"),
        ("ada,,A\x00da,,", "found a control character in full_name"),
        ('ada,,"Ada\nLovelace",,', "found a control character in full_name"),
        ("grace,,,,", "found grace again; expected once, as in line 2"),
        ('ada,,"Ada', "close the quotation marks"),
    ],
)
def test_a_bad_line_is_told_by_its_number(line: str, said: str) -> None:
    (problem,) = read_people(f"{HEADER}grace,,Grace,,\n{line}".encode()).problems
    assert problem.line == 3
    assert said in problem.message
    assert "\n" not in problem.message


def test_the_same_email_in_two_lines_without_names_is_told() -> None:
    assert read_people(b"email\nAda@uni\nada@uni\n").problems == (
        Problem(3, "found ada@uni again; expected once, as in line 2; remove one of the lines"),
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found an empty file"),
        (b"\n\n", "found an empty file"),
        (b"ada,Physics\ngrace,Chemistry\n", "found the columns ada, Physics; expected username"),
        (b"username,mail,email\n", "found two columns for email"),
        (b"username\n\x81\x8d\n", "neither UTF-8, UTF-16 nor Windows-1252"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_people(content)
    assert "\n" not in str(caught.value)


CELLS = st.text(max_size=20).filter(lambda text: text.isprintable() and text == text.strip())


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8), st.sampled_from(",;\t"))
def test_what_the_csv_module_writes_is_read_back(
    cells: list[tuple[str, str]], delimiter: str
) -> None:
    people = [(f"u{number}{name}", department) for number, (name, department) in enumerate(cells)]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["username", "department"])
    writer.writerows(people)
    read = read_people(text.getvalue().encode("utf-8-sig"))
    assert read.problems == ()
    assert [(row.username, row.fields["department"] or "") for row in read.rows] == people


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    try:
        read = read_people(content)
    except ConfigurationError:
        return
    assert all(row.username or row.fields["email"] for row in read.rows)
