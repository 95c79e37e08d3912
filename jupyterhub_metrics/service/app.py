"""How the parts of the service are put together from its settings.

Called by ``python -m jupyterhub_metrics.service``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import sys
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from prometheus_client import disable_created_metrics
from traitlets import TraitError
from traitlets.config import catch_config_error

from .._clock import utc_now
from .._names import HUB_NAME_VARIABLE, SERVICE_NAME
from ..errors import ConfigurationError, MetricsError
from ..sources.drift import Rules
from ..sources.graph import MicrosoftGraph
from ..sources.hubapi import HubApi
from ..store import UpkeepRules
from .api.cursors import Cursors
from .auth import make_hub_auth
from .checker import Checker, PodSource
from .credentials import HubSecrets, api_token, read_key, read_token
from .database import Database
from .directory import Directory
from .handlers.base import security_headers
from .hub_tokens import HubTokens
from .listening import address_of
from .metrics import Metrics
from .pages import Pages
from .privacy import Privacy
from .routes import make_application
from .scraping import Scraping
from .server import Server
from .server_tokens import ServerTokens
from .settings import Settings
from .source import ConfiguredSource, find_dsn
from .upkeeper import Upkeeper
from .wiring import Wiring

log = logging.getLogger(__name__)


class MetricsService(Settings):
    """Takes in the events of one or more Hubs and shows users their usage."""

    name = "jupyterhub-metrics-service"
    description = "The service of jupyterhub-metrics. Every setting stands in docs/service.md."
    aliases: ClassVar = {
        "config": "MetricsService.config_file",
        "data-dir": "MetricsService.data_dir",
        "log-level": "Application.log_level",
    }
    flags: ClassVar = {"debug": ({"Application": {"log_level": logging.DEBUG}}, "Log each round.")}

    parent_pid: int | None = None

    @classmethod
    def launch(cls, *, parent_pid: int) -> None:
        """Runs the service with the arguments of this process; exits with its status."""
        service = cls()
        service.parent_pid = parent_pid
        service.initialize()
        # the moments at which counters were made say nothing and double what is scraped
        disable_created_metrics()  # type: ignore[no-untyped-call]
        # what is loaded by now stays until the end, and need not be looked through again and again
        gc.collect()
        gc.freeze()
        try:
            asyncio.run(service.run())
        except MetricsError as error:
            log.error("%s", error)
            sys.exit(1)

    @catch_config_error
    def initialize(self, argv: list[str] | None = None) -> None:
        """Reads the settings: of the file, then of ``argv`` (this process' arguments), which wins.

        Ends the process with one line if a setting or the file is wrong, or if the DSN was given
        on the command line.
        """
        self.parse_command_line(argv)
        if "dsn" in self.config.get("MetricsService", {}):
            self.exit_with(
                "found dsn on the command line, where every user of the machine reads it"
            )
        given = deepcopy(self.config)
        if self.config_file:
            path = Path(self.config_file).resolve()
            if not path.is_file():
                self.exit_with(f"found no configuration file {path}; write it or correct --config")
            self.load_config_file(path.name, path=str(path.parent))
            self.update_config(given)
        self.log.debug("Settings are read")

    def exit_with(self, line: str) -> None:
        self.log.error("%s", line)
        self.exit(1)

    def get_default_logging_config(self) -> dict[str, Any]:
        """The application's own, for the libraries too."""
        config: dict[str, Any] = super().get_default_logging_config()
        for name in ("jupyterhub_metrics", "tornado", "asyncio", "asyncpg", "traitlets"):
            config["loggers"][name] = {"level": "DEBUG", "handlers": ["console"]}
        config["loggers"]["asyncio"]["level"] = "WARNING"
        return config

    async def run(self) -> None:
        """Serves until it is told to stop, or until the Hub that started it ends.

        Raises ConfigurationError before it listens, if a setting is missing or wrong.
        """
        managed = bool(self.environment.get("JUPYTERHUB_SERVICE_NAME"))
        server = self.make_server(utc_now)
        await server.run(self.parent_pid if self.follow_parent and managed else None)

    def make_server(self, clock: Callable[[], datetime]) -> Server:
        """The service that these settings describe, not yet listening.

        Must be called in the event loop that will run it. Raises ConfigurationError if a setting
        or a secret is missing or wrong.
        """
        try:
            return self._made(clock)
        except TraitError as error:
            # of a class that takes its part of the configuration only here
            raise ConfigurationError(f"{error}; correct it") from None

    def _made(self, clock: Callable[[], datetime]) -> Server:
        address = address_of(self.url)
        if not self.hub_name:
            raise ConfigurationError(
                f"found no name of the Hub; set {HUB_NAME_VARIABLE} or MetricsService.hub_name"
            )
        cookie_secret = read_key(self._secret("cookie_secret"))
        if cookie_secret is None:
            log.warning(
                "found no %s; logins will not outlive this process", self._secret("cookie_secret")
            )
        scraping = Scraping(parent=self, hub_name=self.hub_name, environment=self.environment)
        cookie_secret = cookie_secret or secrets.token_bytes(32)
        wiring = self._wire(clock, scraping, cookie_secret)
        application = make_application(wiring, cookie_secret)
        return Server(
            wiring,
            application,
            address,
            open_address=scraping.open_address(),
            graceful_stop_seconds=self.graceful_stop_seconds,
        )

    def _wire(self, clock: Callable[[], datetime], scraping: Scraping, secret: bytes) -> Wiring:
        environment = self.environment
        data_dir = Path(self.data_dir)
        hub_host = environment.get("JUPYTERHUB_HOST", "").rstrip("/")
        base_url = "/" + environment.get("JUPYTERHUB_BASE_URL", "/").strip("/")
        prefix = environment.get("JUPYTERHUB_SERVICE_PREFIX") or f"/services/{SERVICE_NAME}/"
        metrics = Metrics()
        source = ConfiguredSource(
            lambda: find_dsn(self.dsn, self.dsn_file, data_dir, environment),
            data_dir,
            pool_connections=self.pool_connections,
            on_query=metrics.queried,
        )
        hub_auth = make_hub_auth(data_dir, environment)
        if hub_auth is None:
            log.warning("found no JUPYTERHUB_API_TOKEN; pages cannot ask the Hub who is visiting")
        database = Database(source, metrics)
        hub_api = environment.get("JUPYTERHUB_API_URL")
        hub_secrets = self._hub_secrets()
        for hub in hub_secrets.hubs:
            metrics.know_hub(hub, clock)
        rules = UpkeepRules.of_days(self.observation_retention_days)
        homes = scraping.homes(database, metrics, hub_secrets.hubs, clock)
        return Wiring(
            prefix=prefix,
            hub_name=self.hub_name,
            hub_secrets=hub_secrets,
            scrape_access=scraping.access(self._metrics_token(), metrics),
            server_tokens=ServerTokens(HubTokens(hub_api) if hub_api else None),
            max_body_bytes=self.max_body_bytes,
            database=database,
            metrics=metrics,
            snapshots=scraping.snapshots(
                database, metrics, hub_secrets.hubs, homes, data_dir, clock
            ),
            pages=Pages(hub_url=f"{hub_host}{base_url.rstrip('/')}/hub/", prefix=prefix),
            hub_auth=hub_auth,
            security_headers=security_headers(hub_host),
            clock=clock,
            cursors=Cursors(secret),
            privacy=Privacy(self.pseudonyms),
            further_hubs=tuple(self.further_hubs),
            upkeeper=Upkeeper(database, metrics, rules=rules, clock=clock),
            checker=self._checker(database, metrics, clock),
            directory=self._directory(database, metrics, clock),
            homes=homes,
        )

    def _directory(
        self, database: Database, metrics: Metrics, clock: Callable[[], datetime]
    ) -> Directory | None:
        """What asks Microsoft Graph; None where there is no tenant or it is switched off."""
        graph = MicrosoftGraph(parent=self, environment=self.environment)
        if not graph.configured or not self.people_interval_seconds:
            return None
        interval = timedelta(seconds=self.people_interval_seconds)
        return Directory(self.hub_name, database, metrics, graph, interval=interval, clock=clock)

    def _checker(
        self, database: Database, metrics: Metrics, clock: Callable[[], datetime]
    ) -> Checker | None:
        """The checks of what runs; None where they are switched off or the Hub cannot be asked."""
        interval = self.check_interval_seconds
        url = self.environment.get("JUPYTERHUB_API_URL")
        token = api_token(Path(self.data_dir), self.environment)
        if not interval:
            log.warning("check_interval_seconds is 0; what was missed is not put right")
            return None
        if not url or not token:
            missing = "JUPYTERHUB_API_TOKEN" if url else "JUPYTERHUB_API_URL"
            log.warning("found no %s; what was missed is not put right", missing)
            return None
        return Checker(
            self.hub_name,
            database,
            metrics,
            HubApi(url, token, clock=clock),
            self._pods(clock),
            interval=timedelta(seconds=interval),
            rules=Rules(
                grace=timedelta(seconds=self.event_grace_seconds),
                hub_poll=timedelta(seconds=self.hub_poll_seconds),
            ),
            clock=clock,
        )

    def _pods(self, clock: Callable[[], datetime]) -> PodSource | None:
        if not self.watch_pods:
            return None
        try:
            from ..sources.pods import PodSource
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"found no module {error.name}; expected it, because watch_pods is true; "
                "pip install 'jupyterhub-metrics[kubernetes]'"
            ) from None
        return PodSource(parent=self, environment=self.environment, clock=clock)

    def _secret(self, name: str) -> Path:
        return Path(self.data_dir) / "secrets" / name

    def _hub_secrets(self) -> HubSecrets:
        paths = {hub: Path(path) for hub, path in self.hub_token_files.items()}
        paths.setdefault(self.hub_name, self._secret("events_token"))
        tokens: dict[str, str] = {}
        for hub, path in paths.items():
            token = read_token(path)
            if token is None:
                raise ConfigurationError(
                    f"found no {path}; expected the events secret of the Hub {hub!r}; "
                    "start that Hub with jupyterhub_metrics.hub.setup, or correct the path"
                )
            tokens[hub] = token
        return HubSecrets(tokens)

    def _metrics_token(self) -> str | None:
        path = Path(self.metrics_token_file or self._secret("metrics_token"))
        token = read_token(path)
        if token is None:
            log.warning("found no %s; metrics is closed to everyone", path)
        return token
