"""Files that nobody else may read: passwords, tokens, addresses of databases with their password.

Standard library only. No message carries what is in a file.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import ConfigurationError


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> None:
    """Replace the file in one step by one of mode 0600, so that a reader never sees half a secret.

    ``owner`` is the user's and group's id that get the file; without it, it is ours. Raises
    OSError.
    """
    # a file of a new name, for us alone whatever the umask, in the same file system
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            if owner is not None:
                os.fchown(descriptor, *owner)
            stream.flush()
            os.fsync(descriptor)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def read_secret(path: Path) -> str | None:
    """The text of a secret's file without surrounding space; None if there is no such file.

    Raises ConfigurationError if it cannot be read or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigurationError(
            f"found {path} unreadable ({reason}); expected a secret in it; "
            "correct its owner and mode"
        ) from None
    if not secret:
        raise ConfigurationError(
            f"found {path} empty; expected a secret in it; write it, or remove the file and start "
            "the Hub again"
        )
    return secret
