"""Who may scrape, without a Hub; with one in ``test_service_scrape``."""

from __future__ import annotations

import pytest
from traitlets.config import Config

from jupyterhub_metrics.errors import ConfigurationError
from jupyterhub_metrics.service.listening import Address
from jupyterhub_metrics.service.metrics import Metrics
from jupyterhub_metrics.service.scrape_access import LOG_SECONDS, ScrapeAccess, ScrapeRefused
from jupyterhub_metrics.service.scraping import Scraping

TOKEN = "the-metrics-token"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic x", f"Basic {TOKEN}", "Bearer wrong", "Bearer ü"]
)
@pytest.mark.parametrize("token", [TOKEN, None])
async def test_nobody_else_may(header: str, token: str | None) -> None:
    access = ScrapeAccess(token, None, Metrics())
    with pytest.raises(ScrapeRefused) as refused:
        await access.check(header)
    assert refused.value.status == 401
    assert not access.is_operator(header)


async def test_without_a_token_file_its_bearer_may_not_either() -> None:
    await ScrapeAccess(TOKEN, None, Metrics()).check(f"bearer {TOKEN}")
    with pytest.raises(ScrapeRefused):
        await ScrapeAccess(None, None, Metrics()).check(f"bearer {TOKEN}")


async def test_refusals_make_one_line_a_minute_and_are_all_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, metrics = Clock(), Metrics()
    access = ScrapeAccess(TOKEN, None, metrics, seconds=clock)

    async def knock(times: int) -> None:
        for number in range(times):
            with pytest.raises(ScrapeRefused):
                await access.check(f"Bearer wrong-{number}")

    await knock(50)
    assert len(caplog.messages) == 1
    clock.now = LOG_SECONDS - 1
    await knock(50)
    assert len(caplog.messages) == 1
    clock.now = LOG_SECONDS
    await knock(50)
    assert len(caplog.messages) == 2
    assert "99 more" in caplog.messages[1]
    assert "wrong-" not in caplog.text, "what was tried may be a secret elsewhere"
    refused = metrics.registry.get_sample_value(
        "jupyterhub_metrics_scrapes_refused_total", {"reason": "bad_token"}
    )
    assert refused == 150


def scraping(**traits: str) -> Scraping:
    return Scraping(config=Config({"Scraping": traits}), hub_name="campus", environment={})


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "example.org", "[::]"])
def test_only_a_loopback_address_may_be_open(host: str) -> None:
    with pytest.raises(ConfigurationError, match="others reach too"):
        scraping(open_url=f"http://{host}:9000/").open_address()


def test_nothing_is_open_unless_it_was_set() -> None:
    assert scraping().open_address() is None
    assert scraping(open_url="http://[::1]:9000/").open_address() == Address("::1", 9000)


@pytest.mark.parametrize(
    "scope", ["self", "custom:jupyterhub-metrics:", "custom:other:scrape", "access:services"]
)
def test_a_scope_that_many_hold_opens_nothing(scope: str) -> None:
    with pytest.raises(ConfigurationError, match="hub_scope"):
        scraping(hub_scope=scope).access(TOKEN, Metrics())


def test_a_scope_needs_a_hub_to_ask() -> None:
    with pytest.raises(ConfigurationError, match="JUPYTERHUB_API_URL"):
        scraping(hub_scope="custom:jupyterhub-metrics:scrape").access(TOKEN, Metrics())


def test_the_namespace_is_the_pods_where_it_names_one() -> None:
    for variable, namespaces in (("prod", {"campus": "prod"}), ("a,b", {}), ("", {})):
        made = Scraping(hub_name="campus", environment={"NAMESPACE": variable})
        assert made.user_rules().namespaces == namespaces
