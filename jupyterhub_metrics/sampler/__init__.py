"""Samples of nodes and containers: what the kernel, Docker and GPUs tell, written into the ring.

Runs on hosts, nodes and in users' servers; ``docs/sampler.md`` says how. ``ResourceMonitor`` is for
programs with an event loop, ``CompleteResourceMonitor`` for those without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .complete import CompleteResourceMonitor
    from .monitor import ResourceMonitor

__all__ = ["CompleteResourceMonitor", "ResourceMonitor"]


def __getattr__(name: str) -> Any:
    # a user's server has the readers and no driver of a database
    if name == "ResourceMonitor":
        return import_module(f"{__name__}.monitor").ResourceMonitor
    if name == "CompleteResourceMonitor":
        return import_module(f"{__name__}.complete").CompleteResourceMonitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
