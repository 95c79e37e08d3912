"""Container image references, split by the OCI distribution grammar.

Called where facts enter the store. Pure; standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class ImageReference:
    """``name`` is everything before tag and digest: registry with its port, and path."""

    name: str
    tag: str | None = None
    digest: str | None = None

    @property
    def base(self) -> str:
        """The last part of the path, for example ``scipy-notebook``."""
        return self.name.rsplit("/", 1)[-1]


def parse_image(reference: str) -> ImageReference:
    """Split ``[registry[:port]/]path[:tag][@digest]``.

    A colon before the last slash belongs to the registry's port and never starts a tag. What
    does not fit the grammar stays part of the name, so nothing is lost. Grammar: distribution's
    reference package, https://pkg.go.dev/github.com/distribution/reference.
    """
    rest, digest = reference, None
    head, at, tail = reference.rpartition("@")
    if at and head and _DIGEST.fullmatch(tail):
        rest, digest = head, tail
    head, colon, tail = rest.rpartition(":")
    # an @ that is left is of a digest that does not fit; its colon starts no tag
    if colon and head and "@" not in head and "/" not in tail and _TAG.fullmatch(tail):
        return ImageReference(head, tail, digest)
    return ImageReference(rest, None, digest)
