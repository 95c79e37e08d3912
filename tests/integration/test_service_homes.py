"""Homes of users in a real service's metrics, out of what exporters and a Prometheus tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fake_dirsize import FakeDirsize
from hub_process import until
from prometheus_client.parser import text_string_to_metric_families as plain
from prometheus_process import prometheus_of
from service_fixtures import NOON, RunningService, data_dir, run_of, running_service
from tornado.web import RequestHandler
from traitlets.config import Config

from jupyterhub_metrics.errors import ConfigurationError
from jupyterhub_metrics.service import homes

__all__ = ["data_dir"]

HOME = "jupyterhub_user_group_home_dir_bytes"
TOKEN = "the-token.of-the=exporter"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def exporter() -> AsyncIterator[FakeDirsize]:
    made = FakeDirsize(ann=100)
    made.start()
    yield made
    await made.stop()


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "FIRST_READ_SECONDS", 900.0)


def asking(*urls: str, interval: float = 900, **scraping: object) -> Config:
    return Config(
        {
            "HomeSizes": {"urls": list(urls), "interval_seconds": interval},
            "Scraping": {"user_series": True, **scraping},
        }
    )


async def reads(service: RunningService) -> bool:
    """Reads the sources once and takes a snapshot of them; whether all of them answered."""
    reader = service.server.wiring.homes
    assert reader is not None
    answered = await reader.read()
    await service.server.wiring.snapshots.take()
    return answered


async def told(service: RunningService, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    answer = await service.get("metrics", **service.operator())
    assert answer.code == 200
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in plain(answer.body.decode())
        for sample in family.samples
        if sample.name == name
    }


async def homes_of(service: RunningService) -> dict[tuple[str, ...], float]:
    return await told(service, HOME, "username", "usergroup")


async def of_the_source(service: RunningService, name: str) -> float | None:
    found = await told(service, f"jupyterhub_metrics_source_{name}", "source")
    return found.get(("home_sizes",))


async def lead_a_life(service: RunningService) -> None:
    """Ann and bob@x are in groups; dora runs something, and old did long ago, in no group."""
    groups = {"physics": frozenset({"ann"}), "staff": frozenset({"ann", "bob@x"})}
    store = service.server.wiring.database.store()
    await store.record_memberships(service.hub, groups, NOON - timedelta(days=90))
    long_ago, hour = NOON - timedelta(days=80), timedelta(hours=1)
    events = [
        *run_of(service.hub, long_ago, hour, username="old", reason="stopped_by_user"),
        *run_of(service.hub, NOON - hour, None, username="dora"),
    ]
    assert (await service.post(service.batch(*events))).code == 200


SIZES = {"ann": 100, "bob-40x": 20, "dora": 3, "old": 4000, "shared": 7}


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        (
            {},
            {
                ("ann", "physics"): 100,
                ("ann", "staff"): 100,
                ("bob@x", "staff"): 20,
                ("dora", "none"): 3,
                ("old", "none"): 4000,
            },
        ),
        (
            {"user_groups": ["physics", "art"]},
            {
                ("ann", "physics"): 100,
                ("bob@x", "none"): 20,
                ("dora", "none"): 3,
                ("old", "none"): 4000,
            },
        ),
        (
            {"count_in_each_group": False, "max_series_users": 3},
            {("ann", "multiple"): 100, ("bob@x", "staff"): 20, ("dora", "none"): 3},
        ),
    ],
    ids=["each", "allowed", "multiple"],
)
async def test_a_scrape_tells_each_home_by_group(
    data_dir: Path,
    postgres_dsn: str,
    exporter: FakeDirsize,
    rules: dict[str, object],
    wanted: dict[tuple[str, str], float],
) -> None:
    exporter.sizes = dict(SIZES)
    config = asking(exporter.url, **rules)
    async with running_service(data_dir, dsn=postgres_dsn, config=config, clock=Clock()) as service:
        await lead_a_life(service)
        assert await homes_of(service) == {}
        assert await reads(service)
        assert await homes_of(service) == wanted
        assert await homes_of(service) == wanted
        assert len(exporter.asked) == 1, "a scrape asks nobody"
        assert await told(service, "jupyterhub_metrics_user_series_unknown_homes") == {(): 1}
        labels = ("namespace", "username_escaped", "username_safe")
        assert (service.hub, "bob-40x", "bob-x---e9f3b4d4") in await told(service, HOME, *labels)


async def test_a_source_that_is_down_keeps_its_values_and_tells_their_age(
    data_dir: Path, postgres_dsn: str, exporter: FakeDirsize, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    exporter.token = TOKEN
    (data_dir / "secrets" / "exporter").write_text(TOKEN)
    config = asking(exporter.url)
    config.HomeSizes.token_file = str(data_dir / "secrets" / "exporter")
    async with running_service(data_dir, dsn=postgres_dsn, config=config, clock=clock) as service:
        await lead_a_life(service)
        assert await of_the_source(service, "last_success_timestamp_seconds") is None
        assert await reads(service)
        assert await of_the_source(service, "last_success_timestamp_seconds") == NOON.timestamp()
        before = await homes_of(service)
        assert before == {("ann", "physics"): 100, ("ann", "staff"): 100}

        async def signs_in(handler: RequestHandler) -> None:
            handler.finish(f"<html>{handler.request.headers['Authorization']}")

        exporter.sizes["ann"] = 200
        exporter.fault = signs_in
        caplog.set_level(logging.INFO, "jupyterhub_metrics")
        for minutes in (5, 10, 15):
            clock.now = NOON + timedelta(minutes=minutes)
            assert not await reads(service)
            assert await homes_of(service) == before
            assert await of_the_source(service, "staleness_seconds") == minutes * 60
        assert await of_the_source(service, "failures_total") == 3
        assert caplog.text.count("Sizes of homes stay as they were") == 1
        await exporter.stop()
        assert not await reads(service)
        assert await homes_of(service) == before
        assert caplog.text.count("Sizes of homes stay as they were") == 2, "another reason"
        exporter.start()
        exporter.fault = None
        assert await reads(service)
        assert await homes_of(service) == {("ann", "physics"): 200, ("ann", "staff"): 200}
        assert await of_the_source(service, "staleness_seconds") == 0
        assert caplog.text.count("Sizes of homes are read again") == 1
        assert TOKEN not in caplog.text


async def test_each_of_several_exporters_is_as_old_as_it_is(
    data_dir: Path, postgres_dsn: str, exporter: FakeDirsize
) -> None:
    clock = Clock()
    other = FakeDirsize(**{"bob-40x": 5, "ann": 90})
    config = asking(exporter.url, other.url)
    async with running_service(data_dir, dsn=postgres_dsn, config=config, clock=clock) as service:
        await lead_a_life(service)
        clock.now += timedelta(minutes=1)
        assert not await reads(service)
        assert (await homes_of(service))["ann", "staff"] == 100
        assert await of_the_source(service, "last_success_timestamp_seconds") is None
        other.start()
        clock.now += timedelta(minutes=1)
        assert await reads(service)
        found = await homes_of(service)
        assert (found["ann", "staff"], found["bob@x", "staff"]) == (100, 5), "the larger of two"
        await other.stop()
        exporter.sizes["ann"] = 80
        clock.now += timedelta(minutes=9)
        assert not await reads(service)
        found = await homes_of(service)
        assert (found["ann", "staff"], found["bob@x", "staff"]) == (90, 5)
        assert await of_the_source(service, "staleness_seconds") == 540, "of the oldest"


async def test_a_directory_that_has_gone_has_no_series(
    data_dir: Path, postgres_dsn: str, exporter: FakeDirsize
) -> None:
    exporter.sizes = dict(SIZES)
    async with running_service(data_dir, dsn=postgres_dsn, config=asking(exporter.url)) as service:
        await lead_a_life(service)
        await reads(service)
        del exporter.sizes["ann"]
        await reads(service)
        assert ("ann", "staff") not in await homes_of(service)
        assert ("bob@x", "staff") in await homes_of(service)


async def test_sizes_that_are_none_are_told_once_and_the_others_shown(
    data_dir: Path, postgres_dsn: str, exporter: FakeDirsize, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.sizes = {"ann": 100, "bob-40x": float("nan"), "dora": -1, "old": float("inf")}
    async with running_service(data_dir, dsn=postgres_dsn, config=asking(exporter.url)) as service:
        await lead_a_life(service)
        caplog.set_level(logging.INFO, "jupyterhub_metrics.service.homes")
        for _ in range(3):
            assert await reads(service)
        assert {user for user, _ in await homes_of(service)} == {"ann"}
        [record] = [r for r in caplog.records if r.name == "jupyterhub_metrics.service.homes"]
        assert "told of 3 directories without a name or with a size" in record.getMessage()
        assert await of_the_source(service, "failures_total") == 0


async def test_several_services_read_each_for_itself(
    data_dir: Path, postgres_dsn: str, exporter: FakeDirsize
) -> None:
    config = asking(exporter.url)
    async with (
        running_service(data_dir, dsn=postgres_dsn, config=config) as one,
        running_service(data_dir, dsn=postgres_dsn, config=config) as other,
    ):
        await lead_a_life(one)
        await reads(one)
        assert len(exporter.asked) == 1
        assert await of_the_source(other, "last_success_timestamp_seconds") is None
        await reads(other)
        assert len(exporter.asked) == 2


async def test_the_service_reads_again_and_again_by_itself(
    data_dir: Path, postgres_dsn: str, exporter: FakeDirsize, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "FIRST_READ_SECONDS", 0.01)
    config = asking(exporter.url, interval=0.1, snapshot_interval_seconds=1)
    async with running_service(data_dir, dsn=postgres_dsn, config=config) as service:
        await lead_a_life(service)
        for size in (100, 300):
            exporter.sizes["ann"] = size

            async def is_told(wanted: int = size) -> bool:
                return (await homes_of(service)).get(("ann", "staff")) == wanted

            await until(is_told, f"a home of {size} bytes is told")
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "homes" in names
    assert "homes" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_while_users_are_not_shown_nobody_is_asked(
    data_dir: Path, exporter: FakeDirsize, caplog: pytest.LogCaptureFixture
) -> None:
    dsn = "postgresql://nobody:x@127.0.0.1:1/none"
    config = asking(exporter.url, user_series=False)
    async with running_service(data_dir, dsn=dsn, ready=False, config=config) as service:
        assert service.server.wiring.homes is None
        assert await of_the_source(service, "staleness_seconds") is None
    assert "Scraping.user_series is off" in caplog.text


async def test_an_address_that_is_none_ends_the_service_before_it_listens(data_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"HomeSizes.urls\[0\]"):
        async with running_service(data_dir, config=asking("http://u:p@exporter/")):
            pass


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"interval_seconds": 1000}, "interval_seconds"), ({"urls": 7}, "urls")],
)
async def test_a_setting_that_is_wrong_is_named_in_one_line(
    data_dir: Path, settings: dict[str, object], named: str
) -> None:
    config = asking("http://e/metrics")
    config.HomeSizes.update(settings)
    with pytest.raises(ConfigurationError, match=f"'{named}' trait of a HomeSizes") as told:
        async with running_service(data_dir, config=config):
            pass
    assert "\n" not in str(told.value)


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("namespace", ["prod", "staging"])
async def test_homes_that_a_prometheus_tells_are_of_their_namespace(
    data_dir: Path, postgres_dsn: str, exporter: FakeDirsize, tmp_path: Path, namespace: str
) -> None:
    exporter.sizes = dict(SIZES)
    async with prometheus_of(
        tmp_path, exporter.port, "/metrics", None, labels={"namespace": "prod"}
    ) as prometheus:
        config = asking(prometheus.url + '/federate?match[]={__name__="dirsize_total_size_bytes"}')
        environment = {"NAMESPACE": namespace}
        async with running_service(
            data_dir, dsn=postgres_dsn, config=config, environment=environment
        ) as service:
            await lead_a_life(service)
            await until(lambda: reads(service), "Prometheus has scraped the exporter", seconds=40)
            found = await told(service, HOME, "namespace", "username", "usergroup")
            unknown = await told(service, "jupyterhub_metrics_user_series_unknown_homes")
    if namespace == "prod":
        assert found["prod", "bob@x", "staff"] == 20
        assert (len(found), unknown) == (5, {(): 1})
    else:
        assert (found, unknown) == ({}, {(): len(SIZES)})
