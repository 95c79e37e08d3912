"""What PostgreSQL keeps of a password, so that the password itself is never sent to it.

Called by :mod:`.roles`. Pure. Format: https://www.postgresql.org/docs/current/catalog-pg-authid.html
(``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``), keys by RFC 5802, section 3.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

ITERATIONS: Final = 4096
"""What PostgreSQL itself uses, and what RFC 7677 asks for at least."""


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """The verifier of a password, which is printable ASCII.

    Other text would have to be prepared first (SASLprep, RFC 4013). Raises ValueError for it.
    """
    if not password or not password.isascii() or not password.isprintable():
        raise ValueError("found a password with other characters; expected printable ASCII")
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server_key = _hmac(salted, b"Server Key")
    return f"SCRAM-SHA-256${ITERATIONS}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
