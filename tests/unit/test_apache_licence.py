"""Only a library that takes its default licence as the known one does is changed."""

from __future__ import annotations

import pytest
from apache_licence import apache_by_default

ADDRESS = 0x1A24
TEXTS = b"\0timescale\0apache\0"
STORED = b"\x41\xa4\x34\x6a\x36\x02\x00"
PASSED_ON = b"\x41\xa4\x34\x6a\x41\x05\x41\x00"
COMPARED = b"\x41\xa4\x34\x6a\x10\x61"


def section(number: int, content: bytes) -> bytes:
    length = len(content)
    return bytes([number, length & 0x7F | 0x80, length >> 7]) + content


def library(code: bytes, texts: bytes = TEXTS) -> bytes:
    """A module of that code, with the texts where the code looks for them."""
    data = bytes(ADDRESS - 1) + texts + b"more"
    segment = b"\x01\x00\x23\x00\x0b" + bytes([len(data) & 0x7F | 0x80, len(data) >> 7]) + data
    return b"\0asm\1\0\0\0" + section(2, b"imports") + section(10, code) + section(11, segment)


def test_the_default_becomes_apache_and_comparisons_stay() -> None:
    changed = apache_by_default(library(STORED + COMPARED + PASSED_ON))
    apache = b"\x41\xae\x34"
    assert changed == library(apache + STORED[3:] + COMPARED + apache + PASSED_ON[3:])


@pytest.mark.parametrize(
    "other",
    [
        library(STORED + COMPARED),
        library(PASSED_ON),
        library(STORED + STORED + PASSED_ON),
        library(STORED + PASSED_ON, texts=b"\0timescale\0another\0"),
    ],
    ids=["not passed on", "not stored", "stored twice", "no apache"],
)
def test_another_library_is_refused_in_one_line(other: bytes) -> None:
    with pytest.raises(ValueError, match=r"^found the default licence .*; install .*") as refused:
        apache_by_default(other)
    assert "\n" not in str(refused.value)
