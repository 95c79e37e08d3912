"""The secrets that the Hub and its service share, in files of mode 0600 in a folder of 0700.

JupyterHub keeps a service's ``environment`` in plain text in its database and shows command
lines to everyone, so secrets travel in files and are stable across restarts.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from .._private_files import write_private
from ..errors import ConfigurationError

GENERATED = ("events_token", "api_token", "cookie_secret", "metrics_token")


DSN_FILE = "dsn"


def ensure_secrets(data_dir: Path) -> dict[str, str]:
    """The secrets by name, made where they do not exist yet.

    Raises ConfigurationError when the folder cannot be made or written.
    """
    folder = data_dir / "secrets"
    try:
        # Others may pass through the data folder (the embedded server's own user), not look in.
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
        found = {name: _ensure(folder / name) for name in GENERATED}
    except OSError as error:
        raise ConfigurationError(
            f"found {error.strerror or error} at {error.filename or folder}; expected a folder "
            "that the Hub may write; set data_dir in setup(c, data_dir=...)"
        ) from error
    return found


def _ensure(file: Path) -> str:
    if file.exists():
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
        if secret := file.read_text(encoding="ascii").strip():
            return secret
    secret = secrets.token_hex(32)
    write_private(file, secret)
    return secret


def dsn_file(data_dir: Path) -> Path:
    """Where the service finds the database's address, if it has one of its own."""
    return data_dir / "secrets" / DSN_FILE


def write_dsn(data_dir: Path, dsn: str | None) -> None:
    """Write the address for the service, or remove an old one where there is none any more.

    Only for a Hub that really starts: other commands read the configuration too, perhaps in
    another environment, and must not move a running Hub to another database.
    """
    file = dsn_file(data_dir)
    if dsn is None:
        file.unlink(missing_ok=True)
    elif not file.exists() or file.read_text(encoding="utf-8") != dsn:
        write_private(file, dsn)
