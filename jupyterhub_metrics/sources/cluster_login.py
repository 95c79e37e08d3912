"""Finds the cluster and logs in to it: a pod's own service account, or a kubeconfig's context.

Called by ``sources.pods``. No message carries a credential: the library's texts and those of
kubeconfig files, which can, are never repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import (
    ConfigException,
    list_kube_config_contexts,
    load_kube_config,
)
from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader

from .._tasks import within
from .cluster import Cluster, ClusterTrouble, one_line

SERVICE_ACCOUNT_DIR: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_KUBECONFIG: Final = "~/.kube/config"
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


@dataclass(frozen=True)
class ClusterAddress:
    """Where the cluster is found: in a kubeconfig file, or from inside one of its pods."""

    kubeconfig: str
    context: str
    environment: Mapping[str, str]

    @property
    def in_cluster(self) -> bool:
        """Whether a pod's own service account is used: in a pod, and no kubeconfig is named."""
        named = self.kubeconfig or self.context
        return not named and "KUBERNETES_SERVICE_HOST" in self.environment

    @property
    def kubeconfig_path(self) -> str:
        """The file, or several with the system's path separator between them, as kubectl does."""
        return self.kubeconfig or self.environment.get("KUBECONFIG") or DEFAULT_KUBECONFIG


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
    folder = SERVICE_ACCOUNT_DIR
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
        loader = await within(
            _LOGIN_SECONDS,
            load_kube_config(
                config_file=path,
                context=address.context or None,
                client_configuration=configuration,
                persist_config=False,
            ),
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
