"""Names on which the Hub's side and the service's must agree. Standard library only."""

from __future__ import annotations

from typing import Final

SERVICE_NAME: Final = "jupyterhub-metrics"
"""The service's name in the Hub, which is also the last part of its address."""

CONFIG_VARIABLE: Final = "JUPYTERHUB_METRICS_CONFIG"
DATA_DIR_VARIABLE: Final = "JUPYTERHUB_METRICS_DATA_DIR"
DSN_FILE_VARIABLE: Final = "JUPYTERHUB_METRICS_DSN_FILE"
HUB_NAME_VARIABLE: Final = "JUPYTERHUB_METRICS_HUB_NAME"
SAMPLES_URL_VARIABLE: Final = "JUPYTERHUB_METRICS_SAMPLES_URL"
"""Where a user's server posts samples: in the Hub's environment, and then in the server's."""

SCRAPE_SCOPE: Final = "custom:jupyterhub-metrics:scrape"
"""The Hub's scope whose holders may read metrics, where the service is told so."""

READ_SCOPE: Final = "custom:jupyterhub-metrics:read"
"""The Hub's scope whose holders see everybody's usage, or with ``!group=`` that of one group."""
