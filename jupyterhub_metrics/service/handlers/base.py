"""What all handlers share: security headers, and answers in JSON or as a page."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tornado.web import GZipContentEncoding, HTTPError, RequestHandler, StaticFileHandler

from ..access import Viewer
from ..wiring import Wiring

log = logging.getLogger(__name__)

HTTP_ERROR_TEXTS = {
    400: "The request was not understood.",
    403: "You may not see this page.",
    404: "There is no such page.",
    405: "This address does not take that kind of request.",
    500: "Something went wrong here; the service's log says what.",
    502: "The Hub did not confirm who you are. Please try again in a moment.",
    503: "The usage records cannot be read at the moment. Nothing is lost; please try again soon.",
}


def content_security_policy(hub_host: str) -> str:
    """Nothing but our own files; with per-user domains, the Hub's host for its stylesheet."""
    own = f"'self' {hub_host}".strip()
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src {own}",
            f"img-src {own} data:",
            f"font-src {own}",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        )
    )


def security_headers(hub_host: str) -> dict[str, str]:
    """Headers of every answer; ``hub_host`` is the Hub's own origin, or empty if it is ours."""
    return {
        "Content-Security-Policy": content_security_policy(hub_host),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }


class Compressed(GZipContentEncoding):
    """Answers compressed, for those who take that: a page to an eighth in a third of the time that
    the last tenth of it would cost."""

    GZIP_LEVEL = 2


class SecureHandler(RequestHandler):
    """What every answer has in common: its headers, and what of it reaches the log."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in self.wiring.security_headers.items():
            self.set_header(name, value)

    @property
    def wiring(self) -> Wiring:
        wiring: Wiring = self.settings["wiring"]
        return wiring

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Refusals are told to the caller; only what nobody expected reaches the log."""
        if not isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)


class JSONHandler(SecureHandler):
    """For programs: errors are ``{"error": one line, "field": what it is about}``."""

    def prepare(self) -> Any:
        self.set_header("Cache-Control", "no-store")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        text = HTTP_ERROR_TEXTS.get(status_code, self._reason)
        self.answer(status_code, {"error": text, "field": "request"})

    def from_operator(self) -> bool:
        """Whether the request carries the metrics token, which only operators have."""
        return self.wiring.scrape_access.is_operator(self.request.headers.get("Authorization", ""))

    def answer(self, status: int, body: Mapping[str, Any]) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(body))


class PageHandler(SecureHandler):
    """For people: HTML in the look of the Hub."""

    def prepare(self) -> Any:
        self.set_header("Cache-Control", "private, no-store")

    def render_page(self, template: str, *, viewer: Viewer | None = None, **values: Any) -> None:
        # an error may come before anyone was asked who is visiting
        user = getattr(self, "_current_user", None)
        page = self.wiring.pages.render(
            template, user=user, viewer=viewer, asset_url=self.static_url, **values
        )
        self.finish(page)

    def refuse(self, status: int, text: str | None = None) -> None:
        """The page that says why there is none."""
        text = text or HTTP_ERROR_TEXTS.get(status, self._reason)
        self.set_status(status)
        self.render_page("error.html", status=status, text=text)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.refuse(status_code)


class NotFound(PageHandler):
    """Every address that leads nowhere, also for those who are not logged in."""

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(404)


class AddSlash(PageHandler):
    """The service's address without its last slash."""

    def get(self) -> None:
        self.redirect(self.wiring.prefix, permanent=False)


class Asset(SecureHandler, StaticFileHandler):
    """Our scripts and styles, with the same headers."""


_QUIET_PREFIXES = ("api/", "health/", "metrics", "static/")


def log_request(handler: RequestHandler) -> None:
    """The access log: what machines ask all the time at debug, pages at info; never a query,
    which holds the codes of the Hub's OAuth."""
    path = urlsplit(handler.request.uri or "").path
    wiring: Wiring = handler.settings["wiring"]
    status = handler.get_status()
    quiet = path.removeprefix(wiring.prefix).startswith(_QUIET_PREFIXES)
    if status >= 500 and status != 503:
        level = logging.ERROR
    else:
        level = logging.DEBUG if quiet else logging.INFO
    log.log(
        level,
        "%s %s %s %.1f ms",
        status,
        handler.request.method,
        path,
        1000 * handler.request.request_time(),
    )
