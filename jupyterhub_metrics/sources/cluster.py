"""One authenticated connection to a Kubernetes API server, and what its refusals mean.

Called by ``sources.pod_follower``. The client library finds the address and the credentials and
makes the TLS context; answers are handed on as bytes. No message carries a credential: texts of
the library and of kubeconfig files, which can, are never repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import yaml
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import (
    ConfigException,
    list_kube_config_contexts,
    load_kube_config,
)
from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader

from ..errors import MetricsError
from .pod_json import Failure, read_failure

SERVICE_ACCOUNT_DIR: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_KUBECONFIG: Final = "~/.kube/config"
_MAX_FAILURE_BYTES: Final = 64 * 1024
_MAX_RETRY_AFTER_SECONDS: Final = 60.0
_LOGIN_SECONDS: Final = 60.0
_BROKEN_KUBECONFIG: Final = (
    ConfigException,
    yaml.YAMLError,
    asyncio.TimeoutError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)
"""What the library raises for a file, an entry or a login plugin that does not work."""


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


@dataclass(frozen=True)
class ClusterAddress:
    """Where the cluster is found: in a kubeconfig file, or from inside one of its pods."""

    kubeconfig: str
    context: str
    environment: Mapping[str, str]
    service_account_dir: Path = SERVICE_ACCOUNT_DIR

    @property
    def in_cluster(self) -> bool:
        """Whether a pod's own service account is used: in a pod, and no kubeconfig is named."""
        named = self.kubeconfig or self.context
        return not named and "KUBERNETES_SERVICE_HOST" in self.environment

    @property
    def kubeconfig_path(self) -> str:
        """The file, or several with the system's path separator between them, as kubectl does."""
        return self.kubeconfig or self.environment.get("KUBECONFIG") or DEFAULT_KUBECONFIG


class Cluster:
    """A connection pool with credentials, from :func:`connect`."""

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


async def connect(address: ClusterAddress) -> Cluster:
    """A connection with credentials as they are now. Nothing is asked of the server yet.

    Raises ClusterTrouble if the address, the context or the credentials cannot be found.
    """
    configuration = type.__call__(Configuration)
    if address.in_cluster:
        namespace = _use_service_account(address, configuration)
    else:
        namespace = await _use_kubeconfig(address, configuration)
    try:
        return Cluster(ApiClient(configuration), namespace)
    except (OSError, ValueError) as error:
        raise ClusterTrouble(
            f"found certificates that cannot be used ({type(error).__name__}); expected those of "
            "the cluster in PEM form; correct the kubeconfig or the service account"
        ) from None


def _use_service_account(address: ClusterAddress, configuration: Configuration) -> str:
    folder = address.service_account_dir
    try:
        InClusterConfigLoader(
            token_filename=str(folder / "token"),
            cert_filename=str(folder / "ca.crt"),
            environ=address.environment,
        ).load_and_set(configuration)
        return (folder / "namespace").read_text(encoding="utf-8").strip() or "default"
    except (ConfigException, OSError, UnicodeDecodeError):
        raise ClusterTrouble(
            f"found no usable service account in {folder}; expected token, ca.crt and namespace; "
            "set automountServiceAccountToken, or name a kubeconfig in PodSource.kubeconfig"
        ) from None


async def _use_kubeconfig(address: ClusterAddress, configuration: Configuration) -> str:
    path = address.kubeconfig_path
    try:
        loader = await asyncio.wait_for(
            load_kube_config(
                config_file=path,
                context=address.context or None,
                client_configuration=configuration,
                persist_config=False,
            ),
            _LOGIN_SECONDS,
        )
        return str(loader.current_context["context"].get("namespace") or "default")
    except _BROKEN_KUBECONFIG as error:
        # The library puts pieces of the file, which holds credentials, into its texts: the kind
        # of failure is all that may be told.
        wanted = f"context {address.context!r}" if address.context else "current context"
        raise ClusterTrouble(
            f"found no usable {wanted} in {path} ({type(error).__name__}; contexts there: "
            f"{_context_names(path)}); expected one with a cluster and a user who can log in; "
            "correct KUBECTL_CONTEXT or the file, and try it with kubectl"
        ) from None


def _context_names(path: str) -> str:
    try:
        contexts, _ = list_kube_config_contexts(path)
        names = [str(context["name"]) for context in contexts]
    except _BROKEN_KUBECONFIG:
        names = []
    return one_line(", ".join(names)) or "none"
