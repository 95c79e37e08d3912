"""What the API server answers: pages of a list, lines of a watch, refusals; from its bytes.

Called by ``sources.pod_follower`` and ``sources.cluster``. Decoded into typed values without the
client library's object model. Formats: https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from .pod_json import PodFields, SeenPod, UnreadableAnswer, read_pod


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str
    continue_: str | None = msgspec.field(name="continue", default=None)


class _List(msgspec.Struct):
    kind: str
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _WatchEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _VersionedMetadata(msgspec.Struct, rename="camel"):
    resource_version: str


class _Versioned(msgspec.Struct):
    metadata: _VersionedMetadata


class _Failure(msgspec.Struct):
    code: int | None = None
    reason: str | None = None
    message: str | None = None


_LIST = msgspec.json.Decoder(_List)
_EVENT = msgspec.json.Decoder(_WatchEvent)
_VERSIONED = msgspec.json.Decoder(_Versioned)
_FAILURE = msgspec.json.Decoder(_Failure)


@dataclass(frozen=True)
class Page:
    """One page of a list; ``next_page`` is the token of the next one, None on the last."""

    pods: Sequence[SeenPod]
    version: str
    next_page: str | None


@dataclass(frozen=True)
class Failure:
    """What the API server says about a request that it refused or broke off."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class WatchEvent:
    """One line of a watch: ``ADDED``, ``MODIFIED`` or ``DELETED`` with a pod, ``BOOKMARK`` with
    a version only, ``ERROR`` with a failure."""

    kind: str
    seen: SeenPod | None = None
    version: str | None = None
    failure: Failure | None = None


def read_page(body: bytes | bytearray, fields: PodFields) -> Page:
    """A page of a list of pods.

    Raises UnreadableAnswer unless the whole of it is a list with a version, and each pod in it
    has at least a name: an answer that only looks like an empty list must not end a pod.
    """
    try:
        page = _LIST.decode(body)
    except ValueError as error:
        raise UnreadableAnswer("something else than a list of pods") from error
    if page.kind != "PodList" or not page.metadata.resource_version:
        raise UnreadableAnswer("something else than a list of pods")
    pods = [read_pod(raw, fields) for raw in page.items or ()]
    return Page(pods, page.metadata.resource_version, page.metadata.continue_ or None)


def read_event(line: bytes, fields: PodFields) -> WatchEvent:
    """One line of a watch. Raises UnreadableAnswer if it is none."""
    try:
        event = _EVENT.decode(line)
        if event.type == "BOOKMARK":
            bookmark = _VERSIONED.decode(event.object)
            return WatchEvent(event.type, version=bookmark.metadata.resource_version)
    except ValueError as error:
        raise UnreadableAnswer("a line that is no event of a watch") from error
    if event.type == "ERROR":
        return WatchEvent(event.type, failure=read_failure(bytes(event.object)))
    if event.type not in ("ADDED", "MODIFIED", "DELETED"):
        raise UnreadableAnswer("an event of a kind that Kubernetes does not have")
    seen = read_pod(event.object, fields)
    if not seen.version:
        raise UnreadableAnswer("an event whose pod has no resource version")
    return WatchEvent(event.type, seen=seen, version=seen.version)


def read_failure(body: bytes) -> Failure:
    """The Status object of a refusal; an empty one if the body is something else."""
    try:
        status = _FAILURE.decode(body)
    except ValueError:
        return Failure()
    return Failure(status.code, status.reason, status.message)
