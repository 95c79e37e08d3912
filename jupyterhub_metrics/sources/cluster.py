"""One authenticated connection to a Kubernetes API server, and what its refusals mean.

Called by ``sources.pod_follower``; made by ``sources.cluster_login``. The client library keeps
the TLS context and the credentials; answers are handed on as bytes. No message carries a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.config import ConfigException

from ..errors import MetricsError
from .kube_answers import Failure, read_failure

_MAX_FAILURE_BYTES: Final = 64 * 1024
_MAX_RETRY_AFTER_SECONDS: Final = 60.0


class ClusterTrouble(MetricsError):
    """The API server cannot be reached, refused, or said something that it never says.

    ``code`` is the HTTP status, None where there was none; ``retry_after_seconds`` what the server
    asks for.
    """

    def __init__(
        self, message: str, *, code: int | None = None, retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class Cluster:
    """A connection pool with credentials, from ``cluster_login.connect``."""

    def __init__(self, client: ApiClient, default_namespace: str) -> None:
        self._client = client
        self.default_namespace = default_namespace
        self._base_url = client.configuration.host
        parts = urlsplit(self._base_url)
        self.host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    async def close(self) -> None:
        await self._client.close()

    @asynccontextmanager
    async def get(
        self, path: str, parameters: Mapping[str, str], timeout: aiohttp.ClientTimeout, *, task: str
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of a 200 answer, to be read within the block; ``task`` says what for.

        Raises ClusterTrouble for any other answer, for none, and for one that breaks off.
        """
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        try:
            response = await self._ask(f"{self._base_url}{path}", parameters, headers, timeout)
            try:
                if response.status != 200:
                    raise await self._refused(response, task, headers)
                if response.content_type != "application/json":
                    raise ClusterTrouble(
                        f"found {one_line(response.content_type)} of {self.host}; expected JSON, "
                        f"{task}; see whether the address is that of a Kubernetes API server and "
                        "not of a proxy or a login page before it"
                    )
                yield response.content
            finally:
                response.close()
        except asyncio.TimeoutError:
            raise ClusterTrouble(
                f"found no answer of {self.host} in time; expected {task}; "
                "see whether the API server is overloaded or the network is cut"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterTrouble(
                f"found {_without(headers, one_line(str(error) or type(error).__name__))} at "
                f"{self.host}; expected {task}; "
                "see whether the API server runs and its address is right"
            ) from None

    async def _ask(
        self,
        url: str,
        parameters: Mapping[str, str],
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Adds the credentials to ``headers``; a token that rotates is read again from its file."""
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"])
            response: aiohttp.ClientResponse = await self._client.rest_client.request(
                "GET",
                url,
                query_params=list(parameters.items()),
                headers=headers,
                _preload_content=False,
                _request_timeout=timeout,
            )
            return response
        except (ConfigException, ValueError) as error:
            if isinstance(error, aiohttp.ClientError):
                raise
            raise ClusterTrouble(
                f"found credentials that cannot be sent to {self.host} ({type(error).__name__}); "
                "expected a token of one line; correct the kubeconfig or the service account"
            ) from None

    async def _refused(
        self, response: aiohttp.ClientResponse, task: str, headers: Mapping[str, str]
    ) -> ClusterTrouble:
        code = response.status
        failure = Failure()
        if response.content_type == "application/json":
            failure = read_failure(await response.content.read(_MAX_FAILURE_BYTES))
        said = _without(headers, one_line(failure.message or str(response.reason or "")))
        return ClusterTrouble(
            f"found HTTP {code} of {self.host} ({said}); expected {task}; {remedy(code)}",
            code=code,
            retry_after_seconds=_seconds(response.headers.get("Retry-After", "")),
        )


def remedy(code: int | None) -> str:
    """What a person can do about an HTTP status of the API server."""
    if code == 401:
        return "give the service a token that the API server accepts"
    if code == 403:
        return (
            "bind a Role that may list and watch pods in that namespace to the service's account; "
            "docs/pods.md has the manifest"
        )
    if code == 404:
        return "see whether the address is that of a Kubernetes API server"
    return "this heals by itself when the API server is well; if not, its log says why"


def one_line(text: str, limit: int = 300) -> str:
    """The text without line breaks and control characters, cut to ``limit`` characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())[
        :limit
    ]


def _without(headers: Mapping[str, str], text: str) -> str:
    """The text without the token that was sent: a proxy may repeat it in what it answers."""
    token = headers.get("authorization", "").rpartition(" ")[2]
    return text.replace(token, "[token]") if token else text


def _seconds(header: str) -> float:
    return min(float(header), _MAX_RETRY_AFTER_SECONDS) if header.isdecimal() else 0.0
