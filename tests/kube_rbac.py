"""The tests' Kubernetes API server with service accounts, which may do what their roles say.

As https://kubernetes.io/docs/reference/access-authn-authz/rbac/ and the TokenRequest API have it;
over TLS, as a pod reaches it.
"""

from __future__ import annotations

import re
import secrets
import ssl
from pathlib import Path

from aiohttp import web
from certipy import Certipy
from kube_api import KubeApi, failure, kind_of
from kube_store import Json

RBAC = "apis/rbac.authorization.k8s.io/v1"

_PATH = re.compile(r"/api/v1/(?:namespaces/[^/]+/)?(?P<resource>[a-z]+)(?P<name>/.+)?$")


class GuardedKubeApi(KubeApi):
    """With ``token`` everything may be done, with a service account's what its ClusterRole says."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        certificates = Certipy(store_dir=str(folder))
        self.authority = Path(certificates.create_ca("ca")["files"]["cert"])
        files = certificates.create_signed_pair("api", "ca", alt_names=["IP:127.0.0.1"])["files"]
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(files["cert"], files["key"])
        self.asked: set[tuple[str, str, str]] = set()
        self._accounts: dict[str, tuple[str, str]] = {}
        self._kept: dict[tuple[str, str], Json] = {}

    def more_routes(self) -> list[web.RouteDef]:
        account = "/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        role = f"/{RBAC}/{{kind:clusterroles|clusterrolebindings}}"
        return [
            web.post(account, self._give_token),
            web.post(role, self._keep),
            web.delete(role + "/{name}", self._drop),
        ]

    def refusal(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        account = self._accounts.get(token)
        if account is None:
            return super().refusal(request)
        found = _PATH.match(request.path)
        assert found is not None, request.path
        verb = kind_of(request)
        if verb in ("list", "continue"):
            verb = "get" if found["name"] else "list"
        self.asked.add(("", found["resource"], verb))
        if ("", found["resource"], verb) in self._allowed(account):
            return None
        return failure(403, "Forbidden", f"{found['resource']} is forbidden")

    def _allowed(self, account: tuple[str, str]) -> set[tuple[str, str, str]]:
        subject = {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}
        return {
            (group, resource, verb)
            for (kind, _), binding in self._kept.items()
            if kind == "clusterrolebindings" and subject in binding["subjects"]
            for rule in self._kept["clusterroles", binding["roleRef"]["name"]]["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    async def _give_token(self, request: web.Request) -> web.Response:
        token = secrets.token_urlsafe(24)
        self._accounts[token] = (request.match_info["namespace"], request.match_info["name"])
        return web.json_response({"status": {"token": token}}, status=201)

    async def _keep(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._kept[request.match_info["kind"], body["metadata"]["name"]] = body
        return web.json_response(body, status=201)

    async def _drop(self, request: web.Request) -> web.Response:
        del self._kept[request.match_info["kind"], request.match_info["name"]]
        return web.json_response({"kind": "Status"})
