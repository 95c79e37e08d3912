"""The settings of what Prometheus is told and who may ask. Called by ``service.app``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Float, Integer, List, Unicode
from traitlets.config import Configurable

from ..errors import ConfigurationError
from ..sources.home_sizes import HomeSizes
from .database import Database
from .homes import HomeReader
from .hub_tokens import HubTokens
from .listening import Address, address_of
from .metrics import Metrics
from .scrape_access import ScrapeAccess
from .snapshots import Snapshots
from .user_families import UserRules

log = logging.getLogger(__name__)

NAMESPACE_VARIABLES = ("NAMESPACE", "K8S_NAMESPACE")
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
SCOPE_PREFIX = "custom:jupyterhub-metrics:"


class Scraping(Configurable):
    """What ``metrics`` shows, and to whom beside the bearers of the metrics token."""

    hub_scope = Unicode(
        help="""Scope that opens metrics to the bearers of a token of the Hub who hold it, for
        example custom:jupyterhub-metrics:scrape, which setup(c) defines. Must begin with
        custom:jupyterhub-metrics:. Default: empty, which means that no token of the Hub does."""
    ).tag(config=True)
    open_url = Unicode(
        help="""Where else to listen, http://127.0.0.1:port/, for scrapes that need no token:
        everyone on this machine may then read metrics. Only a loopback address. Default: empty,
        nowhere."""
    ).tag(config=True)
    snapshot_interval_seconds = Float(
        60.0,
        min=1.0,
        help="Time between two readings of what metrics tell of the present, in seconds.",
    ).tag(config=True)
    answer_seconds = Float(
        5.0,
        min=0.0,
        help="""How long a scrape may be answered with what another was answered with, in seconds.
        0: not at all.""",
    ).tag(config=True)
    database_limit_bytes = Integer(
        0,
        min=0,
        help="""How large the database may become, in bytes, for the alert that it fills: where it
        is not on the disk of data_dir. 0: not known, no such series.""",
    ).tag(config=True)
    user_series = Bool(
        False,
        help="""Whether metrics show users one by one, with their groups. Whoever may scrape then
        reads who uses the Hub.""",
    ).tag(config=True)
    max_series_users = Integer(
        10_000,
        min=0,
        help="""How many users metrics show one by one at most; how many are left out is a metric
        of its own. 0: none.""",
    ).tag(config=True)
    user_groups = List(
        Unicode(),
        help="Groups that count where users are shown one by one. Default: empty, which means all.",
    ).tag(config=True)
    count_in_each_group = Bool(
        True,
        help="""Whether a user of several groups is counted in each of them, so that sums over
        groups are larger than the whole; otherwise under 'multiple'.""",
    ).tag(config=True)
    hub_namespaces = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""Kubernetes namespaces by name of the Hub, for the label namespace of users' series.
        Default: NAMESPACE or K8S_NAMESPACE, where it names one, for the service's own Hub; another
        Hub's is its name.""",
    ).tag(config=True)

    def __init__(self, *, hub_name: str, environment: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._hub_name = hub_name
        self._environment = environment

    def snapshots(
        self,
        database: Database,
        metrics: Metrics,
        hubs: Sequence[str],
        homes: HomeReader | None,
        data_dir: Path,
        clock: Callable[[], datetime],
    ) -> Snapshots:
        """The task that reads what is true now."""
        return Snapshots(
            database,
            metrics,
            interval=timedelta(seconds=self.snapshot_interval_seconds),
            hubs=hubs,
            user_rules=self.user_rules() if self.user_series else None,
            homes=homes,
            data_dir=data_dir,
            database_limit_bytes=self.database_limit_bytes or None,
            clock=clock,
        )

    def homes(
        self,
        database: Database,
        metrics: Metrics,
        hubs: Sequence[str],
        clock: Callable[[], datetime],
    ) -> HomeReader | None:
        """What reads how large homes are; None where nobody is to be asked or users are not shown
        one by one. Raises ConfigurationError."""
        source = HomeSizes(parent=self.parent)
        if not source.configured:
            return None
        if not self.user_series:
            log.warning(
                "found HomeSizes.urls while Scraping.user_series is off, so that no home is shown "
                "or read; switch it on, or leave the addresses out"
            )
            return None
        own_namespace = self.user_rules().namespace_of(self._hub_name)
        return HomeReader(
            database, metrics, source, hubs=hubs, own_namespace=own_namespace, clock=clock
        )

    def access(self, metrics_token: str | None, metrics: Metrics) -> ScrapeAccess:
        """Who may scrape, and how fresh the answers are.

        Raises ConfigurationError if a scope is wanted that cannot be asked for.
        """
        metrics.recent_answers.max_age_seconds = self.answer_seconds
        return ScrapeAccess(metrics_token, self._hub_tokens(), metrics)

    def open_address(self) -> Address | None:
        """Where scrapes need no token; None for nowhere. Raises ConfigurationError."""
        if not self.open_url:
            return None
        address = address_of(self.open_url)
        if address.host not in LOOPBACK_HOSTS:
            raise ConfigurationError(
                f"found Scraping.open_url on {address.host}, which others reach too; expected one "
                f"of {', '.join(LOOPBACK_HOSTS)}; correct it, or scrape with a token"
            )
        return address

    def user_rules(self) -> UserRules:
        """How users are shown one by one, where they are."""
        namespace = next(filter(None, map(self._environment.get, NAMESPACE_VARIABLES)), "")
        own = {self._hub_name: namespace} if namespace and "," not in namespace else {}
        return UserRules(
            allowed_groups=frozenset(self.user_groups),
            count_in_each=self.count_in_each_group,
            namespaces={**own, **self.hub_namespaces},
            limit=self.max_series_users,
        )

    def _hub_tokens(self) -> HubTokens | None:
        scope = self.hub_scope
        if not scope:
            return None
        url = self._environment.get("JUPYTERHUB_API_URL")
        if not scope.startswith(SCOPE_PREFIX) or scope == SCOPE_PREFIX:
            raise ConfigurationError(
                f"found Scraping.hub_scope {scope!r}; expected a scope that begins with "
                f"{SCOPE_PREFIX}, which no one holds by chance; correct it"
            )
        if not url:
            raise ConfigurationError(
                "found Scraping.hub_scope and no JUPYTERHUB_API_URL to ask who holds it; set the "
                "variable or leave the scope empty"
            )
        return HubTokens(url, scope)
