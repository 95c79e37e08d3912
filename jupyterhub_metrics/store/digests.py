"""By what contents of any length are found again in an index. Pure; called by the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

_BYTES: Final = 16


def digest(text: str) -> bytes:
    """16 bytes, the same for the same text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()


def digest_of(parts: Sequence[str | int | None]) -> bytes:
    """16 bytes, the same for the same parts; None is not the empty text."""
    return digest(json.dumps(parts))
