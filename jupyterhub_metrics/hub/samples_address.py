"""Where users' servers post samples, as they themselves reach it. Called by setup and the hooks."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..errors import ConfigurationError

OF_SERVICE = "service"
"""Stands for the service's own address, for servers on the Hub's machine."""

SAMPLES_PATH = "api/v1/samples"


def checked_samples_url(told: str) -> str:
    """The setting itself. Raises ConfigurationError for what is no address, or has a secret."""
    parts = urlsplit(told)
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "found a user or a password in samples_url, which every server would be shown; "
            "expected an address alone; take it out"
        )
    if told and told != OF_SERVICE and not (parts.scheme in ("http", "https") and parts.hostname):
        raise ConfigurationError(
            f"found samples_url {told[:100]!r}; expected {OF_SERVICE!r} or an address such as "
            "http://proxy-public; correct setup(c, samples_url=...), MetricsRecorder.samples_url "
            "or JUPYTERHUB_METRICS_SAMPLES_URL"
        )
    return told
