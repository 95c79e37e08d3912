"""The user pods of this node: the API says which, the control groups' paths say where.

Called by the sampling loop in a DaemonSet. The API is asked with the pod's own service account, and
only for pods whose ``spec.nodeName`` is this node. Standard library only: a client of all of
Kubernetes costs more memory than the sampler.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, urlencode

from .._private_files import read_secret
from ..errors import ConfigurationError, SourceUnavailable

log = logging.getLogger(__name__)

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LOOK_SECONDS: Final = 15.0
"""How long the list of pods counts; a pod that is new is sampled after that at the latest."""

TIMEOUT_SECONDS: Final = 10.0
_DEPTH: Final = 4

_POD: Final = re.compile(
    r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})(?:\.slice)?$"
)
_ABOVE: Final = re.compile(r"(kubelet|kubepods|burstable|besteffort|guaranteed)[\w.-]*$")


@dataclass(frozen=True)
class Pod:
    """A user's pod, and the path of its control group."""

    namespace: str
    name: str
    path: str

    @property
    def container_name(self) -> str:
        """What the ring calls it: pods of two Hubs on one node may share a name."""
        return f"{self.namespace}/{self.name}"


class PodApi:
    """The cluster's API for a pod with a service account in ``account``.

    ``url`` is where it answers; else ``KUBERNETES_SERVICE_HOST`` and ``…_PORT`` say so. Raises
    ConfigurationError where there is no cluster.
    """

    def __init__(
        self,
        node_name: str,
        *,
        selector: str,
        namespace: str | None = None,
        url: str | None = None,
        account: Path = ACCOUNT,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        host = environment.get("KUBERNETES_SERVICE_HOST")
        port = environment.get("KUBERNETES_SERVICE_PORT") or "443"
        if not url and not host:
            raise ConfigurationError(
                "found no cluster; expected KUBERNETES_SERVICE_HOST, as in a pod; run it as a "
                "DaemonSet, or without --kubernetes"
            )
        self._url = url or f"https://{host}:{port}"
        self._node_name = node_name
        self._account = account
        scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        self._query = {"labelSelector": selector, "fieldSelector": f"spec.nodeName={node_name}"}
        self._path = f"/api/v1{scope}/pods?{urlencode(self._query)}"

    def pods(self) -> dict[str, tuple[str, str]]:
        """Namespace and name of this node's user pods that run, by the pod's uid.

        Raises SourceUnavailable.
        """
        listed = self._get().get("items")
        found = {}
        for item in listed if isinstance(listed, list) else []:
            metadata, spec = item.get("metadata") or {}, item.get("spec") or {}
            ours = spec.get("nodeName") == self._node_name
            if ours and (item.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                found[str(metadata.get("uid"))] = (
                    str(metadata.get("namespace")),
                    str(metadata.get("name")),
                )
        return found

    def _get(self) -> dict[str, Any]:
        # it is renewed every hour
        token = read_secret(self._account / "token")
        connection = self._connection()
        try:
            headers = {"Accept": "application/json", "Authorization": f"Bearer {token or ''}"}
            connection.request("GET", self._path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            value = json.loads(body) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silent(str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if not isinstance(value, dict):
            raise self._silent(f"status {answer.status}")
        return value

    def _connection(self) -> http.client.HTTPConnection:
        scheme, _, address = self._url.partition("://")
        if scheme == "http":
            return http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
        try:
            trusted = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        except OSError as error:
            raise self._silent(f"no certificate in {self._account} ({error.strerror})") from error
        return http.client.HTTPSConnection(address, timeout=TIMEOUT_SECONDS, context=trusted)

    def _silent(self, found: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"the cluster does not say which pods run here: found {found} at {self._url}; expected "
            "a list of pods; let the service account list pods (docs/sampler.md)"
        )


def pod_groups(roots: Iterable[str]) -> dict[str, str]:
    """The path of each pod's control group by the pod's uid, as the kubelet makes them.

    With systemd's driver (``kubepods-burstable-podUID.slice``, with ``_`` in the uid) and with
    cgroupfs' (``kubepods/burstable/podUID``), below a kubelet's own root too.
    """
    found: dict[str, str] = {}
    for root in roots:
        front = [("", 0)]
        while front:
            path, depth = front.pop()
            try:
                names = os.listdir(f"{root}/{path}")  # noqa: PTH208 - names are all that is wanted
            except OSError:
                continue
            for name in names:
                below = f"{path}/{name}" if path else name
                match = _POD.search(name)
                if match:
                    found.setdefault(match[1].replace("_", "-"), below)
                elif depth < _DEPTH and _ABOVE.match(name):
                    front.append((below, depth + 1))
    return found


class NodePods:
    """The user pods of this node, looked up anew every 15 s.

    While the API does not answer, those that were known are looked for further.
    """

    def __init__(
        self,
        api: PodApi,
        roots: Iterable[str],
        *,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._api = api
        self._roots = tuple(roots)
        self._seconds = seconds
        self._known: dict[str, tuple[str, str]] = {}
        self._pods: list[Pod] = []
        self._looked = -LOOK_SECONDS
        self._complaint = ""

    def pods(self) -> list[Pod]:
        """Those that have a control group, in no particular order."""
        now = self._seconds()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._pods

    def _look(self) -> None:
        try:
            self._known = self._api.pods()
            self._complaint = ""
        except SourceUnavailable as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("%s", error)
        groups = pod_groups(self._roots)
        self._pods = [
            Pod(namespace, name, groups[uid])
            for uid, (namespace, name) in self._known.items()
            if uid in groups
        ]
