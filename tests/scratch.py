"""Where tests put data folders and databases.

In memory where the machine has room for it there: a disk takes about a second to make and drop a
database of several hundred files, and what is lost in a power cut is only a test.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 << 30


def scratch_folder(prefix: str = "jhm-test-") -> Path:
    """A new folder with a short path that the embedded server's own account can pass through.

    Whoever asks for it removes it.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_base())).resolve()
    folder.chmod(0o711)
    return folder


def _base() -> str:
    usable = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    # a copy of PostgreSQL's programs may have to run in it
    if usable and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return str(_MEMORY)
    return "/tmp"
