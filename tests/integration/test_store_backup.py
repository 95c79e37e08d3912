from __future__ import annotations

from datetime import datetime, timezone

from builders import event

from jupyterhub_metrics.store import open_store
from jupyterhub_metrics.store.backup import write_backup
from jupyterhub_metrics.store.restore import restore_backup

NOW = datetime(2026, 4, 1, tzinfo=timezone.utc)


def unseen(label, total):
    print(label, total)
    return lambda amount: None


async def test_one(postgres_dsn, tmp_path):
    store = await open_store(postgres_dsn)
    await store.ingest([event("requested"), event("ready", 3), event("requested", 60, started=60)])
    await store.close()
    path = tmp_path / "b.zip"
    m = await write_backup(postgres_dsn, path, replace=False, begin=unseen, now=NOW)
    print(m)
    m2 = await restore_backup(postgres_dsn, path, replace=True, begin=unseen)
    assert m2 == m
