"""Asks Microsoft Graph who the users are: e-mail, full name, department and job title.

Called by ``service.directory`` and ``sources.users_command``. Written from the documentation:
https://learn.microsoft.com/graph/api/user-list (what is asked and answered),
https://learn.microsoft.com/graph/paging, https://learn.microsoft.com/graph/throttling, and
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow (the token).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from tornado.httpclient import HTTPRequest, HTTPResponse
from traitlets import Float, Unicode, default
from traitlets.config import LoggingConfigurable

from .._private_files import read_secret
from ..errors import ConfigurationError, SourceUnavailable
from ..model import MAX_NAME_CHARACTERS
from ..store import Person
from .web import NoAnswer, WebClient

SELECTED: Final = ("userPrincipalName", "mail", "displayName", "department", "jobTitle")
"""The only properties that are asked for."""

PAGE_USERS: Final = 999
"""The most that Graph puts on a page."""

MAX_TRIES: Final = 5
TRY_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT_SECONDS: Final = 300.0


class MicrosoftGraph(LoggingConfigurable):
    """The directory of one Microsoft Entra tenant."""

    tenant = Unicode(
        help="""The tenant's id or domain. Default: the value of AZURE_TENANT_ID; empty: Microsoft
        Graph is not asked."""
    ).tag(config=True)
    client_id = Unicode(
        help="""The id of the registered application, which needs the application permission
        User.Read.All. Default: the value of AZURE_CLIENT_ID."""
    ).tag(config=True)
    client_secret_file = Unicode(
        help="""Path of the file with the application's secret. Default: empty, which means the
        value of AZURE_CLIENT_SECRET."""
    ).tag(config=True)
    graph_url = Unicode(
        "https://graph.microsoft.com",
        help="Where Microsoft Graph answers; national clouds have addresses of their own.",
    ).tag(config=True)
    login_url = Unicode(
        "https://login.microsoftonline.com",
        help="Where tokens are given; national clouds have addresses of their own.",
    ).tag(config=True)
    timeout_seconds = Float(
        60.0, min=0.1, help="Seconds until a request without an answer counts as failed."
    ).tag(config=True)

    @default("tenant")
    def _default_tenant(self) -> str:
        return self.environment.get("AZURE_TENANT_ID", "")

    @default("client_id")
    def _default_client_id(self) -> str:
        return self.environment.get("AZURE_CLIENT_ID", "")

    def __init__(
        self,
        *,
        environment: Mapping[str, str] = os.environ,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        **kwargs: Any,
    ) -> None:
        self.environment = environment
        self._pause = pause
        self._web = WebClient()
        super().__init__(**kwargs)

    @property
    def configured(self) -> bool:
        """Whether there is a tenant to ask and a secret to ask with."""
        # clusters put a tenant and a client into pods that have no secret
        return bool(
            self.tenant and (self.client_secret_file or self.environment.get("AZURE_CLIENT_SECRET"))
        )

    async def people(self, known: Sequence[Person]) -> dict[str, dict[str, str | None]]:
        """What the directory says of the users that are known, by the user's name in the Hub.

        Others are read and forgotten. A user is the one whose e-mail is known to be the mail or
        principal name of an entry; else whose name is one of the two; else whose name is what
        stands before the @ of a single entry's principal name. Case does not matter.

        Raises ConfigurationError if a setting is missing, SourceUnavailable if not everything
        could be read.
        """
        secret = self._secret()
        return matched(known, await self._entries(await self._token(secret)))

    def close(self) -> None:
        self._web.close()

    def _secret(self) -> str:
        secret = self.environment.get("AZURE_CLIENT_SECRET", "")
        if self.client_secret_file:
            secret = read_secret(Path(self.client_secret_file)) or ""
        missing = [
            name
            for name, value in (
                ("MicrosoftGraph.tenant (AZURE_TENANT_ID)", self.tenant),
                ("MicrosoftGraph.client_id (AZURE_CLIENT_ID)", self.client_id),
                ("MicrosoftGraph.client_secret_file (AZURE_CLIENT_SECRET)", secret),
            )
            if not value
        ]
        if missing:
            raise ConfigurationError(
                "Microsoft Graph cannot be asked, the following is not set or names no file: "
                f"{', '.join(missing)}; set it"
            )
        return secret

    async def _token(self, secret: str) -> str:
        url = f"{self.login_url.rstrip('/')}/{quote(self.tenant, safe='')}/oauth2/v2.0/token"
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": secret,
            "scope": f"{self.graph_url.rstrip('/')}/.default",
        }
        request = HTTPRequest(
            url,
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form),
        )
        response = await self._fetch(request)
        body = _object(response)
        token = body.get("access_token")
        if response.code != 200 or not isinstance(token, str):
            # its error_description quotes ids and times, which say nothing to an operator
            raise SourceUnavailable(
                f"{url} gives no token ({response.code}: {_short(body.get('error'))}); expected "
                "one; check the tenant, the client id and the secret of MicrosoftGraph"
            )
        return token

    async def _entries(self, token: str) -> list[dict[str, str | None]]:
        """Every user of the directory, by the names of ``SELECTED``."""
        query = urlencode({"$select": ",".join(SELECTED), "$top": PAGE_USERS}, safe="$,")
        url: str | None = f"{self.graph_url.rstrip('/')}/v1.0/users?{query}"
        entries: list[dict[str, str | None]] = []
        seen: set[str] = set()
        while url is not None:
            if url in seen or urlsplit(url)[:2] != urlsplit(self.graph_url)[:2]:
                # the token is for Graph alone
                raise SourceUnavailable(
                    "Microsoft Graph gave a next page that is elsewhere or was read before; "
                    "expected another one of its own; check MicrosoftGraph.graph_url"
                )
            seen.add(url)
            response = await self._fetch(
                HTTPRequest(url, headers={"Authorization": f"Bearer {token}"})
            )
            page, url = _page(response)
            entries += page
        return entries

    async def _fetch(self, request: HTTPRequest) -> HTTPResponse:
        """The answer, after waiting as long as Graph asks for; raises SourceUnavailable if none."""
        wait_seconds = 1.0
        for attempt in range(1, MAX_TRIES + 1):
            response, fault = await self._try(request)
            if response is not None and response.code not in TRY_AGAIN:
                return response
            if attempt < MAX_TRIES:
                asked = _retry_after(response)
                await self._pause(wait_seconds if asked is None else asked)
                wait_seconds *= 2
        found = fault if response is None else response.code
        address = request.url.partition("?")[0]
        raise SourceUnavailable(
            f"{address} does not answer: found {found} {MAX_TRIES} times; expected 200; what was "
            "known of people stays, the next refresh asks again"
        )

    async def _try(self, request: HTTPRequest) -> tuple[HTTPResponse | None, str]:
        try:
            return await self._web.fetch(request, timeout_seconds=self.timeout_seconds), ""
        except NoAnswer as error:
            return None, str(error)


def _retry_after(response: HTTPResponse | None) -> float | None:
    """Seconds that Graph asks to wait; None if it does not."""
    text = "" if response is None else response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT_SECONDS) if text.isascii() and text.isdigit() else None


def _page(response: HTTPResponse) -> tuple[list[dict[str, str | None]], str | None]:
    body = _object(response)
    if response.code != 200:
        error = body.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        raise SourceUnavailable(
            f"Microsoft Graph answers {response.code} ({_short(code)}); expected 200; grant the "
            "application the permission User.Read.All, and an administrator's consent"
        )
    users, following = body.get("value"), body.get("@odata.nextLink")
    shaped = isinstance(users, list) and all(isinstance(user, dict) for user in users)
    if not shaped or not isinstance(following, str | None):
        raise SourceUnavailable(
            "Microsoft Graph answers in another shape; expected a list named value; check "
            "MicrosoftGraph.graph_url"
        )
    return [{name: _text(user.get(name)) for name in SELECTED} for user in users or ()], following


def _object(response: HTTPResponse) -> dict[str, Any]:
    try:
        body = json.loads(response.body)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


def _short(value: Any) -> str:
    return " ".join(str(value or "no reason given").split())[:80]


def _text(value: Any) -> str | None:
    """Text that every store takes; None for anything else."""
    if not isinstance(value, str):
        return None
    clean = "".join(letter if letter.isprintable() else " " for letter in value).strip()
    return clean[:MAX_NAME_CHARACTERS] or None


def matched(
    known: Iterable[Person], entries: Iterable[Mapping[str, str | None]]
) -> dict[str, dict[str, str | None]]:
    """What the entries of a directory say of the users that are known, by the user's name."""
    whole: dict[str, Mapping[str, str | None]] = {}
    local: dict[str, list[Mapping[str, str | None]]] = {}
    for entry in entries:
        for name in ("mail", "userPrincipalName"):
            if entry[name]:
                whole[str(entry[name]).lower()] = entry
        principal = (entry["userPrincipalName"] or "").lower()
        if "@" in principal:
            local.setdefault(principal.partition("@")[0], []).append(entry)
    found = {}
    for person in known:
        name = person.username.lower()
        alone = local.get(name, [])
        match = (
            whole.get((person.email or "").lower())
            or whole.get(name)
            or (alone[0] if len(alone) == 1 else None)
        )
        if match is not None:
            found[person.username] = {
                "email": match["mail"],
                "full_name": match["displayName"],
                "department": match["department"],
                "job_title": match["jobTitle"],
            }
    return found
