"""Which address leads to which handler. Called by ``service.app``."""

from __future__ import annotations

import re
from typing import Any

from tornado.web import Application

from .. import _data
from .auth import Visitor
from .handlers import (
    api,
    base,
    health,
    ingest,
    metrics,
    page,
    recording,
    samples,
    summary,
    tables,
    usage,
)
from .wiring import Wiring

ENDPOINTS: dict[str, type[Any]] = {
    "": usage.UsageHandler,
    "users": tables.UsersHandler,
    "users/<name>": usage.UsageHandler,
    "groups": tables.GroupsHandler,
    "groups/<name>": tables.GroupHandler,
    "usage": tables.UsageByHandler,
    "running": tables.RunningHandler,
    "recording": recording.RecordingHandler,
    "api": recording.ApiPageHandler,
    "oauth_callback": page.CallbackHandler,
    "api/v1/events": ingest.IngestHandler,
    "api/v1/samples": samples.SamplesHandler,
    "api/v1/summary": summary.SummaryHandler,
    "api/v1/openapi.json": api.DocumentHandler,
    "api/v1/<resource>": api.ResourceHandler,
    "health/live": health.LiveHandler,
    "health/ready": health.ReadyHandler,
    "metrics": metrics.MetricsHandler,
}
"""Every address under the prefix, as the documentation lists them."""

ASSETS = _data.path("share", "jupyter", "jupyterhub-metrics", "static")


def make_application(wiring: Wiring, cookie_secret: bytes) -> Application:
    """The tornado application that serves all endpoints under ``wiring.prefix``."""
    prefix = re.escape(wiring.prefix)
    rules: list[tuple[Any, ...]] = []
    for endpoint, handler in ENDPOINTS.items():
        if wiring.hub_auth is None and issubclass(handler, Visitor):
            is_json = issubclass(handler, base.JSONHandler)
            handler = page.TokenNotKnown if is_json else page.LoginNotPossible
        pattern = re.sub("<[a-z]+>", "([^/]+)", re.escape(endpoint))
        rules.append((f"{prefix}{pattern}", handler))
    rules.append((prefix.rstrip("/"), base.AddSlash))
    return Application(
        rules,
        default_handler_class=base.NotFound,
        wiring=wiring,
        cookie_secret=cookie_secret,
        xsrf_cookies=True,
        transforms=[base.Compressed],
        log_function=base.log_request,
        static_handler_class=base.Asset,
        static_path=str(ASSETS),
        static_url_prefix=f"{wiring.prefix}static/",
    )


def make_open_application(wiring: Wiring) -> Application:
    """The tornado application of the loopback address where ``metrics`` needs no token."""
    return Application(
        [(r"/metrics", metrics.OpenMetricsHandler)],
        wiring=wiring,
        log_function=base.log_request,
    )
