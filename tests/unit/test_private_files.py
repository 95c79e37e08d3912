"""Writing a file that nobody else may read, and reading it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyterhub_metrics._private_files import read_secret, write_private


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_private_file_is_ours_alone_whatever_the_umask_and_the_old_mode(
    tmp_path: Path, open_umask: None
) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o644)
    write_private(path, "zoë\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text(encoding="utf-8") == "zoë\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_who_has_the_old_file_open_reads_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_private(path, "old")
    with path.open() as reader:
        write_private(path, "new")
        assert reader.read() == "old"
    assert read_secret(path) == "new"


def test_a_private_file_goes_to_the_owner_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # only root may really give a file away
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: given.append((uid, gid)))
    write_private(tmp_path / "token", "secret", owner=(1234, 5678))
    assert given == [(1234, 5678)]


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert list(tmp_path.iterdir()) == [path]
    assert read_secret(path) == "old"
