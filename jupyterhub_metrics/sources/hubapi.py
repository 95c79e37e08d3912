"""Asks the Hub's REST API which servers run and who is in which group.

Called by ``service.checker``. Either everything was read, or SourceUnavailable says in one line
what is missing: half an answer never looks like servers that have gone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode

from tornado.httpclient import HTTPRequest, HTTPResponse

from ..errors import SourceUnavailable
from ..model import moment_of
from .web import NoAnswer, WebClient
from .world import HubServer, HubView

log = logging.getLogger(__name__)

SCOPES: Final = (
    "list:users",
    "read:servers",
    "read:users:groups",
    "list:groups",
    "read:groups",
)
"""The least that the token needs; ``hub.setup`` grants them."""

PAGINATION: Final = "application/jupyterhub-pagination+json"
PAGE_ITEMS: Final = 200
"""What JupyterHub gives at most unless ``api_page_max_limit`` says otherwise."""

OVERLAP: Final = 10
"""The part of a page that the next one shows again: one in so many, and at least one item."""

MAX_STEPS_BACK: Final = 5
"""How often a list that shrinks while it is read is read again from further ahead."""

_GRANT: Final = "let setup(c) be the last to change JupyterHub.load_roles, or grant the scopes"


class HubApi:
    """One Hub's REST API, asked with the service's own token."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        clock: Callable[[], datetime],
        timeout_seconds: float = 30.0,
        page_items: int = PAGE_ITEMS,
    ) -> None:
        """``url`` is the API's own, such as ``http://127.0.0.1:8081/hub/api``."""
        self._url = url.rstrip("/")
        self._token = token
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._page_items = page_items
        self._web = WebClient()
        self._groups_complaint: str | None = None

    async def view(self) -> HubView:
        """All servers that start, run or stop now, and all groups.

        Raises SourceUnavailable if the servers could not be read whole. Groups that may not be
        read are None; one line says so, once.
        """
        asked_at = self._clock()
        pages = _Pages(self)
        users = await pages.all("/users", {"state": "active", "include_stopped_servers": "0"})
        answered_at = self._clock()
        servers = {
            (server.username, server.server_name): server
            for user in users
            for server in _servers(user)
        }
        return HubView(
            servers=servers,
            groups=await self._groups(),
            asked_at=asked_at,
            answered_at=answered_at,
            clock_ahead_seconds=pages.clock_ahead_seconds,
        )

    def close(self) -> None:
        self._web.close()

    async def _groups(self) -> Mapping[str, frozenset[str]] | None:
        try:
            groups = await _Pages(self).all("/groups", {})
            found = {_text(group, "name"): _members(group) for group in groups}
        except SourceUnavailable as error:
            if str(error) != self._groups_complaint:
                log.warning("Groups keep the members they had: %s", error)
            self._groups_complaint = str(error)
            return None
        self._groups_complaint = None
        return found

    async def get(self, path: str, parameters: Mapping[str, str]) -> HTTPResponse:
        """One answer, whatever its status; raises SourceUnavailable if there is none."""
        request = HTTPRequest(
            f"{self._url}{path}?{urlencode(parameters)}",
            headers={"Authorization": f"Bearer {self._token}", "Accept": PAGINATION},
        )
        try:
            return await self._web.fetch(request, timeout_seconds=self._timeout_seconds)
        except NoAnswer as error:
            raise self._silent(path, error) from error

    def _silent(self, path: str, error: BaseException | None) -> SourceUnavailable:
        return SourceUnavailable(
            f"the Hub does not answer GET {self._url}{path}: found {error or 'nothing'}; expected "
            "an answer; check that it runs and JUPYTERHUB_API_URL"
        )

    def now(self) -> datetime:
        return self._clock()

    @property
    def page_items(self) -> int:
        return self._page_items


