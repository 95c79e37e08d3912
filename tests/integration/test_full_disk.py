"""A disk that fills up in the middle of a restore or a backup leaves what was there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from contents import contents, fill
from databases import with_database
from test_store_backup import backup, refused, restore

from jupyterhub_metrics.store import EmbeddedServer
from jupyterhub_metrics.store.account import server_account

_DISK_BYTES = 48 << 20
_LEFT_BYTES = 256 << 10


@pytest.fixture
def small_disk(short_dir: Path) -> Iterator[Path]:
    """A file system of its own that the embedded server may write to."""
    disk = short_dir / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.needs("mount")
async def test_a_restore_that_fills_the_disk_changes_nothing(
    short_dir: Path, small_disk: Path, tmp_path: Path
) -> None:
    space = small_disk / "space"
    space.mkdir()
    server_account().owns(space)
    server = EmbeddedServer(short_dir)
    dsn = await server.start()
    try:
        connection = await asyncpg.connect(dsn)
        await connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
        await connection.execute("CREATE DATABASE large")
        await connection.execute("CREATE DATABASE small TABLESPACE small")
        await connection.close()
        large, small = with_database(dsn, "large"), with_database(dsn, "small")
        await fill(large, sessions=1500)
        await fill(small)
        path = tmp_path / "large.backup"
        await backup(large, path)
        filler = small_disk / "filler"
        free = os.statvfs(small_disk)
        filler.write_bytes(bytes(free.f_bavail * free.f_frsize - _LEFT_BYTES))
        assert "full: could not" in await refused(small, path)
        filler.unlink()
        await restore(small, path, replace=True)
        assert await contents(small) == await contents(large)
    finally:
        await server.stop()


async def test_a_backup_that_fills_the_disk_leaves_the_file_that_was_there(
    postgres_dsn: str, tmp_path: Path
) -> None:
    await fill(postgres_dsn)
    path = tmp_path / "one.backup"
    path.write_bytes(b"an older one")
    limit = (2000, 2000)
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from jupyterhub_metrics.cli import main; "
         "sys.exit(main())", "db", "backup", "--replace", str(path)],
        env=os.environ | {"JUPYTERHUB_METRICS_DSN": postgres_dsn, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "cannot be written: File too large; expected" in last
    assert path.read_bytes() == b"an older one"
    assert list(tmp_path.iterdir()) == [path]
