"""Gives the Hub's own pages a summary of usage, for whoever is logged in.

Added to the Hub's handlers by :mod:`.hooks`. A page of the Hub cannot ask the service itself: the
service has another XSRF cookie and another login. So the page asks the Hub, which knows who is
asking and what they may see, and the Hub asks the service with the secret that they share.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import Scope
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.web import HTTPError

from .._names import READ_SCOPE, SERVICE_NAME
from .delivery import Delivery
from .spawner import RECORDER_SETTING

PATH: Final = "jupyterhub-metrics/summary"
"""Under the Hub's prefix."""

TIMEOUT_SECONDS: Final = 5.0
_ACCESS: Final = frozenset({"access:services", f"access:services!service={SERVICE_NAME}"})


class SummaryHandler(APIHandler):
    """``GET hub/jupyterhub-metrics/summary``, for a browser's login with the Hub's XSRF token."""

    _accept_token_auth = False
    # also to read: pages of users' servers share the Hub's origin
    _xsrf_safe_methods: frozenset[str] = frozenset()

    async def get(self) -> None:
        user = self.current_user
        if user is None or isinstance(user, orm.Service) or not _ACCESS & self.expanded_scopes:
            raise HTTPError(403, "found nobody who may use jupyterhub-metrics")
        recorder = user.settings.get(RECORDER_SETTING)
        delivery = None if recorder is None else recorder.delivery
        if delivery is None:
            raise HTTPError(503, "this Hub is not recorded")
        asked = {"user": user.name, **granted(user.admin, self.parsed_scopes)}
        self.set_header("Cache-Control", "private, no-store")
        self.finish(await _ask(delivery, asked))


def granted(admin: bool, parsed_scopes: Any) -> dict[str, Any]:
    """What of others someone may see, as arguments of the service's summary."""
    limits = parsed_scopes.get(READ_SCOPE, {})
    if admin or limits == Scope.ALL:
        return {"everyone": "1"}
    return {"group": sorted(limits.get("group", ()))}


async def _ask(delivery: Delivery, asked: dict[str, Any]) -> str:
    """The service's answer. Raises HTTPError 503 if there is none."""
    url = delivery.events_url.removesuffix("events") + "summary?" + urlencode(asked, doseq=True)
    try:
        # a few bytes of a local file
        token = Path(delivery.token_file).read_text(encoding="ascii").strip()  # noqa: ASYNC240
        answer = await AsyncHTTPClient().fetch(
            url,
            headers={"Authorization": f"Bearer {token}"},
            request_timeout=TIMEOUT_SECONDS,
            connect_timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
        )
        return json.dumps(json.loads(answer.body))
    except (HTTPClientError, OSError, ValueError):
        # the page then shows nothing of ours; the recorder says in the log what is wrong
        raise HTTPError(503, "the usage service does not answer") from None
