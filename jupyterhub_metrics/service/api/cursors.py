"""Cursors: where an answer ended, closed, and bound to the question that it answered. Pure.

Closed, because a place names sessions and users whom the reader may know by pseudonyms alone. The
signature is the nonce of the stream that hides the place, as in SIV (RFC 5297): the same place of
the same question is the same cursor, and nothing else can be learned from it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from .parameters import BadRequest

MAX_CURSOR_CHARACTERS: Final = 2000
_SIGNATURE_BYTES: Final = 16
_NOT_BOUND: Final = ("cursor", "limit", "format")


class Cursors:
    """``secret`` signs and hides; cursors of another secret are refused."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha256(b"jupyterhub-metrics cursor\0" + secret).digest()
        self._hiding_key = hashlib.sha256(b"jupyterhub-metrics cursor place\0" + secret).digest()

    def write(self, resource: str, question: Mapping[str, str], place: list[Any]) -> str:
        """Text that :meth:`read` turns back into ``place``, for the same question only."""
        body = json.dumps(place, separators=(",", ":")).encode()
        signature = self._sign(resource, question, body)
        signed = signature + self._hidden(signature, body)
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")

    def read(self, resource: str, question: Mapping[str, str], text: str) -> list[Any]:
        """Where to go on. Raises BadRequest for what was not written for this question."""
        try:
            if len(text) > MAX_CURSOR_CHARACTERS:
                raise ValueError(text)
            signed = base64.b64decode(
                text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
            )
            signature = signed[:_SIGNATURE_BYTES]
            body = self._hidden(signature, signed[_SIGNATURE_BYTES:])
            expected = self._sign(resource, question, body)
            if not hmac.compare_digest(signature, expected):
                raise ValueError(text)
        except (ValueError, binascii.Error):
            raise BadRequest(
                "cursor", "found no cursor of this question; expected next of the answer before"
            ) from None
        place: list[Any] = json.loads(body)
        return place

    def _hidden(self, signature: bytes, body: bytes) -> bytes:
        """The body under the stream that belongs to its signature; applied twice, the body."""
        blocks = (
            hmac.new(self._hiding_key, signature + number.to_bytes(4, "big"), hashlib.sha256)
            for number in range(-(-len(body) // hashlib.sha256().digest_size))
        )
        stream = b"".join(block.digest() for block in blocks)
        return bytes(one ^ other for one, other in zip(body, stream, strict=False))

    def _sign(self, resource: str, question: Mapping[str, str], body: bytes) -> bytes:
        bound = {key: value for key, value in question.items() if key not in _NOT_BOUND}
        asked = json.dumps([resource, sorted(bound.items())], separators=(",", ":")).encode()
        message = hashlib.sha256(asked).digest() + body
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
