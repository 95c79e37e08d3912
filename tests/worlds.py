"""Makes sessions, Hub views and pod views for tests, short to write: times are seconds after T0."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from builders import at

from jupyterhub_metrics.model import session_id
from jupyterhub_metrics.sources.world import GonePod, HubServer, HubView, Pod, PodView
from jupyterhub_metrics.store import CheckedSession

HUB = "campus"


def session(
    username: str = "ada", server_name: str = "", *, started: float = 0, **values: Any
) -> CheckedSession:
    """One that the recorder told of and that runs, unless ``values`` say otherwise."""
    started_at = at(started)
    given: dict[str, Any] = {
        "state": "running",
        "recorded": True,
        "last_event_at": at(started + 5),
        "alive_at": at(started + 5),
        "original_username": username,
        **values,
    }
    return CheckedSession(
        id=session_id(HUB, given["original_username"], server_name, started_at),
        hub=HUB,
        username=username,
        server_name=server_name,
        started_at=started_at,
        **given,
    )


def server(
    username: str = "ada", server_name: str = "", *, started: float | None = 0, **values: Any
) -> HubServer:
    given: dict[str, Any] = {"ready": True, **values}
    return HubServer(username, server_name, None if started is None else at(started), **given)


def hub_view(
    asked: float, servers: Iterable[HubServer] = (), *, took: float = 0.5, **values: Any
) -> HubView:
    return HubView(
        servers={(one.username, one.server_name): one for one in servers},
        asked_at=at(asked),
        answered_at=at(asked + took),
        **{"groups": None, **values},
    )


def pod(username: str | None = "ada", server_name: str = "", **values: Any) -> Pod:
    name = values.pop("name", f"jupyter-{username}-{server_name}")
    given: dict[str, Any] = {
        "uid": f"uid-{name}",
        "phase": "Running",
        "created_at": at(1),
        "running_since": at(2),
        "node": "n1",
        **values,
    }
    return Pod(
        namespace="jhub",
        name=name,
        username=username,
        server_name=None if username is None else server_name,
        **given,
    )


def pod_view(
    fresh: float, pods: Iterable[Pod] = (), gone: Iterable[tuple[Pod, float, float]] = ()
) -> PodView:
    return PodView(
        pods={(one.namespace, one.name): one for one in pods},
        fresh_at=at(fresh),
        gone=tuple(GonePod(one, at(after), at(before)) for one, after, before in gone),
    )
