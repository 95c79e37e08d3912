"""Whether people see one another's names or pseudonyms. Called by the API and the pages.

A person has the same pseudonym here as in the views of the database's pseudonymised reader.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from ..store import PseudonymKey, Reading
from .access import Viewer

PSEUDONYM_CHARACTERS: Final = 32
REMEMBERED_SECONDS: Final = 30.0


@dataclass
class Privacy:
    """``pseudonyms``: others are shown by 32 hexadecimal digits, the same for one database."""

    pseudonyms: bool
    _key: PseudonymKey | None = None
    _asked: Reading | None = None
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _asked_at: float | None = None

    async def learn(self, reading: Reading) -> None:
        """Asks for what pseudonyms are made with; to be awaited before anyone is shown.

        Raises DatabaseUnavailable.
        """
        if self.pseudonyms and self._asked is not reading:
            self._key = await reading.pseudonym_key()
            self._names, self._asked_at, self._asked = {}, None, reading

    def hides(self, viewer: Viewer, hub: str, username: str) -> bool:
        """Whether this viewer must not learn who that is; one's own name is never hidden."""
        return self.pseudonyms and not (hub == viewer.hub and username == viewer.username)

    def shown(self, viewer: Viewer, hub: str, username: str) -> str:
        """The name, or the pseudonym in its place."""
        return self._pseudonym(hub, username) if self.hides(viewer, hub, username) else username

    async def name_of(self, reading: Reading, viewer: Viewer, hub: str, shown: str) -> str | None:
        """The name of the user who is shown so; None for a pseudonym of nobody.

        Where pseudonyms are shown, nobody but oneself is found by the name.
        """
        if not self.hides(viewer, hub, shown):
            return shown
        if (hub, shown) not in self._names and self._old():
            users = await reading.usernames(viewer.hubs)
            self._names = {(of, self._pseudonym(of, name)): name for of, name in users}
            self._asked_at = monotonic()
        return self._names.get((hub, shown))

    def _old(self) -> bool:
        return self._asked_at is None or monotonic() - self._asked_at > REMEMBERED_SECONDS

    def _pseudonym(self, hub: str, username: str) -> str:
        """As ``sql/roles/pseudonymised.sql`` computes it."""
        if self._key is None:
            raise RuntimeError("found no key of pseudonyms; expected learn() to be awaited before")
        named = f"{hub}\x1f{username}".encode("utf-8", "surrogatepass")
        inner = hashlib.sha256(self._key.inner_pad + named).digest()
        return hashlib.sha256(self._key.outer_pad + inner).hexdigest()[:PSEUDONYM_CHARACTERS]
