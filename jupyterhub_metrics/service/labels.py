"""Makes any text fit to be the value of a Prometheus label. Pure.

Called by :mod:`.metrics`, :mod:`.present_families` and :mod:`.session_flow`.
"""

from __future__ import annotations

import hashlib
from typing import Final

MAX_LABEL_CHARACTERS: Final = 256
"""Longer values are cut; a user's name, at most 255 characters, never is."""

_DIGEST_CHARACTERS: Final = 16


def label_value(text: str | None) -> str:
    """The text in at most 256 characters that UTF-8 can hold; unknown is empty, which is absent.

    A longer one ends in an ellipsis and a digest of the whole, so that two that differ stay two.
    Quotes and line ends stay: the exposition formats escape them.
    """
    if text is None:
        return ""
    readable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(readable) <= MAX_LABEL_CHARACTERS:
        return readable
    digest = hashlib.sha256(readable.encode("utf-8")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{readable[: MAX_LABEL_CHARACTERS - _DIGEST_CHARACTERS - 1]}…{digest}"
