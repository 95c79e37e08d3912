"""One pod, from the API server's bytes straight to our own value.

Called by ``sources.kube_answers``. Only the fields named here are decoded; the client library's
object model, which costs most of the time and memory of a list, is never used. Field names and
meanings: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

import msgspec

from ..errors import MetricsError
from .quantity import parse_bytes
from .world import Pod

USERNAME_ANNOTATION: Final = "hub.jupyter.org/username"
SERVER_NAME_ANNOTATION: Final = "hub.jupyter.org/servername"
MAX_TEXT_CHARACTERS: Final = 255


class UnreadableAnswer(MetricsError):
    """Bytes that are not what the API server sends; its text never quotes them."""


@dataclass(frozen=True)
class PodFields:
    """Which container is the server, and where its owner's e-mail and full name stand.

    The names of annotations are tried before those of the container's environment variables;
    an empty name is not looked for.
    """

    container: str = "notebook"
    email_annotation: str = ""
    full_name_annotation: str = ""
    email_variable: str = ""
    full_name_variable: str = ""


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    namespace: str
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    annotations: dict[str, str] | None = None


class _Terminated(msgspec.Struct, rename="camel"):
    exit_code: int | None = None
    reason: str | None = None
    finished_at: str | None = None


class _Running(msgspec.Struct, rename="camel"):
    started_at: str | None = None


class _State(msgspec.Struct):
    running: _Running | None = None
    terminated: _Terminated | None = None


class _ContainerStatus(msgspec.Struct, rename="camel"):
    name: str
    state: _State | None = None
    last_state: _State | None = None


class _Condition(msgspec.Struct):
    type: str
    status: str
    reason: str | None = None


class _Status(msgspec.Struct, rename="camel"):
    phase: str | None = None
    reason: str | None = None
    conditions: list[_Condition] | None = None
    container_statuses: list[_ContainerStatus] | None = None


class _Variable(msgspec.Struct):
    name: str
    value: str | None = None


class _Resources(msgspec.Struct):
    limits: dict[str, str | int | float] | None = None


class _Container(msgspec.Struct):
    name: str
    image: str | None = None
    resources: _Resources | None = None
    env: msgspec.Raw = msgspec.Raw(b"null")


class _Spec(msgspec.Struct, rename="camel"):
    containers: list[_Container] | None = None
    node_name: str | None = None


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec | None = None
    status: _Status | None = None


class _BareMetadata(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    namespace: str
    resource_version: str | None = None


class _BarePod(msgspec.Struct):
    metadata: _BareMetadata


_POD = msgspec.json.Decoder(_Pod)
_BARE_POD = msgspec.json.Decoder(_BarePod)
_VARIABLES = msgspec.json.Decoder(list[_Variable] | None)


@dataclass(frozen=True)
class SeenPod:
    """A pod as one answer shows it; ``whole`` is false where only its identity could be read."""

    pod: Pod
    version: str | None
    whole: bool = True


def read_pod(raw: msgspec.Raw, fields: PodFields) -> SeenPod:
    """A pod as one object of an answer shows it. Raises UnreadableAnswer if it has no name."""
    try:
        decoded = _POD.decode(raw)
        return SeenPod(_build(decoded, fields), decoded.metadata.resource_version)
    except ValueError:
        pass
    # One broken pod must not hide the others; without its name nothing could be said of it.
    try:
        bare = _BARE_POD.decode(raw).metadata
    except ValueError as error:
        raise UnreadableAnswer("a pod without a name that can be read") from error
    pod = Pod(namespace=sys.intern(bare.namespace), name=bare.name, uid=bare.uid)
    return SeenPod(pod, bare.resource_version, whole=False)


def _build(pod: _Pod, fields: PodFields) -> Pod:
    metadata, spec, status = pod.metadata, pod.spec or _Spec(), pod.status or _Status()
    annotations = metadata.annotations or {}
    container = _named(spec.containers, fields.container)
    reported = _named(status.container_statuses, container.name if container else fields.container)
    if container is not None and reported is not None and reported.name != container.name:
        reported = None
    state = (reported and reported.state) or _State()
    ended = state.terminated or _Terminated()
    last = (reported and reported.last_state and reported.last_state.terminated) or _Terminated()
    # KubeSpawner leaves the server's name out for the default server
    username = annotations.get(USERNAME_ANNOTATION) or None
    server_name = annotations.get(SERVER_NAME_ANNOTATION, "") if username is not None else None
    variables = _variables(container, fields)
    return Pod(
        namespace=sys.intern(metadata.namespace),
        name=metadata.name,
        uid=metadata.uid,
        username=_clean(username),
        server_name=_clean(server_name),
        phase=_shared(status.phase),
        created_at=parse_moment(metadata.creation_timestamp),
        running_since=parse_moment(state.running.started_at) if state.running else None,
        finished_at=parse_moment(ended.finished_at),
        finish_reason=_shared(ended.reason),
        exit_status=ended.exit_code,
        last_finished_at=parse_moment(last.finished_at),
        last_finish_reason=_shared(last.reason),
        last_exit_status=last.exit_code,
        deletion_at=parse_moment(metadata.deletion_timestamp),
        status_reason=_shared(_status_reason(status)),
        node=_shared(spec.node_name),
        image=_shared(container.image) if container else None,
        email=_person(annotations, fields.email_annotation, variables, fields.email_variable),
        full_name=_person(
            annotations, fields.full_name_annotation, variables, fields.full_name_variable
        ),
        memory_limit_bytes=_memory_limit(container),
    )


def _named(items: Sequence[Any] | None, name: str) -> Any:
    """The one of that name, else the first, else None."""
    if not items:
        return None
    return next((item for item in items if item.name == name), items[0])


def _status_reason(status: _Status) -> str | None:
    """Why Kubernetes ended the pod, or is about to (``Evicted``, ``PreemptionByScheduler``)."""
    if status.reason:
        return status.reason
    for condition in status.conditions or ():
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return condition.reason
    return None


def _variables(container: _Container | None, fields: PodFields) -> dict[str, str]:
    """The named environment variables that have a plain value; all others are left unread."""
    wanted = {fields.email_variable, fields.full_name_variable} - {""}
    if not wanted or container is None:
        return {}
    return {
        variable.name: variable.value
        for variable in _VARIABLES.decode(container.env) or ()
        # $(NAME) stands for another variable's value, which only the kubelet knows
        if variable.name in wanted and variable.value and "$(" not in variable.value
    }


def _person(
    annotations: dict[str, str], annotation: str, variables: dict[str, str], variable: str
) -> str | None:
    return _clean((annotations.get(annotation) or variables.get(variable) or "").strip()) or None


def _memory_limit(container: _Container | None) -> int | None:
    limits = container.resources.limits if container and container.resources else None
    amount = (limits or {}).get("memory")
    # a limit of 0 is none
    return (parse_bytes(str(amount)) if amount is not None else None) or None


def _clean(text: str | None) -> str | None:
    """Text that every store takes: bounded, and without NUL, which PostgreSQL refuses."""
    return None if text is None else text.replace("\x00", "\ufffd")[:MAX_TEXT_CHARACTERS]


def _shared(text: str | None) -> str | None:
    """One string object for a value that many pods share; None for an empty one."""
    return sys.intern(text.replace("\x00", "\ufffd")) if text else None


def parse_moment(text: str | None) -> datetime | None:
    """An RFC 3339 moment in UTC; None for none, for what is no moment, and for Go's zero time."""
    if not text:
        return None
    try:
        # before Python 3.11 the letter Z is not understood
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1] in "Zz" else text)
        if moment.tzinfo is None:
            return None
        moment = moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year > 1 else None
