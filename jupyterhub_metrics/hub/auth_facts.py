"""Who a user is, from the named fields of what the authenticator keeps (auth state).

Called by the recorder. Auth state holds tokens: nothing but the named fields is looked at, and a
value that is not short plain text of its kind is refused without being quoted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from ..model import MAX_NAME_CHARACTERS, PERSON_FIELDS

SECRET_NAMES: Final = re.compile(
    r"token|secret|passw|credential|private|cookie|session|jwt|api_?key", re.IGNORECASE
)
"""Names of fields that are not copied, whatever the configuration says."""

MAX_WORD_CHARACTERS: Final = 64
MAX_CODE_CHARACTERS: Final = 31
"""A word longer than this that has digits in it, outside of an e-mail, may be a token."""

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")


def usable_paths(configured: Mapping[str, str], log: logging.Logger) -> dict[str, str]:
    """The configured fields that may be copied; the others are left out with one line each."""
    usable = {}
    for name, path in configured.items():
        if name not in PERSON_FIELDS:
            _left_out(log, name, "an unknown name", f"one of {', '.join(PERSON_FIELDS)}")
        elif not path or SECRET_NAMES.search(path):
            _left_out(log, name, f"the field {path!r}", "a field that holds no secret")
        else:
            usable[name] = path
    return usable


def _left_out(log: logging.Logger, name: str, found: str, expected: str) -> None:
    log.warning(
        "MetricsRecorder.auth_state_facts[%r]: found %s; expected %s; it is not copied, correct it",
        name,
        found,
        expected,
    )


def read_person(auth_state: Any, paths: Mapping[str, str], log: logging.Logger) -> dict[str, str]:
    """The named fields that are there and hold what they should, by their names as facts.

    A path leads through objects by dots; a key that has dots itself is found too. A list of one
    text, as directories give it, is that text.
    """
    person = {}
    for name, path in paths.items():
        found = _at(auth_state, path)
        if isinstance(found, list | tuple) and len(found) == 1:
            found = found[0]
        if found in (None, ""):
            continue
        refusal = _refusal(name, found)
        if refusal:
            log.debug("Field %s of auth state: found %s; it is not copied", path, refusal)
        else:
            person[name] = found.strip()
    return person


def _at(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        return None
    if path in value:
        return value[path]
    # the longest key first: names of OpenID Connect claims are often addresses, with dots
    for dot in reversed([match.start() for match in re.finditer(r"\.", path)]):
        if path[:dot] in value:
            return _at(value[path[:dot]], path[dot + 1 :])
    return None


def _refusal(name: str, value: Any) -> str | None:
    """What speaks against copying the value, without the value; None if nothing does."""
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    text = value.strip()
    if not 0 < len(text) <= MAX_NAME_CHARACTERS or not text.isprintable():
        return f"{len(text)} characters, or some that cannot be shown"
    if name == "email":
        return None if _EMAIL.fullmatch(text) else "no e-mail"
    if any(_like_a_token(word) for word in text.split()):
        return "a word like a token"
    return None


def _like_a_token(word: str) -> bool:
    if "@" in word:
        return False
    coded = any(letter.isdigit() for letter in word)
    return len(word) > (MAX_CODE_CHARACTERS if coded else MAX_WORD_CHARACTERS)
