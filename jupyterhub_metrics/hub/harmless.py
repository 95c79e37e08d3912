"""The edge between a spawn and its recording. Called by the recorder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar


class Faulty(Protocol):
    """What counts its faults and logs them."""

    faults: int
    log: Any


_Method = TypeVar("_Method", bound=Callable[..., Any])


def harmless(method: _Method) -> _Method:
    """A method whose fault is logged and counted, no more: a spawn goes on."""

    @functools.wraps(method)
    def guarded(self: Faulty, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception:
            self.faults += 1
            self.log.exception(
                "Recording %r failed; the spawn goes on, drift repairs the record", method.__name__
            )
            return None

    return guarded  # type: ignore[return-value]
