"""The file of a backup: a zip of one stream for each table, and a manifest that says what they are.

The format is described in ``docs/backup.md``. Nothing here speaks to a database. Called by
:mod:`.backup` and :mod:`.restore`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ..errors import BackupRefused
from ..model import isoformat, moment_of

FORMAT: Final = "jupyterhub-metrics backup"
FORMAT_VERSION: Final = 1
_MANIFEST: Final = "manifest.json"
_CHUNK_BYTES: Final = 1 << 20
_LEVEL: Final = 1
"""Of zlib: higher ones take several times as long for a tenth less."""


@dataclass(frozen=True)
class TableStream:
    """One table: its columns in the order of the stream, the exact number of rows, and length and
    SHA-256 of the stream before it was compressed."""

    name: str
    columns: Sequence[str]
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class AppliedMigration:
    """A migration that the database had; ``dialect`` is None for one that is for all engines."""

    version: int
    name: str
    checksum: str
    dialect: str | None


@dataclass(frozen=True)
class Manifest:
    """What is in a backup. ``months`` are those (UTC) in which events are filed, which a database
    with partitions needs to know before it takes them."""

    made_at: datetime
    made_by: str
    server: str
    migrations: Sequence[AppliedMigration]
    hubs: Sequence[str]
    months: Sequence[datetime]
    tables: Sequence[TableStream]

    @property
    def bytes(self) -> int:
        """All streams together."""
        return sum(table.bytes for table in self.tables)

    @property
    def rows(self) -> int:
        """All tables together."""
        return sum(table.rows for table in self.tables)

    def to_json(self) -> str:
        body = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **asdict(self),
            "made_at": isoformat(self.made_at),
            "months": [isoformat(month) for month in self.months],
        }
        return json.dumps(body, indent=1)


class Tally:
    """Counts what passes through: rows, bytes and their SHA-256."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self._sha256 = hashlib.sha256()

    def add(self, data: bytes) -> None:
        # in a stream a line feed ends a row, those inside of values are escaped
        self.rows += data.count(b"\n")
        self.bytes += len(data)
        self._sha256.update(data)

    def stream(self, name: str, columns: Sequence[str]) -> TableStream:
        return TableStream(name, list(columns), self.rows, self.bytes, self._sha256.hexdigest())


class ArchiveWriter:
    """An archive that is being written. Made by :func:`writing`."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive

    @contextmanager
    def table(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Takes the stream of a table, piece by piece. Raises BackupRefused."""
        with _failures_named(self._path):
            stream = self._archive.open(_member(name), "w", force_zip64=True)

        def write(data: bytes) -> None:
            with _failures_named(self._path):
                stream.write(data)

        try:
            yield write
        finally:
            with _failures_named(self._path):
                stream.close()

    def finish(self, manifest: Manifest) -> None:
        """Say what was written. Without it the file is no backup. Raises BackupRefused."""
        with _failures_named(self._path):
            self._archive.writestr(_MANIFEST, manifest.to_json())


@contextmanager
def writing(path: Path, *, replace: bool) -> Iterator[ArchiveWriter]:
    """Write an archive to ``path``, which it gets as its name when all of it is on the disk.

    Only its owner may read it. Raises BackupRefused, having left nothing behind, if a file is
    there and ``replace`` is false, or if it cannot be written.
    """
    if path.exists() and not replace:
        raise BackupRefused(
            f"found {path} there already; expected a new file; give another name, or --replace"
        )
    with _failures_named(path):
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    partial = Path(name)
    file = os.fdopen(number, "wb")
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
    try:
        yield ArchiveWriter(path, archive)
        with _failures_named(path):
            archive.close()
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
            _settle(path.parent)
    finally:
        # what is still to be written, if that failed, has no room either
        with suppress(OSError):
            archive.close()
        with suppress(OSError):
            file.close()
        partial.unlink(missing_ok=True)


class ArchiveReader:
    """A complete archive, with its manifest. Made by :func:`reading`."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._archive = archive

    def chunks(self, name: str) -> Iterator[bytes]:
        """The stream of a table, in pieces of at most 1 MiB. Raises BackupRefused."""
        with _damage_named(self.path), self._archive.open(_member(name)) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk

    def check(self, progress: Callable[[int], None]) -> None:
        """Reads everything and compares it with the manifest; tells how many bytes are read.

        Raises BackupRefused.
        """
        for table in self.manifest.tables:
            tally = Tally()
            for chunk in self.chunks(table.name):
                tally.add(chunk)
                progress(len(chunk))
            if tally.stream(table.name, table.columns) != table:
                raise _damaged(self.path, f"the rows of {table.name} are not those of its manifest")


@contextmanager
def reading(path: Path) -> Iterator[ArchiveReader]:
    """Open the archive at ``path``; raises BackupRefused if it is none of this format."""
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise BackupRefused(
            f"found that {path} cannot be read: {error.strerror or error}; expected a backup; "
            "correct the name"
        ) from error
    if begins != b"PK\x03\x04":
        raise BackupRefused(
            f"found no backup in {path}; expected a file of jupyterhub-metrics db backup; give one"
        )
    with _damage_named(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield ArchiveReader(path, archive, _manifest(path, archive))


def _manifest(path: Path, archive: zipfile.ZipFile) -> Manifest:
    if _MANIFEST not in archive.namelist():
        raise BackupRefused(
            f"found no {_MANIFEST} in {path}; expected a file of jupyterhub-metrics db backup; "
            "give one"
        )
    with _damage_named(path):
        text = archive.read(_MANIFEST)
    try:
        body: dict[str, Any] = json.loads(text)
        said, version = body.pop("format"), body.pop("format_version")
        if said != FORMAT or version != FORMAT_VERSION:
            raise BackupRefused(
                f"found a backup of format {said!r}, version {version}, in {path}; expected "
                f"{FORMAT!r}, version {FORMAT_VERSION}; use the jupyterhub-metrics that made it"
            )
        manifest = Manifest(
            made_at=moment_of(body["made_at"]),
            made_by=body["made_by"],
            server=body["server"],
            migrations=[AppliedMigration(**entry) for entry in body["migrations"]],
            hubs=body["hubs"],
            months=[moment_of(month) for month in body["months"]],
            tables=[TableStream(**table) for table in body["tables"]],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, f"its manifest cannot be read ({error!r})") from error
    lost = {_member(table.name) for table in manifest.tables} - set(archive.namelist())
    if lost:
        raise _damaged(path, f"{min(lost)} is missing")
    return manifest


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupRefused(
            f"found that {path} cannot be written: {error.strerror or error}; expected a folder "
            "with room for it; make room, or give another"
        ) from error


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except zipfile.BadZipFile as error:
        text = str(error)
        if "not a zip file" in text:
            text = "its end is missing, it was cut off"
        raise _damaged(path, text) from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error


def _damaged(path: Path, what: str) -> BackupRefused:
    return BackupRefused(
        f"found a damaged backup in {path}: {what}; expected it as it was written; take another "
        "copy or an older backup"
    )


def _member(table: str) -> str:
    return f"tables/{table}.copy"


def _settle(folder: Path) -> None:
    """The new name is on the disk when this returns."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
