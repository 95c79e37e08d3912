"""A small Kubernetes API server for tests: pods over real HTTP on loopback, with levers for faults.

It keeps the contract that clients rely on
(https://kubernetes.io/docs/reference/using-api/api-concepts/): one revision for the whole store,
lists that stay at one revision over all their pages, watches from a revision with bookmarks, 410
for what was compacted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from kube_store import Expired, Json, PodStore, merge, now_text

TOKEN = "fake-kube-token-3f9d1c77"


@dataclass
class Fault:
    """What happens to one request instead of its answer; ``wanted`` picks the request."""

    act: Callable[[web.Request], Any]
    wanted: str = "any"


@dataclass(eq=False)
class Watcher:
    """An open watch."""

    request: web.Request
    response: web.StreamResponse
    namespace: str
    selector: str
    position: int
    silent: bool = False
    closing: bool = False
    raw: list[bytes] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class KubeApi:
    """The store, the server and the levers."""

    def __init__(self, *, bookmark_seconds: float = 60.0) -> None:
        self.store = PodStore(on_change=self._wake)
        self.faults: list[Fault] = []
        self.watchers: set[Watcher] = set()
        self.seen: list[web.Request] = []
        self.token = TOKEN
        self.bookmark_seconds = bookmark_seconds
        self.port = 0
        self.tls: Any = None
        self.authority: Path | None = None
        self._runner: web.AppRunner | None = None

    # -- the server ------------------------------------------------------------------------------

    async def start(self) -> None:
        application = web.Application(client_max_size=2**24)
        one = "/api/v1/namespaces/{namespace}/pods"
        application.add_routes(
            [
                web.get("/api/v1/pods", self._get_pods),
                web.get(one, self._get_pods),
                web.post(one, self._post_pod),
                web.patch(one + "/{name}", self._patch_pod),
                web.patch(one + "/{name}/status", self._patch_pod),
                web.delete(one + "/{name}", self._delete_pod),
                web.post("/api/v1/namespaces", self._created),
                web.delete("/api/v1/namespaces/{namespace}", self._delete_namespace),
                web.post("/api/v1/namespaces/{namespace}/serviceaccounts", self._created),
            ]
        )
        application.add_routes(self.more_routes())
        application.middlewares.append(self._gate)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def more_routes(self) -> list[web.RouteDef]:
        """What else it answers."""
        return []

    async def stop(self) -> None:
        """As a server that is killed: open streams break off, the state stays."""
        self.break_watches()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def kubeconfig(self, path: Path, current: str, **user: str) -> Path:
        """Writes a kubeconfig with two contexts: ``test``, and ``away`` where nobody listens."""
        here = {"server": self.url}
        if self.authority is not None:
            here["certificate-authority"] = str(self.authority)
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": current,
                    "clusters": [
                        {"name": "here", "cluster": here},
                        {"name": "nowhere", "cluster": {"server": "http://127.0.0.1:1"}},
                    ],
                    "users": [{"name": "tester", "user": user or {"token": self.token}}],
                    "contexts": [
                        {
                            "name": name,
                            "context": {"cluster": cluster, "user": "tester", "namespace": space},
                        }
                        for name, cluster, space in (
                            ("test", "here", "jhub"),
                            ("away", "nowhere", "default"),
                        )
                    ],
                }
            )
        )
        path.chmod(0o600)
        return path

    # -- levers ----------------------------------------------------------------------------------

    def fail_next(self, act: Callable[[web.Request], Any], wanted: str = "any") -> None:
        """Gives the next ``list``, ``continue``, ``watch`` or ``any`` request another answer."""
        self.faults.append(Fault(act, wanted))

    def break_watches(self) -> None:
        """Cuts every open watch off, without an end of the stream."""
        for watcher in list(self.watchers):
            if watcher.request.transport is not None:
                watcher.request.transport.abort()

    def end_watches(self) -> None:
        """Ends every open watch as its timeout does."""
        self._each_watcher(lambda watcher: setattr(watcher, "closing", True))

    def say(self, raw: bytes) -> None:
        """Puts bytes into every open watch, whatever they are."""
        self._each_watcher(lambda watcher: watcher.raw.append(raw))

    def silence(self) -> None:
        """Leaves every open watch open and tells it nothing any more."""
        self._each_watcher(lambda watcher: setattr(watcher, "silent", True))

    def bookmark(self) -> None:
        self.say(self._bookmark())

    def _bookmark(self) -> bytes:
        metadata = {"resourceVersion": str(self.store.revision), "creationTimestamp": None}
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {}, "status": {}}
        return json.dumps({"type": "BOOKMARK", "object": pod}).encode() + b"\n"

    def _each_watcher(self, act: Callable[[Watcher], None]) -> None:
        for watcher in self.watchers:
            act(watcher)
        self._wake()

    def _wake(self) -> None:
        for watcher in self.watchers:
            watcher.news.set()

    # -- requests --------------------------------------------------------------------------------

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.seen.append(request)
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        kinds = {"any", kind_of(request)}
        for fault in self.faults:
            if fault.wanted in kinds:
                self.faults.remove(fault)
                answer = fault.act(request)
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer is not None:
                    return answer
                break
        return await handler(request)

    def refusal(self, request: web.Request) -> web.Response | None:
        """The answer to whoever may not ask this."""
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return failure(401, "Unauthorized", "Unauthorized")
        return None

    async def _get_pods(self, request: web.Request) -> web.StreamResponse:
        namespace = request.match_info.get("namespace", "")
        query = request.query
        selector = query.get("labelSelector", "")
        try:
            if kind_of(request) == "watch":
                return await self._watch(request, namespace, selector)
            body = self.store.page(
                namespace, selector, int(query.get("limit", "0")), query.get("continue", "")
            )
        except Expired:
            return failure(410, "Expired", "The provided continue parameter is too old")
        return web.Response(body=body, content_type="application/json")

    async def _watch(
        self, request: web.Request, namespace: str, selector: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            position = self.store.position_after(int(request.query["resourceVersion"]))
        except Expired:
            await response.write(error_line(410, "Expired", "too old resource version"))
            return response
        watcher = Watcher(request, response, namespace, selector, position)
        self.watchers.add(watcher)
        try:
            await self._tell(watcher, float(request.query.get("timeoutSeconds", "300")))
        except ConnectionResetError:
            pass
        finally:
            self.watchers.discard(watcher)
        return response

    async def _tell(self, watcher: Watcher, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end, bookmark_at = loop.time() + seconds, loop.time() + self.bookmark_seconds
        while not watcher.closing and loop.time() < end:
            watcher.news.clear()
            told = b"" if watcher.silent else b"".join(self._lines_for(watcher))
            told += b"".join(watcher.raw)
            watcher.raw.clear()
            if not watcher.silent and loop.time() >= bookmark_at:
                bookmark_at = loop.time() + self.bookmark_seconds
                told += self._bookmark()
            if told:
                await watcher.response.write(told)
            alarm = loop.call_at(min(end, bookmark_at), watcher.news.set)
            await watcher.news.wait()
            alarm.cancel()

    def _lines_for(self, watcher: Watcher) -> Iterator[bytes]:
        changes = self.store.changes
        while watcher.position < len(changes):
            change = changes[watcher.position]
            watcher.position += 1
            if watcher.namespace in ("", change.key[0]):
                line = change.line_for(watcher.selector)
                if line is not None:
                    yield line

    async def _post_pod(self, request: web.Request) -> web.Response:
        pod = await request.json()
        namespace = request.match_info["namespace"]
        if (namespace, pod["metadata"]["name"]) in self.store.pods:
            return failure(409, "AlreadyExists", "pods already exists")
        return web.json_response(
            self.store.create(merge(pod, {"metadata": {"namespace": namespace}})), status=201
        )

    async def _patch_pod(self, request: web.Request) -> web.Response:
        key = (request.match_info["namespace"], request.match_info["name"])
        if key not in self.store.pods:
            return failure(404, "NotFound", "pods not found")
        return web.json_response(self.store.patch(*key, await request.json()))

    async def _delete_pod(self, request: web.Request) -> web.Response:
        key = (request.match_info["namespace"], request.match_info["name"])
        if key not in self.store.pods:
            return failure(404, "NotFound", "pods not found")
        options = await request.json() if request.can_read_body else {}
        pod = self.store.pods[key].pod
        if options.get("gracePeriodSeconds") == 0 or not pod.get("spec", {}).get("nodeName"):
            self.store.delete(*key)
        else:
            self.store.patch(*key, {"metadata": {"deletionTimestamp": now_text()}})
        return web.json_response(pod)

    async def _created(self, request: web.Request) -> web.Response:
        return web.json_response(await request.json(), status=201)

    async def _delete_namespace(self, request: web.Request) -> web.Response:
        for key in [key for key in self.store.pods if key[0] == request.match_info["namespace"]]:
            self.store.delete(*key)
        return web.json_response({"kind": "Namespace"})


def kind_of(request: web.Request) -> str:
    if request.method != "GET":
        return request.method.lower()
    if request.query.get("watch") in ("1", "true"):
        return "watch"
    return "continue" if request.query.get("continue") else "list"


def status(code: int, reason: str, message: str) -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def failure(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(status(code, reason, message), status=code)


def error_line(code: int, reason: str, message: str) -> bytes:
    """The event with which a watch says that it cannot go on."""
    return json.dumps({"type": "ERROR", "object": status(code, reason, message)}).encode() + b"\n"


async def hang_up(request: web.Request) -> web.Response:
    """No answer: the connection breaks off."""
    request.transport.abort()
    return web.Response()


def half_page(body: bytes) -> Callable[[web.Request], Any]:
    """The first half of an answer, then the connection breaks off."""

    async def act(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        request.transport.abort()
        return response

    return act
