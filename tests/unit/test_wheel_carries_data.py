"""What is not Python reaches an installed wheel, and a checkout's own files win over it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from jupyterhub_metrics import _data

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = next(iter(WheelBuilder(str(CHECKOUT)).build(directory=str(folder))))
    return zipfile.Path(built)


def tracked_files(folder: str) -> list[str]:
    return sorted(
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / folder).rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".pyc"
    )


@pytest.mark.parametrize("folder", ["sql", "share", "grafana"])
def test_a_wheel_carries_every_file_of(folder: str, wheel: zipfile.Path) -> None:
    names = set(wheel.root.namelist())
    missing = [
        name for name in tracked_files(folder) if f"jupyterhub_metrics/_assets/{name}" not in names
    ]
    assert missing == []


def test_an_installed_wheel_finds_its_own_copies(wheel: zipfile.Path, tmp_path: Path) -> None:
    wheel.root.extractall(tmp_path)
    found = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            "import sys; sys.path.insert(0, sys.argv[1]);"
            "from jupyterhub_metrics import _data; print(_data.path('sql', 'migrations'))",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert Path(found) == tmp_path / "jupyterhub_metrics" / "_assets" / "sql" / "migrations"


def test_a_checkout_finds_its_own_files_first() -> None:
    assert _data.path("sql", "migrations") == CHECKOUT / "sql" / "migrations"


def test_an_incomplete_installation_says_where_it_looked() -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such-file.*reinstall"):
        _data.path("sql", "no-such-file")
