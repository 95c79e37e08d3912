"""Makes of the tests' TimescaleDB one whose licence is ``apache``. Called by ``engines.py``.

The licence is a setting that only a server's configuration may give, and this engine reads none:
no file, no argument, and later the extension refuses. So what changes is the default that is
compiled in: where the library takes the address of the text ``timescale`` for it, a copy of the
library takes that of ``apache``, which stands behind it. Everything else is the extension's own,
which then loads nothing of its other licence and refuses what belongs to that.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

_LIBRARY = "lib/postgresql/timescaledb-2.23.0-dev.so"
_TEXTS = b"\0timescale\0apache\0"

_REMEDY = "install the TimescaleDB of package.json, or look into the new one"

_CODE, _DATA = 10, 11
_END, _GLOBAL_GET, _STORE, _CONSTANT, _ADD = b"\x0b", b"\x23", b"\x36\x02\x00", b"\x41", b"\x6a"
_USES = {
    # what its variable holds at first
    "stored": _STORE,
    # with who may set it, a superuser, and no flags: what the setting is defined with
    "passed on": _CONSTANT + b"\x05" + _CONSTANT + b"\x00",
}
"""By what follows, where the address is taken as the default; elsewhere, it is compared with."""


def write_apache_archive(original: Path, copy: Path) -> None:
    """Write the extension's archive anew, with that licence.

    Raises ValueError if the library is not as expected.
    """
    with tarfile.open(original) as given, tarfile.open(copy, "w:gz", compresslevel=1) as made:
        if _LIBRARY not in given.getnames():
            raise ValueError(f"found no {_LIBRARY} in {original}; expected it; {_REMEDY}")
        for member in given:
            content = given.extractfile(member)
            assert content is not None, "only files are in it"
            data = content.read()
            if member.name == _LIBRARY:
                data = apache_by_default(data)
            made.addfile(member, io.BytesIO(data))


def apache_by_default(library: bytes) -> bytes:
    """The library, a WebAssembly module, with the other default; raises ValueError."""
    sections = _sections(library)
    code = library[sections[_CODE]]
    address = library.find(_TEXTS) + 1 - _start_of_data(library, sections[_DATA])
    apache = address + len(b"timescale\0")
    for use, follows in _USES.items():
        before, after = (_CONSTANT + _signed(one) + _ADD + follows for one in (address, apache))
        if code.count(before) != 1 or len(before) != len(after):
            raise ValueError(
                f"found the default licence {use} at {code.count(before)} places of {_LIBRARY}; "
                f"expected one; {_REMEDY}"
            )
        code = code.replace(before, after)
    at = sections[_CODE]
    return library[: at.start] + code + library[at.stop :]


def _sections(module: bytes) -> dict[int, slice]:
    """Where each section's content is, by its number; of those of ours there is one each."""
    found: dict[int, slice] = {}
    # behind the magic number and the version
    at = 8
    while at < len(module):
        number = module[at]
        length, start = _unsigned(module, at + 1)
        at = start + length
        found[number] = slice(start, at)
    return found


def _start_of_data(module: bytes, section: slice) -> int:
    """Where the one segment starts, from which addresses count: they follow a global."""
    count, at = _unsigned(module, section.start)
    kind, at = _unsigned(module, at)
    base = module[at : at + 1]
    _, at = _unsigned(module, at + 1)
    if (count, kind, base, module[at : at + 1]) != (1, 0, _GLOBAL_GET, _END):
        raise ValueError(
            f"found {count} segments of data in {_LIBRARY}; expected one, to be moved; {_REMEDY}"
        )
    _, at = _unsigned(module, at + 1)
    return at


def _unsigned(module: bytes, at: int) -> tuple[int, int]:
    """The LEB128 number there, and where it ends."""
    value = shift = 0
    while True:
        byte = module[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _signed(value: int) -> bytes:
    """The number as signed LEB128."""
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)
