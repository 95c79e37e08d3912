"""Turns series into what a scrape is answered with, in the format and coding it asks for. Pure.

Called by :mod:`.metrics`. Series that change only with a snapshot are rendered and compressed once
for each snapshot; a scrape renders the few others and puts the two together.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

MAX_FORMATS: Final = 4
"""Formats whose rendering is kept; callers can make up any number of them."""

_GZIP_LEVEL: Final = 5
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952: deflate, no name, no time, unknown system."""

_LAST_LINE: Final = b"# EOF\n"
"""What ends OpenMetrics, and so must not stand between two parts of an answer."""


class Series(Protocol):
    """Whatever gives families of series, such as a registry."""

    def collect(self) -> Iterable[Metric]: ...


Encoder = Callable[[Series], bytes]


@dataclass(frozen=True)
class _Kept:
    """One rendering, and the same compressed so that more can follow in the same stream."""

    plain: bytes
    deflated: bytes
    checksum: int

    @classmethod
    def of(cls, plain: bytes) -> _Kept:
        stream = _deflate()
        deflated = stream.compress(plain) + stream.flush(zlib.Z_FULL_FLUSH)
        return cls(plain, deflated, zlib.crc32(plain))


@dataclass(frozen=True)
class Rendered:
    """The families of one snapshot, and their renderings by content type."""

    families: Sequence[Metric]
    kept: dict[str, _Kept] = field(default_factory=dict)
    encoders: dict[str, Encoder] = field(default_factory=dict)

    def collect(self) -> Iterable[Metric]:
        return self.families

    def part(self, content_type: str, encode: Encoder) -> _Kept:
        """The rendering of that type, which is kept for the next scrape if there is room."""
        kept = self.kept.get(content_type)
        if kept is None:
            kept = _Kept.of(encode(self).removesuffix(_LAST_LINE))
            if len(self.kept) < MAX_FORMATS:
                self.kept[content_type] = kept
                self.encoders[content_type] = encode
        return kept

    def succeeded_by(self, families: Sequence[Metric]) -> Rendered:
        """The next snapshot, rendered for all who asked for this one."""
        successor = Rendered(families)
        for content_type, encode in list(self.encoders.items()):
            successor.part(content_type, encode)
        return successor


def answer(
    snapshot: Rendered, flow: Series, accept: str, accept_encoding: str
) -> tuple[bytes, dict[str, str]]:
    """All series in the format that ``accept`` asks for, and the headers that describe it."""
    encode, content_type = choose_encoder(accept)
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    first, second = snapshot.part(content_type, encode), encode(flow)
    if not _accepts_gzip(accept_encoding):
        return first.plain + second, headers
    headers["Content-Encoding"] = "gzip"
    return _gzipped(first, second), headers


def _gzipped(first: _Kept, second: bytes) -> bytes:
    """One gzip member of both: many readers stop after the first of several."""
    stream = _deflate()
    checksum = zlib.crc32(second, first.checksum)
    size = (len(first.plain) + len(second)) & 0xFFFFFFFF
    return b"".join(
        (
            _GZIP_HEADER,
            first.deflated,
            stream.compress(second),
            stream.flush(),
            struct.pack("<II", checksum, size),
        )
    )


def _deflate() -> zlib._Compress:
    return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _accepts_gzip(header: str) -> bool:
    for part in header.split(","):
        coding, _, parameters = part.strip().lower().partition(";")
        if coding.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
