"""Where the embedded PostgreSQL keeps what is its own.

The area is ``<data folder>/postgres`` and belongs to us; the cluster inside belongs to the account
that runs PostgreSQL. Folders that are not ours are never opened to anyone. Called by
:mod:`.embedded`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from .._private_files import write_private
from ..errors import ConfigurationError
from .account import Account

STATE_FOLDER = Path("/var/lib/jupyterhub-metrics")
SOCKET_NAME = ".s.PGSQL.5432"
_MAX_SOCKET_BYTES = 107
_PREFIX = "jhm-"
_LOG_BYTES = 1024 * 1024

log = logging.getLogger(__name__)


class Area:
    """The files of one embedded server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cluster = path / "cluster"
        self.log = path / "postgres.log"
        self._password = path / "password"
        self._socket_link = path / "socket"
        self._lock_file = path / "lock"
        self._lock: int | None = None

    @classmethod
    def existing(cls, data_dir: Path) -> Area | None:
        """The area of this data folder if a server was ever initialised there."""
        found = cls((data_dir / "postgres").resolve())
        return found if found.cluster.is_dir() else None

    @classmethod
    def of(cls, data_dir: Path, account: Account) -> Area:
        """The area of this data folder, made if it is missing.

        If the account cannot pass through the folders above (a home of mode 0700), the area lies
        under /var/lib and the data folder has a symbolic link to it.
        """
        if not data_dir.is_dir():
            data_dir.mkdir(parents=True)
            data_dir.chmod(0o711)
        link = data_dir / "postgres"
        if not link.is_symlink() and not link.exists() and not account.can_enter(data_dir):
            digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
            _make_passable(STATE_FOLDER)
            _make_passable(STATE_FOLDER / digest)
            log.info(
                "%s cannot be entered by the account that runs PostgreSQL; its files are in %s",
                data_dir,
                STATE_FOLDER / digest,
            )
            link.symlink_to(STATE_FOLDER / digest)
        path = link.resolve()
        _make_passable(path)
        if not account.can_enter(path):
            raise ConfigurationError(
                f"{path} cannot be entered by the account that runs PostgreSQL; open the folders "
                "above it to others (mode 711), or move it and leave a symbolic link"
            )
        return cls(path)

    def password(self) -> str:
        """The server's password, made at the first use and kept in a file of mode 0600."""
        with contextlib.suppress(FileNotFoundError):
            return self._password.read_text().strip()
        if self.cluster.exists():
            raise ConfigurationError(
                f"found no {self._password}; expected the password that {self.cluster} was made "
                "with; restore that file"
            )
        made = secrets.token_urlsafe(32)
        write_private(self._password, made + "\n")
        return made

    def make_socket_folder(self, account: Account) -> Path:
        """A new folder of mode 0700 for the socket; the one of a killed server is removed."""
        self.remove_socket_folder()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_socket_base(account)))
        account.owns(folder)
        self._socket_link.symlink_to(folder)
        return folder

    def remove_socket_folder(self) -> None:
        """Remove the socket's folder if it is there. A path in the link is believed only if it
        looks like one that was made here."""
        if not self._socket_link.is_symlink():
            return
        folder = self._socket_link.readlink()
        if folder.name.startswith(_PREFIX) and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        self._socket_link.unlink(missing_ok=True)

    def open_log(self) -> int:
        """A file descriptor that appends to the log; a log over 1 MiB is first put aside."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_name("postgres.log.1"))
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def lock(self, patience_seconds: float) -> None:
        """Become the only process that runs this server; waits for one that is just ending.

        Raises ConfigurationError, naming the process that holds it.
        """
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    await asyncio.sleep(0.05)
                    continue
                holder = os.read(descriptor, 32).decode().strip() or "another process"
                os.close(descriptor)
                raise ConfigurationError(
                    f"the embedded PostgreSQL of {self.path} is already run by process {holder}; "
                    "end that one first, or give this one another data folder"
                ) from None
            break
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _make_passable(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True)
        folder.chmod(0o711)


def _socket_base(account: Account) -> Path:
    """A folder for the socket's folder, short enough for the 107 bytes of a socket's path."""
    candidates = [Path("/run")] if os.geteuid() == 0 else []
    if os.environ.get("XDG_RUNTIME_DIR") and os.geteuid() != 0:
        candidates.append(Path(os.environ["XDG_RUNTIME_DIR"]))
    candidates.append(Path(tempfile.gettempdir()))
    # the last resort where TMPDIR is long; what is made in it is private
    candidates.append(Path("/tmp"))  # noqa: S108
    for base in candidates:
        longest = base / f"{_PREFIX}12345678" / SOCKET_NAME
        fits = len(os.fsencode(longest)) <= _MAX_SOCKET_BYTES
        if fits and os.access(base, os.W_OK | os.X_OK) and account.can_enter(base):
            return base
    raise ConfigurationError(
        f"found no folder for PostgreSQL's socket among {', '.join(map(str, candidates))}; "
        "expected a short one that can be written to; set TMPDIR to one"
    )
