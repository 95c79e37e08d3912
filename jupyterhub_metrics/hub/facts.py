"""What a spawner says about the server it starts: image, profile, resources, place, people.

Called by the recorder when a server is requested and again when it is ready or failed. Every
fact is absent where the spawner has none. Environment variables are never read.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ..errors import MetricsError
from ..wire import check_fact
from .actor import actor_of

MAX_TEXT_CHARACTERS = 255
MAX_COLLECTION_BYTES = 4096
"""Bytes of JSON that the groups, and that the user options, may take: the first that fit."""


def read_facts(
    spawner: Any,
    *,
    option_patterns: Iterable[str],
    gpu_patterns: Iterable[str],
    log: logging.Logger,
) -> dict[str, Any]:
    """The facts known now, by the names of ``docs/events.md``.

    A fact whose reading raises, or whose value the service would refuse, is left out and logged
    at debug level; the others still come.
    """
    readers: dict[str, Callable[[], Any]] = {
        "display_name": lambda: _text(getattr(spawner, "display_name", None)),
        "groups": lambda: _groups(spawner),
        "spawner_class": lambda: _spawner_class(spawner),
        "profile": lambda: _profile(spawner),
        "user_options": lambda: allowed_options(spawner.user_options, option_patterns),
        "image": lambda: _text(getattr(spawner, "image", None)),
        "pod_name": lambda: _text(_container_name(spawner)),
        "namespace": lambda: _text(getattr(spawner, "namespace", None)),
        "node": lambda: _node(spawner),
        "cpu_guarantee_cores": lambda: _number(getattr(spawner, "cpu_guarantee", None)),
        "cpu_limit_cores": lambda: _number(getattr(spawner, "cpu_limit", None)),
        "memory_guarantee_bytes": lambda: _bytes(getattr(spawner, "mem_guarantee", None)),
        "memory_limit_bytes": lambda: _bytes(getattr(spawner, "mem_limit", None)),
        "gpus": lambda: _gpus(spawner, gpu_patterns),
        "started_by": lambda: actor_of(getattr(spawner.handler, "current_user", None)),
    }
    return _read(readers, lambda name, why: log.debug("Fact %s of %s: %s", name, spawner, why))


def read_extra_facts(
    spawner: Any, readers: Mapping[str, Callable[[Any], Any]], log: logging.Logger
) -> dict[str, Any]:
    """The facts that the deployment adds; one that cannot be used is left out with a warning."""
    bound = {
        _storable(name): (lambda reader=reader: plain(reader(spawner)))
        for name, reader in readers.items()
    }
    return _read(
        bound,
        lambda name, why: log.warning(
            "MetricsRecorder.extra_facts[%r]: %s; the server is recorded without it", name, why
        ),
    )


def _read(
    readers: Mapping[str, Callable[[], Any]], complain: Callable[[str, str], None]
) -> dict[str, Any]:
    facts = {}
    for name, reader in readers.items():
        try:
            value = reader()
            if value in (None, "", [], {}):
                continue
            check_fact(name, value)
        except Exception as error:  # noqa: BLE001 - a property may raise anything
            # One missing fact must not cost the rest.
            known = isinstance(error, MetricsError)
            complain(name, str(error) if known else f"found {type(error).__name__}")
            continue
        facts[name] = value
    return facts


def allowed_options(options: Mapping[str, Any], patterns: Iterable[str]) -> dict[str, Any]:
    """The user options whose names match an allowed pattern and whose values are plain."""
    patterns = tuple(patterns)
    kept: dict[str, Any] = {}
    for name, value in (options or {}).items():
        if not isinstance(name, str) or not any(fnmatchcase(name, p) for p in patterns):
            continue
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if plain(value) is not None:
            kept[_storable(name)] = plain(value)
    return dict(_that_fit(kept.items()))


def plain(value: Any) -> str | float | bool | None:
    """The value if it is text, a number or a truth value that every store takes, else None."""
    if isinstance(value, str):
        return _storable(value)
    # Not true of an infinity or NaN, which JSON has not.
    if isinstance(value, bool | int | float) and abs(value) < 2**63:
        return value
    return None


def _that_fit(items: Iterable[Any]) -> Iterator[Any]:
    left = MAX_COLLECTION_BYTES
    for item in items:
        left -= len(json.dumps(item)) + 2
        if left < 0:
            return
        yield item


def _storable(text: str) -> str:
    """Text that JSON, SQLite and PostgreSQL all take, cut to a bounded length."""
    clean = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
    return clean[:MAX_TEXT_CHARACTERS]


def _text(value: Any) -> str | None:
    return _storable(value) if isinstance(value, str) and value else None


def _groups(spawner: Any) -> list[str]:
    names = sorted(group.name for group in spawner.user.groups)
    return list(_that_fit(_storable(name) for name in names))


def _spawner_class(spawner: Any) -> str:
    recorded = getattr(type(spawner), "recorded_class", type(spawner))
    return f"{recorded.__module__}.{recorded.__qualname__}"


def _profile(spawner: Any) -> str | None:
    options = getattr(spawner, "user_options", None) or {}
    return _text(options.get("profile"))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value > 0 else None


def _bytes(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value > 0 else None


def _gpus(spawner: Any, patterns: Iterable[str]) -> float | None:
    limits = getattr(spawner, "extra_resource_limits", None) or {}
    guarantees = getattr(spawner, "extra_resource_guarantees", None) or {}
    return count_gpus({**guarantees, **limits}, patterns)


def count_gpus(resources: Mapping[str, Any], patterns: Iterable[str]) -> float | None:
    """The sum of extended resources whose names match a pattern, such as ``nvidia.com/gpu``.

    Kubernetes lets extended resources be whole numbers only; other values are left out.
    """
    patterns = tuple(patterns)
    total = 0
    for name, amount in resources.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            text = str(amount)
            if text.isascii() and text.isdigit():
                total += int(text)
    return float(total) if total else None


def _container_name(spawner: Any) -> str | None:
    """What a sampler on the node finds it by: a pod, a container of Docker's, a unit of systemd."""
    for attribute in ("pod_name", "object_name", "container_name"):
        if name := getattr(spawner, attribute, None):
            return str(name)
    unit = getattr(spawner, "unit_name", None)
    return f"{str(unit).removesuffix('.service')}.service" if unit else None


def _node(spawner: Any) -> str | None:
    reflector = getattr(spawner, "pod_reflector", None)
    if reflector is not None:
        pod = reflector.pods.get(f"{spawner.namespace}/{spawner.pod_name}") or {}
        return _text((pod.get("spec") or {}).get("nodeName"))
    if isinstance(getattr(spawner, "pid", None), int) or getattr(spawner, "unit_name", None):
        # A process or a unit beside the Hub runs where the Hub runs.
        return _text(socket.gethostname())
    return None
