"""Small files of the kernel, read again and again. Standard library only.

A file that is kept open is read with one system call, which makes reading hundreds of them each
second cheap. The kernel makes its content anew at each reading from the start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_READ_BYTES = 65_536


def read_text(path: Path | str) -> str | None:
    """The text of a file; None if it is not there or cannot be read."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - a Path costs as much as the reading
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return None


def read_number(path: Path | str) -> float | None:
    """The number that is all of a file; None if there is none."""
    return number(read_text(path))


def number(text: str | None) -> float | None:
    """The number that is all of a text, ``max`` being none; None if it is no number."""
    try:
        return float(int(text)) if text is not None else None
    except ValueError:
        return None


def numbers(text: str | None, names: Iterable[str]) -> dict[str, float]:
    """The numbers of those lines ``name number`` whose name is wanted; no other is parsed."""
    if not text:
        return {}
    found = {}
    lines = f"\n{text}\n"
    for name in names:
        place = lines.find(f"\n{name} ")
        if place >= 0:
            begins = place + len(name) + 2
            value = number(lines[begins : lines.index("\n", begins)])
            if value is not None:
                found[name] = value
    return found


class OpenFiles:
    """The files of one folder, each kept open once it was read. ``close`` lets all of them go."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._opened: dict[str, int] = {}
        self._lacking: set[str] = set()

    def read(self, name: str) -> str | None:
        """The text of a file; None if it is not there or cannot be read.

        A file that was not there at the first reading is not looked for again. One whose folder
        went away meanwhile gives None, also if there is a new folder of that name.
        """
        if name in self._lacking:
            return None
        opened = self._opened.get(name)
        try:
            if opened is None:
                opened = os.open(f"{self._folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                self._opened[name] = opened
            parts = [os.pread(opened, _READ_BYTES, 0)]
            # whatever is longer comes in pieces of one reading
            while parts[-1] and len(parts[-1]) >= 4096:
                parts.append(os.pread(opened, _READ_BYTES, sum(map(len, parts))))
            return b"".join(parts).decode("utf-8", "replace")
        except FileNotFoundError:
            self._lacking.add(name)
            return None
        except OSError:
            return None

    def close(self) -> None:
        """Close all files; reading one opens it again."""
        for opened in self._opened.values():
            os.close(opened)
        self._opened.clear()
        self._lacking.clear()