class _Pages:
    """Reads one list whole, though it changes meanwhile.

    The Hub orders it by id, so what goes before our place moves the rest up. Pages overlap: while
    each holds something that an earlier one held, nothing between them was skipped.
    """

    def __init__(self, api: HubApi) -> None:
        self._api = api
        self.clock_ahead_seconds = 0.0

    async def all(self, path: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        offset, steps_back = 0, 0
        while True:
            asked_at = self._api.now()
            response = await self._api.get(
                path, {**parameters, "offset": str(offset), "limit": str(self._api.page_items)}
            )
            self._compare_clocks(response, asked_at, self._api.now())
            items, limit, total = _page(path, response)
            if len(items) < min(limit, total - offset):
                raise SourceUnavailable(
                    f"the Hub's {path} gave {len(items)} of the {min(limit, total - offset)} items "
                    f"of a page; expected all; the token sees only some of them, {_GRANT}"
                )
            names = [_text(item, "name") for item in items]
            if offset and found.keys().isdisjoint(names):
                steps_back += 1
                if steps_back > MAX_STEPS_BACK:
                    raise SourceUnavailable(
                        f"the Hub's {path} shrank while it was read; expected a list that holds "
                        "still for a moment; the next check asks again"
                    )
                offset = max(0, offset - limit)
                continue
            found.update(zip(names, items, strict=True))
            if offset + limit >= total:
                return list(found.values())
            offset += limit - max(1, limit // OVERLAP)

    def _compare_clocks(
        self, response: HTTPResponse, asked_at: datetime, answered_at: datetime
    ) -> None:
        try:
            date = parsedate_to_datetime(response.headers["Date"]).astimezone(timezone.utc)
        except (KeyError, ValueError):
            return
        # the header is cut to the second
        if date > answered_at:
            self.clock_ahead_seconds = (date - answered_at).total_seconds()
        elif date + timedelta(seconds=1) < asked_at:
            self.clock_ahead_seconds = (date + timedelta(seconds=1) - asked_at).total_seconds()


def _page(path: str, response: HTTPResponse) -> tuple[list[dict[str, Any]], int, int]:
    """The items of an answer, how many a page may have, and how many there are in all."""
    body = _json(path, response)
    if response.code == 403:
        raise SourceUnavailable(
            f"the Hub refuses GET {path} (403: {_message(body)}); expected a token with the "
            f"scopes {' '.join(SCOPES)}; {_GRANT}"
        )
    if response.code != 200:
        raise SourceUnavailable(
            f"the Hub answers GET {path} with {response.code} ({_message(body)}); expected 200; "
            "its log says why"
        )
    try:
        pagination = body["_pagination"]
        items, limit, total = body["items"], pagination["limit"], pagination["total"]
        shaped = isinstance(items, list) and all(isinstance(item, dict) for item in items)
        # pages of one item cannot overlap
        if not shaped or int(limit) < 2:
            raise ValueError
        return items, int(limit), int(total)
    except (KeyError, TypeError, ValueError):
        raise SourceUnavailable(
            f"the Hub answers GET {path} in another shape; expected items and _pagination, "
            "at least two items a page; check JUPYTERHUB_API_URL, api_page_max_limit and that it "
            "is JupyterHub 5.2 or newer"
        ) from None


def _json(path: str, response: HTTPResponse) -> Any:
    try:
        return json.loads(response.body)
    except ValueError:
        kind = response.headers.get("Content-Type", "no type").partition(";")[0]
        raise SourceUnavailable(
            f"the Hub answers GET {path} with {response.code} and {kind} that is not JSON; "
            "expected its REST API; check JUPYTERHUB_API_URL and what stands before the Hub"
        ) from None


def _message(body: Any) -> str:
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or "no reason given")[:200]


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise SourceUnavailable(f"the Hub gave an item without {name}; expected text; {_GRANT}")
    return value


def _members(group: Mapping[str, Any]) -> frozenset[str]:
    members = group.get("users")
    if not isinstance(members, list):
        raise SourceUnavailable(
            "the Hub gave groups without their users; found a token without the scope "
            f"read:groups; expected it; {_GRANT}"
        )
    return frozenset(str(member) for member in members)


def _servers(user: Mapping[str, Any]) -> list[HubServer]:
    username, servers = _text(user, "name"), user.get("servers")
    if not isinstance(servers, dict):
        raise SourceUnavailable(
            "the Hub gave users without their servers; found a token without the scope "
            f"read:servers; expected it; {_GRANT}"
        )
    try:
        return [
            HubServer(
                username=username,
                server_name=name,
                started_at=_moment(server.get("started")),
                ready=bool(server.get("ready")),
                pending=server.get("pending"),
                last_activity_at=_moment(server.get("last_activity")),
            )
            for name, server in servers.items()
        ]
    except (AttributeError, TypeError, ValueError):
        raise SourceUnavailable(
            f"the Hub gave a server of {username!r} in another shape; expected JupyterHub's own"
        ) from None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = moment_of(text)
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)
