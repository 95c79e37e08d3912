"""Several scrapes in a moment get the same answer."""

from __future__ import annotations

from jupyterhub_metrics.service.answers import MAX_KEPT, Answer, RecentAnswers


class Made:
    """Makes answers and counts them, at a time the test sets."""

    def __init__(self, max_age_seconds: float) -> None:
        self.now = 0.0
        self.count = 0
        self.recent = RecentAnswers(seconds=lambda: self.now)
        self.recent.max_age_seconds = max_age_seconds

    def ask(self, accept: str = "") -> bytes:
        def make() -> Answer:
            self.count += 1
            return f"{accept}{self.count}".encode(), {}

        return self.recent.get((accept, ""), make)[0]


def test_an_answer_serves_for_a_moment_those_who_ask_the_same() -> None:
    made = Made(1.0)
    assert made.ask() == made.ask() == b"1"
    assert made.ask("text") == b"text2"
    made.now = 0.9
    assert made.ask() == b"1"
    made.now = 1.0
    assert made.ask() == b"3"


def test_what_everybody_should_see_is_seen_at_once() -> None:
    made = Made(1.0)
    made.ask()
    made.recent.forget()
    assert made.ask() == b"2"


def test_without_a_moment_each_answer_is_made_anew() -> None:
    made = Made(0.0)
    assert [made.ask(), made.ask()] == [b"1", b"2"]


def test_callers_cannot_make_it_keep_more_and_more() -> None:
    made = Made(1.0)
    for number in range(3 * MAX_KEPT):
        made.ask(str(number))
    assert len(made.recent._kept) <= MAX_KEPT
