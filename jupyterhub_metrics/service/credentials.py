"""Reads the secrets that ``hub.setup`` has left in files, and compares them in constant time.

Called by ``service.app`` and the handlers. No message carries a secret.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path

from .._private_files import read_secret
from ..errors import ConfigurationError

MIN_TOKEN_CHARACTERS = 16


def read_token(path: Path) -> str | None:
    """Like ``read_secret``, for one that a caller presents: too short a one is refused."""
    token = read_secret(path)
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        raise ConfigurationError(
            f"found {len(token)} characters in {path}; expected at least {MIN_TOKEN_CHARACTERS}; "
            "write a longer random secret into it"
        )
    return token


def read_key(path: Path) -> bytes | None:
    """The bytes that a file holds as hexadecimal text; None if there is no such file.

    Raises ConfigurationError if it holds something else.
    """
    text = read_secret(path)
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigurationError(
            f"found something else than hexadecimal text in {path}; expected 64 digits; "
            "remove it and start the Hub again"
        ) from None


def api_token(data_dir: Path, environment: Mapping[str, str]) -> str | None:
    """The service's own token for the Hub's API; None if it has none.

    The Hub hands it over in the environment; a service that runs on its own reads it from
    ``secrets/api_token``. Raises ConfigurationError if that cannot be read.
    """
    return environment.get("JUPYTERHUB_API_TOKEN") or read_secret(
        data_dir / "secrets" / "api_token"
    )


def same(found: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(found.encode("utf-8", "replace"), expected.encode("utf-8"))


class HubSecrets:
    """Which Hub a secret belongs to: each is bound to one Hub's name."""

    def __init__(self, token_by_hub: Mapping[str, str]) -> None:
        """Raises ConfigurationError if two Hubs share one secret."""
        if len(set(token_by_hub.values())) < len(token_by_hub):
            raise ConfigurationError(
                "found one secret given to two Hubs; expected one for each; "
                "correct MetricsService.hub_token_files"
            )
        self._token_by_hub = dict(token_by_hub)

    @property
    def hubs(self) -> tuple[str, ...]:
        """The names of all Hubs."""
        return tuple(self._token_by_hub)

    def hub_of(self, token: str) -> str | None:
        """The name of the Hub that ``token`` belongs to, or None; compares with all of them."""
        found = None
        for hub, expected in self._token_by_hub.items():
            if same(token, expected):
                found = hub
        return found


def bearer(header: str) -> str | None:
    """The token of an ``Authorization: Bearer`` header (RFC 6750), or None."""
    scheme, _, token = header.partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token else None
