"""The demo's folder: what one start leaves for the next.

``password`` (0600), ``history.json`` (what has been simulated), ``hub.log``, the Hub's own files,
``homes/`` and the metrics' data folder. Called by :mod:`.running` and :mod:`.fill`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from .._private_files import write_private
from ..errors import ConfigurationError
from ..model import isoformat, moment_of


@dataclass(frozen=True)
class Filled:
    """The past that is in the database: of how many users, from one seed, in ``[since, until]``."""

    seed: int
    users: int
    since: datetime
    until: datetime


class DemoFolder:
    """One demo's folder, held by one running demo at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.log = self.path / "hub.log"
        self.data_dir = self.path / "jupyterhub-metrics"
        self.events_token = self.data_dir / "secrets" / "events_token"
        self._history = self.path / "history.json"
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder if it is missing and take its lock until this process ends.

        Raises ConfigurationError if it cannot be written to, or another demo runs in it.
        """
        try:
            for folder in (self.path, self.data_dir):
                if not folder.is_dir():
                    folder.mkdir(parents=True)
                    # when we are root, the embedded PostgreSQL passes through as another account
                    folder.chmod(0o711)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"{self.path} is in use by a running demo; end it, or name another with --data"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be used ({error.strerror}); name another with --data"
            ) from None

    def password(self) -> str:
        """The password of every login, made at the first start and kept."""
        file = self.path / "password"
        if file.is_file() and (kept := file.read_text().strip()):
            return kept
        made = secrets.token_urlsafe(12)
        write_private(file, made + "\n")
        return made

    def filled(self) -> Filled | None:
        """What earlier starts have simulated completely; None if nothing, or nothing readable."""
        try:
            raw = json.loads(self._history.read_text())
            since, until = moment_of(raw["since"]), moment_of(raw["until"])
            return Filled(int(raw["seed"]), int(raw["users"]), since, until)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            # sending the past once more changes nothing, so a lost note costs only time
            return None

    def note_filled(self, filled: Filled) -> None:
        values = asdict(filled)
        values.update(since=isoformat(filled.since), until=isoformat(filled.until))
        write_private(self._history, json.dumps(values) + "\n")

    def last_log_line(self) -> str:
        """The last line of the Hub's log, to say why the Hub ended."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1].strip()[:300] if lines else ""
