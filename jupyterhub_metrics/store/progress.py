"""How far something long has come, on standard error. Called by the command line.

On a terminal one line that is written over; elsewhere, where lines are kept, one for each ten
percent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TextIO

_REFRESH_SECONDS: Final = 0.2


class Progress:
    """One thing that is ``total`` long, in whatever unit its ``advance`` is told.

    ``label`` says what is done. Nothing is said of what has no length.
    """

    def __init__(
        self,
        label: str,
        total: int,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._total = total
        self._stream = stream
        self._clock = clock
        self._on_terminal = stream.isatty()
        self._done = 0
        self._said_percent = 0
        self._said_at = clock()

    def advance(self, amount: int) -> None:
        """So much more is done."""
        self._done += amount
        if self._total <= 0:
            return
        percent = min(100, 100 * self._done // self._total)
        if self._on_terminal:
            now = self._clock()
            if percent == self._said_percent or (
                percent < 100 and now - self._said_at < _REFRESH_SECONDS
            ):
                return
            self._said_at = now
            self._say(f"\r{self._label}: {percent} %" + ("\n" if percent == 100 else ""))
        else:
            percent -= percent % 10
            if percent == self._said_percent:
                return
            self._say(f"{self._label}: {percent} %\n")
        self._said_percent = percent

    def _say(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


Begin = Callable[[str, int], Callable[[int], None]]
"""Called with what begins and how long it is; gives what is told how much more of it is done."""


def beginning_on(stream: TextIO) -> Begin:
    """Progress on this stream."""
    return lambda label, total: Progress(label, total, stream).advance
