"""Whether the service watches pods when nobody says so."""

from __future__ import annotations

import pytest

from jupyterhub_metrics._clock import utc_now
from jupyterhub_metrics.errors import ConfigurationError
from jupyterhub_metrics.service.app import MetricsService


@pytest.mark.parametrize(
    ("environment", "watches"),
    [
        ({}, False),
        ({"KUBECONFIG": "some file of whoever started the Hub"}, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        ({"KUBECTL_CONTEXT": "production"}, True),
    ],
)
def test_pods_are_watched_where_a_cluster_is_in_sight(environment, watches):
    service = MetricsService()
    service.environment = environment
    assert service.watch_pods is watches


def test_a_missing_extra_is_no_obstacle_unless_watching_is_asked_for(monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    service = MetricsService()
    service.environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert not service.watch_pods
    assert "no extra 'kubernetes'" in caplog.text
    monkeypatch.setitem(__import__("sys").modules, "jupyterhub_metrics.sources.pods", None)
    service.watch_pods = True
    with pytest.raises(ConfigurationError, match=r"jupyterhub-metrics\[kubernetes\]"):
        service._pods(utc_now)
