"""Progress is one line on a terminal, and a line for each ten percent elsewhere."""

from __future__ import annotations

import io

import pytest

from jupyterhub_metrics.store.progress import Progress, beginning_on


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_ten_percent_is_a_line_where_lines_are_kept() -> None:
    kept = io.StringIO()
    advance = beginning_on(kept)("restore", 1000)
    for _ in range(1000):
        advance(1)
    assert kept.getvalue().splitlines() == [f"restore: {n} %" for n in range(10, 101, 10)]


def test_a_terminal_has_one_line_that_is_written_over_a_few_times_a_second() -> None:
    now = [0.0]
    terminal = Terminal()
    progress = Progress("verify", 100, terminal, lambda: now[0])
    for _ in range(100):
        now[0] += 0.1
        progress.advance(1)
    told = terminal.getvalue()
    assert told.count("\n") == 1
    assert told.endswith("\rverify: 100 %\n")
    assert 30 <= told.count("\r") <= 51


def test_what_is_longer_than_was_thought_stays_at_the_end() -> None:
    kept = io.StringIO()
    advance = beginning_on(kept)("backup", 10)
    advance(10)
    advance(5)
    assert kept.getvalue().splitlines() == ["backup: 100 %"]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_nothing_is_said_of_what_has_no_length(stream: io.StringIO) -> None:
    beginning_on(stream)("backup", 0)(0)
    assert stream.getvalue() == ""
