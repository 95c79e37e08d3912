"""The state of the tests' Kubernetes API server: pods, one revision for all, and what changed.

Called by ``kube_api``. No I/O.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

Json = dict[str, Any]
Key = tuple[str, str]


def now_text() -> str:
    """A moment as Kubernetes writes it: whole seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(target: Json, patch: Json) -> Json:
    """RFC 7396, the merge patch."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merge(result.get(name) or {}, value)
        else:
            result[name] = value
    return result


@dataclass
class Stored:
    """A pod at one revision, with its bytes made once."""

    pod: Json
    body: bytes = b""

    def __post_init__(self) -> None:
        self.body = self.body or json.dumps(self.pod).encode()

    def fits(self, selector: str) -> bool:
        labels = self.pod["metadata"].get("labels") or {}
        pairs = [part.split("=", 1) for part in selector.split(",") if part]
        return all(labels.get(name) == value.lstrip("=") for name, value in pairs)


@dataclass
class Change:
    """One step of the store: what a pod was before and is after it."""

    revision: int
    key: Key
    before: Stored | None
    after: Stored | None

    def line_for(self, selector: str) -> bytes | None:
        """The event that a watcher with this selector gets, or None."""
        was = self.before is not None and self.before.fits(selector)
        fits = self.after is not None and self.after.fits(selector)
        if not was and not fits:
            return None
        if fits:
            kind, body = ("MODIFIED" if was else "ADDED"), self.after.body
        else:
            # the last state, with the revision of its removal
            last = merge(self.before.pod, {"metadata": {"resourceVersion": str(self.revision)}})
            kind, body = "DELETED", json.dumps(last).encode()
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)


class Expired(Exception):
    """What is asked for was compacted."""


class PodStore:
    """Pods by (namespace, name); ``on_change`` is called after each step."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.pods: dict[Key, Stored] = {}
        self.revision = 1000
        self.changes: list[Change] = []
        self._compacted = 1000
        self._snapshots: dict[int, list[tuple[Key, Stored]]] = {}
        self._on_change = on_change

    def put(self, pod: Json) -> Json:
        """Creates or changes a pod; the new revision wakes the watches."""
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        self.revision += 1
        after = Stored(merge(pod, {"metadata": {"resourceVersion": str(self.revision)}}))
        self._step(Change(self.revision, key, self.pods.get(key), after))
        self.pods[key] = after
        return after.pod

    def create(self, pod: Json) -> Json:
        metadata = {"uid": str(uuid.uuid4()), "creationTimestamp": now_text()}
        pending = {"phase": "Pending", "qosClass": "BestEffort"}
        return self.put(merge({"status": pending}, merge({"metadata": metadata}, pod)))

    def patch(self, namespace: str, name: str, patch: Json) -> Json:
        return self.put(merge(self.pods[namespace, name].pod, patch))

    def delete(self, namespace: str, name: str) -> None:
        before = self.pods.pop((namespace, name))
        self.revision += 1
        self._step(Change(self.revision, (namespace, name), before, None))

    def compact(self) -> None:
        """Forgets all history, as etcd does every few minutes; open watches lose nothing."""
        self._compacted = self.revision
        self._snapshots.clear()

    def position_after(self, revision: int) -> int:
        """Where in ``changes`` a watch from ``revision`` begins. Raises Expired."""
        if revision < self._compacted:
            raise Expired
        later = (i for i, change in enumerate(self.changes) if change.revision > revision)
        return next(later, len(self.changes))

    def page(self, namespace: str, selector: str, limit: int, token: str) -> bytes:
        """One page of a list at the revision of its first page. Raises Expired."""
        revision, start = self.revision, 0
        if token:
            revision, start = json.loads(base64.b64decode(token))
            if revision < self._compacted or revision not in self._snapshots:
                raise Expired
        elif revision not in self._snapshots:
            self._snapshots[revision] = sorted(self.pods.items(), key=lambda item: item[0])
        chosen = [
            stored
            for (space, _), stored in self._snapshots[revision]
            if namespace in ("", space) and stored.fits(selector)
        ]
        end = start + limit if limit else len(chosen)
        metadata: Json = {"resourceVersion": str(revision)}
        if end < len(chosen):
            metadata["continue"] = base64.b64encode(json.dumps([revision, end]).encode()).decode()
            metadata["remainingItemCount"] = len(chosen) - end
        head = json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": metadata})[:-1]
        body = b",".join(stored.body for stored in chosen[start:end])
        return b'%s,"items":[%s]}' % (head.encode(), body)

    def _step(self, change: Change) -> None:
        self.changes.append(change)
        self._on_change()
