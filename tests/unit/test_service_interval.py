"""How often the service checks, by its environment."""

from __future__ import annotations

import pytest

from jupyterhub_metrics.errors import ConfigurationError
from jupyterhub_metrics.service.app import MetricsService


def service_in(environment: dict[str, str]) -> MetricsService:
    service = MetricsService()
    service.environment = environment
    return service


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 300),
        ({"COLLECTION_INTERVAL": ""}, 300),
        ({"COLLECTION_INTERVAL": "60"}, 60),
        ({"COLLECTION_INTERVAL": "0"}, 0),
    ],
)
def test_the_interval_is_that_of_collections(environment: dict[str, str], seconds: float) -> None:
    assert service_in(environment).check_interval_seconds == seconds


def test_the_services_own_setting_comes_first() -> None:
    service = service_in({"COLLECTION_INTERVAL": "60"})
    service.check_interval_seconds = 120
    assert service.check_interval_seconds == 120


@pytest.mark.parametrize("text", ["five", "-1", "inf", "nan"])
def test_what_is_no_interval_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="COLLECTION_INTERVAL must be a number of seconds"):
        assert service_in({"COLLECTION_INTERVAL": text}).check_interval_seconds
