"""What a further start of the demo adds to the past that is already there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from jupyterhub_metrics.demo.fill import lacking, together
from jupyterhub_metrics.demo.folder import DemoFolder, Filled
from jupyterhub_metrics.demo.history import SimulatedSession, history
from jupyterhub_metrics.errors import ConfigurationError

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=timezone.utc)
WANTED = Filled(seed=1, users=8, since=NOW - timedelta(days=20), until=NOW)


def whole(past: Filled) -> list[SimulatedSession]:
    return list(history(seed=past.seed, user_count=past.users, since=past.since, until=past.until))


@pytest.mark.parametrize(
    "filled",
    [
        None,
        WANTED,
        replace(WANTED, until=NOW - timedelta(days=3)),
        replace(WANTED, since=NOW - timedelta(days=5)),
        replace(WANTED, since=NOW - timedelta(days=9), until=NOW - timedelta(days=3)),
        replace(WANTED, users=3),
        replace(WANTED, users=30),
        Filled(1, 8, NOW - timedelta(days=400), NOW - timedelta(days=300)),
    ],
)
def test_what_is_there_and_what_is_sent_make_the_wanted_past(filled: Filled | None) -> None:
    there = whole(filled) if filled else []
    sent = list(lacking(WANTED, filled))
    assert all(session in there or session in sent for session in whole(WANTED))
    noted = together(WANTED, filled)
    assert all(session in there or session in sent for session in whole(noted))


def test_nothing_is_sent_twice_to_a_past_that_only_grows() -> None:
    earlier = replace(WANTED, until=NOW - timedelta(days=3))
    sent = list(lacking(WANTED, earlier))
    assert sent
    assert not [session for session in sent if session in whole(earlier)]


def test_another_seed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--seed 7"):
        lacking(WANTED, replace(WANTED, seed=7))


def test_the_folder_remembers_what_is_filled(tmp_path: Path) -> None:
    folder = DemoFolder(tmp_path / "demo")
    folder.open()
    assert folder.filled() is None
    folder.note_filled(WANTED)
    assert folder.filled() == WANTED


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"seed": 1, "users": 2, "since": 3}'])
def test_a_damaged_note_costs_only_time(text: str, tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text(text)
    assert DemoFolder(tmp_path).filled() is None


def test_the_password_is_private_and_stays(tmp_path: Path) -> None:
    password = DemoFolder(tmp_path).password()
    assert len(password) >= 16
    assert DemoFolder(tmp_path).password() == password
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot be used .*--data"):
        DemoFolder(tmp_path / "file" / "demo").open()
