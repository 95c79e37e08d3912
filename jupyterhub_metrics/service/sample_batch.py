"""Splits a post of a server's samples into those that can be kept and the others. Pure.

Called by ``handlers.samples``. The format stands in ``docs/service.md``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from .batch import BatchRefused

MAX_SAMPLES: Final = 1000
AHEAD: Final = timedelta(minutes=5)
BEHIND: Final = timedelta(days=1)

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "interval_seconds": (0.01, 3600.0),
    "memory_bytes": (0.0, 2.0**50),
    "cpu_cores": (0.0, 10_000.0),
    "oom_kills": (0.0, 1e6),
    "gpu_pct": (0.0, 6_400.0),
    "gpu_memory_bytes": (0.0, 2.0**50),
}
"""The numbers of a sample beside its moment, each with its least and its most."""


@dataclass(frozen=True)
class SampleBatch:
    """``samples`` as the store takes them; ``rejected`` as the answer tells them."""

    received: int
    samples: tuple[dict[str, Any], ...]
    rejected: tuple[dict[str, Any], ...]


def read_samples(body: bytes, username: str, server_name: str, now: datetime) -> SampleBatch:
    """The samples in ``body``, posted with the token of that server.

    Raises BatchRefused with 400 if the body is not ``{"samples": [...]}`` with 1 to 1000 of them,
    with 403 if it names another user or server. A sample that is malformed, or whose moment lies
    over 5 minutes ahead or a day behind, is rejected alone.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise BatchRefused(400, "malformed", "body", "found no JSON; expected an object") from None
    if not isinstance(raw, dict):
        raise BatchRefused(400, "malformed", "body", "found no object; expected one")
    for name, own in (("username", username), ("server_name", server_name)):
        if name in raw and raw[name] != own:
            raise BatchRefused(
                403,
                "no_server",
                name,
                f"found {str(raw[name])[:64]!r}; expected {own!r}, whose token this is",
            )
    given = raw.get("samples")
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_SAMPLES:
        shown = f"{len(given)} samples" if isinstance(given, list) else "no list"
        raise BatchRefused(
            400, "malformed", "samples", f"found {shown}; expected 1 to {MAX_SAMPLES} samples"
        )
    samples, rejected = [], []
    for index, one in enumerate(given):
        try:
            samples.append(_sample(one, now))
        except _Malformed as error:
            rejected.append({"index": index, "field": error.field, "message": str(error)})
    return SampleBatch(len(given), tuple(samples), tuple(rejected))


class _Malformed(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _sample(raw: Any, now: datetime) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _Malformed("sample", "found no object; expected one")
    moment = raw.get("sampled_at")
    if moment is None or not _is_number(moment):
        raise _Malformed("sampled_at", "found no number; expected seconds since 1970 in UTC")
    ahead = moment - now.timestamp()
    if ahead > AHEAD.total_seconds():
        raise _Malformed("sampled_at", f"found {ahead:.0f} s ahead; expected 300 at most")
    if -ahead > BEHIND.total_seconds():
        raise _Malformed("sampled_at", f"found {-ahead:.0f} s behind; expected 86400 at most")
    sample: dict[str, Any] = {"sampled_at": moment}
    for name, (least, most) in BOUNDS.items():
        value = raw.get(name)
        if value is not None and not (_is_number(value) and least <= value <= most):
            raise _Malformed(name, f"found {str(value)[:40]}; expected {least:g} to {most:g}")
        sample[name] = value
    return sample


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
