"""The settings of the service, and where their defaults come from.

Called by :mod:`.app`. Each stands in ``docs/service.md``.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping

from traitlets import Bool, Dict, Float, Integer, List, Unicode, default
from traitlets.config import Application

from .._names import CONFIG_VARIABLE, DATA_DIR_VARIABLE, DSN_FILE_VARIABLE, HUB_NAME_VARIABLE
from ..errors import ConfigurationError

log = logging.getLogger(__name__)

CLUSTER_VARIABLES = ("KUBERNETES_SERVICE_HOST", "KUBECTL_CONTEXT")
INTERVAL_VARIABLE = "COLLECTION_INTERVAL"


class Settings(Application):
    """What can be configured, as ``c.MetricsService.<name>``."""

    config_file = Unicode(
        help="""Path of a Python file of settings (c.MetricsService...). Default: the value of
        JUPYTERHUB_METRICS_CONFIG; empty: none."""
    ).tag(config=True)
    data_dir = Unicode(
        help="""Folder of the secrets and of the embedded database. Default: the value of
        JUPYTERHUB_METRICS_DATA_DIR, else jupyterhub-metrics in the working directory."""
    ).tag(config=True)
    hub_name = Unicode(
        help="""Name of the Hub whose users visit the pages and whose events come with
        secrets/events_token. Default: the value of JUPYTERHUB_METRICS_HUB_NAME. Must be set."""
    ).tag(config=True)
    url = Unicode(
        help="""Where to listen, http://host:port/. Default: the value of
        JUPYTERHUB_SERVICE_URL, which the Hub sets."""
    ).tag(config=True)
    dsn = Unicode(
        help="""Address of the database with its password,
        postgresql://user:password@host:port/name. Only in a configuration file, never on a
        command line. Default: empty, which means dsn_file."""
    ).tag(config=True)
    dsn_file = Unicode(
        help="""Path of a file with the address of the database. Default: the value of
        JUPYTERHUB_METRICS_DSN_FILE, which the Hub sets when it has one. Empty: secrets/dsn in
        data_dir, else the environment, else the embedded server."""
    ).tag(config=True)
    hub_token_files = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""Further Hubs that may post events: name of the Hub, and path of the file with its
        secret. A secret counts for that Hub's name only. Default: none.""",
    ).tag(config=True)
    metrics_token_file = Unicode(
        help="""Path of the file with the token that opens metrics. Default: empty, which means
        secrets/metrics_token in data_dir; without that file, metrics is closed to everyone."""
    ).tag(config=True)
    max_body_bytes = Integer(
        8 * 1024 * 1024,
        min=64 * 1024,
        help="Largest body of a post of events, in bytes; a larger one is answered with 413.",
    ).tag(config=True)
    pool_connections = Integer(
        8, min=1, max=1000, help="Most connections to the database at once."
    ).tag(config=True)
    graceful_stop_seconds = Float(
        10.0,
        min=0.0,
        help="""How long a stop waits for the posts that are under way, in seconds. 0: not at
        all; a post that is cut off is not acknowledged, and the Hub sends it again.""",
    ).tag(config=True)
    follow_parent = Bool(
        True,
        help="""Whether to end when the process that started this one ends, however it ends.
        Counts only for a service that a Hub has started.""",
    ).tag(config=True)

    check_interval_seconds = Float(
        min=0.0,
        help="""Time between two checks of what runs, in seconds. Default: the value of
        COLLECTION_INTERVAL, else 300. 0: never, so that nothing that was missed is put right.""",
    ).tag(config=True)
    event_grace_seconds = Float(
        120.0,
        min=0.0,
        help="""How long events may be on their way from the Hub before a check concludes that
        there are none, in seconds. 0: not at all.""",
    ).tag(config=True)
    hub_poll_seconds = Float(
        30.0,
        min=0.0,
        help="""How long the Hub may take a dead server for a running one, in seconds: its
        Spawner.poll_interval. The Hub's word vouches for a server up to that long ago.""",
    ).tag(config=True)

    observation_retention_days = Integer(
        400,
        min=0,
        max=36500,
        help="""How long what checks saw running is kept, in days. 0: for ever. Sessions, usage and
        events are always kept.""",
    ).tag(config=True)

    watch_pods = Bool(
        help="""Whether to watch users' pods too; see docs/pods.md. Default: whether a cluster is
        in sight (KUBERNETES_SERVICE_HOST or KUBECTL_CONTEXT is set) and the extra kubernetes is
        installed."""
    ).tag(config=True)

    people_interval_seconds = Float(
        86400.0,
        min=0.0,
        help="""Time between two questions to Microsoft Graph who the users are, in seconds, where
        it is configured; see docs/people.md. 0: never.""",
    ).tag(config=True)

    pseudonyms = Bool(
        False,
        help="""Whether operators and owners of groups see pseudonyms in place of others' names, and
        then no ids, names of pods and servers, or who stopped them.""",
    ).tag(config=True)
    further_hubs = List(
        Unicode(),
        help="""Names of further Hubs in the same database whose usage the operators of this Hub
        see too. Default: none.""",
    ).tag(config=True)

    environment: Mapping[str, str] = os.environ

    @default("config_file")
    def _default_config_file(self) -> str:
        return self.environment.get(CONFIG_VARIABLE, "")

    @default("data_dir")
    def _default_data_dir(self) -> str:
        return self.environment.get(DATA_DIR_VARIABLE) or "jupyterhub-metrics"

    @default("dsn_file")
    def _default_dsn_file(self) -> str:
        return self.environment.get(DSN_FILE_VARIABLE, "")

    @default("hub_name")
    def _default_hub_name(self) -> str:
        return self.environment.get(HUB_NAME_VARIABLE, "")

    @default("url")
    def _default_url(self) -> str:
        return self.environment.get("JUPYTERHUB_SERVICE_URL", "")

    @default("check_interval_seconds")
    def _default_check_interval_seconds(self) -> float:
        text = self.environment.get(INTERVAL_VARIABLE) or "300"
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            raise ConfigurationError(
                f"{INTERVAL_VARIABLE} must be a number of seconds, got: {text}; correct it"
            )
        return seconds

    @default("watch_pods")
    def _default_watch_pods(self) -> bool:
        if not any(self.environment.get(name) for name in CLUSTER_VARIABLES):
            return False
        if importlib.util.find_spec("kubernetes_asyncio") is None:
            log.warning("found a cluster and no extra 'kubernetes'; its pods are not watched")
            return False
        return True

    @default("log_level")
    def _default_log_level(self) -> int:
        return logging.INFO

    @default("log_format")
    def _default_log_format(self) -> str:
        return "[%(levelname)1.1s %(asctime)s.%(msecs)03d %(name)s] %(message)s"
