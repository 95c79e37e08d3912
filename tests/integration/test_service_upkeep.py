"""The service keeps its database up and tells how far behind it is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders import at, event
from service_fixtures import NOON

from jupyterhub_metrics.errors import DatabaseUnavailable
from jupyterhub_metrics.service.database import Database
from jupyterhub_metrics.service.metrics import Metrics
from jupyterhub_metrics.service.upkeeper import Upkeeper
from jupyterhub_metrics.store import DUTIES, Store, UpkeepRules, open_store


class OneDatabase:
    """A source of one store."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def open(self) -> Store:
        return await open_store(self._dsn)

    def stale(self) -> bool:
        return False

    async def close(self) -> None:
        pass


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"jupyterhub_metrics_{name}", labels)


async def test_rounds_do_what_is_due_and_the_series_tell_it(postgres_dsn: str) -> None:
    metrics = Metrics()
    now = NOON
    database = Database(OneDatabase(postgres_dsn), metrics)
    rules = UpkeepRules(keep_observations=timedelta(days=1))
    upkeeper = Upkeeper(database, metrics, rules=rules, clock=lambda: now)
    with pytest.raises(DatabaseUnavailable):
        await upkeeper.round()
    now += timedelta(seconds=90)
    assert value(metrics, "upkeep_staleness_seconds") == 90
    await database._round()
    store = database.store()
    for day in range(5):
        await store.record_observations("campus", now - timedelta(days=9 - day), [])
    waiting = lag = timedelta(days=8).total_seconds()
    while lag == waiting:
        # a round may have had enough to do with something else
        assert await upkeeper.round()
        lag = value(metrics, "upkeep_lag_seconds", duty="observation_retention")
    assert value(metrics, "upkeep_staleness_seconds") == 0
    assert lag == timedelta(days=6).total_seconds()
    while await upkeeper.round():
        pass
    for duty in DUTIES:
        assert value(metrics, "upkeep_lag_seconds", duty=duty.name) == 0
    await database.close()


async def test_without_retention_nothing_is_dropped(store: Store) -> None:
    await store.record_observations("campus", at(0), [])
    await store.ingest([event("requested")])
    left = await store.upkeep(UpkeepRules(keep_observations=None), NOON + timedelta(days=9999))
    assert left.done["observation_retention"] == 0
