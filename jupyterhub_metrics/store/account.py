"""The system account that the embedded PostgreSQL runs as.

PostgreSQL refuses to run as root, and a Hub often is root; then a dedicated account runs it. A
Hub that is a normal user runs it as itself. Called by :mod:`.embedded` and :mod:`.programs`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..errors import ConfigurationError

ACCOUNT_NAME = "jupyterhub-metrics"
_NO_DSN = "or give a database by JUPYTERHUB_METRICS_DSN"


class Identity(TypedDict, total=False):
    """What ``subprocess`` takes to start a program as someone else."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """Who runs PostgreSQL; ``identity`` is empty if that is who we are already."""

    uid: int
    gid: int
    identity: Identity

    def owns(self, path: Path) -> None:
        """Give a file or folder of ours to the account."""
        if self.identity:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account can pass through every folder down to this one.

        Asked of the kernel by trying it, so that access lists and mount options count too.
        """
        if not self.identity:
            return True
        tried = subprocess.run(
            ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)],
            cwd="/",
            capture_output=True,
            check=False,
            **self.identity,
        )
        return tried.returncode == 0


def server_account() -> Account:
    """Ourselves, or the dedicated account if we are root; it is created if there is none.

    Raises ConfigurationError if it cannot be created.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), {})
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        entry = _created()
    identity: Identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return Account(entry.pw_uid, entry.pw_gid, identity)


def _created() -> pwd.struct_passwd:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    complaint = "no useradd program"
    if useradd is not None:
        arguments = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        made = subprocess.run(
            [useradd, *arguments, ACCOUNT_NAME], capture_output=True, text=True, check=False
        )
        complaint = made.stderr.strip().replace("\n", " ") or f"exit status {made.returncode}"
    try:
        # looked up whatever useradd said: another process may have been faster
        return pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        raise ConfigurationError(
            f"PostgreSQL does not run as root and the account {ACCOUNT_NAME} could not be created "
            f"({complaint}); create that system account, {_NO_DSN}"
        ) from None
