"""KubeSpawner's two ways of turning a user's name into one that Kubernetes takes. Pure.

Called by :mod:`.user_families`. Pods, volume claims and home directories are named by them, and
dashboards join on them. The rules are those of KubeSpawner 7 (``kubespawner.slugs``, which uses
``escapism``); a test holds both equal to it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

MAX_USERNAME_CHARACTERS: Final = 48
"""What KubeSpawner allows for the name of a user in the name of a pod."""

_HASH_CHARACTERS: Final = 8
_SAFE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
_OBJECT_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_UNSAFE_RUN: Final = re.compile(r"[^a-z0-9]+")


def escaped(name: str) -> str:
    """The legacy scheme ``escape``: each other byte of UTF-8 as ``-`` and its number in hex."""
    return "".join(chr(byte) if byte in _SAFE else f"-{byte:x}" for byte in name.encode("utf-8"))


def safe(name: str) -> str:
    """The scheme ``safe``: the name itself where Kubernetes takes it, else a part and a hash."""
    if "--" not in name and len(name) <= MAX_USERNAME_CHARACTERS and _OBJECT_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:_HASH_CHARACTERS]
    # three hyphens, of which the shortened name holds never two in a row
    return f"{_shortened(name, MAX_USERNAME_CHARACTERS - _HASH_CHARACTERS - 3)}---{digest}"


def _shortened(name: str, characters: int) -> str:
    kept = _UNSAFE_RUN.sub("-", name.lower()).lstrip("-")[:characters].rstrip("-")
    if kept and not kept[0].isalpha():
        kept = f"x-{kept[: characters - 2]}"
    return kept or "x"
