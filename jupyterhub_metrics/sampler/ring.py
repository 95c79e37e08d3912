"""The ring's statements, and what is said to people about samples. No driver of a database.

Called by both monitors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Final

from .._sql import load_named
from ..errors import ConfigurationError
from .samples import Sample

DEFAULT_TABLE: Final = "monitor_samples_ring"
DEFAULT_CAPACITY: Final = 10_000
MOST_CAPACITY: Final = 10_000_000

_PLACE: Final = re.compile(r"\$\d+")


@dataclass(frozen=True)
class Account:
    """Of a batch: how many samples the ring took, how many were older than all of a full ring, and
    how many were from the future and refused."""

    written: int
    older: int = 0
    ahead: int = 0


@lru_cache(maxsize=1)
def _statements() -> Mapping[str, str]:
    return load_named("queries", "ring.sql")


def statement(name: str) -> str:
    """The statement of this name with places ``$1``, each once and in order."""
    return _statements()[name]


def positional(name: str) -> str:
    """The same with ``%s``, as psycopg has it."""
    return _PLACE.sub("%s", statement(name).replace("%", "%%"))


def batch(samples: Iterable[Sample]) -> str:
    """The samples as ``ring_write`` takes them, without what is not known."""
    rows = [
        {name: value for name, value in sample.to_row().items() if value is not None}
        for sample in samples
    ]
    return json.dumps(rows, allow_nan=False)


def checked_capacity(capacity: int) -> int:
    """The capacity itself; raises ConfigurationError for one that no ring can have."""
    if type(capacity) is not int or not 1 <= capacity <= MOST_CAPACITY:
        raise ConfigurationError(
            f"found a capacity of {capacity!r}; expected 1 to {MOST_CAPACITY} rows; correct it"
        )
    return capacity


def checked_hours(keep_hours: float) -> float:
    """The hours themselves; raises ConfigurationError if they are none."""
    if type(keep_hours) not in (int, float) or not 0 <= keep_hours < float("inf"):
        raise ConfigurationError(
            f"found {keep_hours!r} hours to keep; expected 0 or more; correct keep_hours"
        )
    return float(keep_hours)


def checked_seconds(interval_seconds: float) -> float:
    """The interval itself; raises ConfigurationError if nothing can be measured over it."""
    if type(interval_seconds) not in (int, float) or not 0.01 <= interval_seconds <= 3600:
        raise ConfigurationError(
            f"found an interval of {interval_seconds!r} s; expected 0.01 to 3600; correct it"
        )
    return float(interval_seconds)


def checked_limit(limit: int) -> int:
    """The limit itself; raises ConfigurationError if it is negative or no whole number."""
    if type(limit) is not int or not 0 <= limit <= MOST_CAPACITY:
        raise ConfigurationError(
            f"found a limit of {limit!r}; expected 0 to {MOST_CAPACITY} samples; correct it"
        )
    return limit


def summary_lines(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """What samples say, a line each and one above them; times are in UTC."""
    if not samples:
        return ["no samples"]
    nodes = sum(1 for sample in samples if sample["node_flag"])
    lines = [f"{len(samples)} samples, {nodes} of nodes and {len(samples) - nodes} of containers"]
    for sample in samples:
        name = sample["node_name"]
        if not sample["node_flag"]:
            name = f"{name}/{sample['container_name']}"
        facts = [
            text.format(sample[key])
            for key, text in _SAID[bool(sample["node_flag"])].items()
            if sample.get(key) is not None
        ]
        lines.append(f"{_moment(sample['sample_time'])}  {name}  {', '.join(facts) or 'nothing'}")
    return lines


_SHARED: Final = {
    "disk_read_mb_s": "disk reads {:.2f} MB/s",
    "disk_write_mb_s": "writes {:.2f} MB/s",
    "net_rx_mb_s": "network in {:.2f} MB/s",
    "net_tx_mb_s": "out {:.2f} MB/s",
}
_SAID: Final = {
    True: {
        "cpu_total_pct": "CPU {:.1f} %",
        "load_1m": "load {:.2f}",
        "mem_available_mb": "{} MiB free for use",
        **_SHARED,
        "temperature_c": "{:.1f} °C",
    },
    False: {
        "cpu_total_pct": "CPU {:.1f} %",
        "c_rss_mb": "{} MiB resident",
        "c_vsz_mb": "of {} MiB",
        **_SHARED,
    },
}


def state_lines(ring: str, state: Mapping[str, Any]) -> list[str]:
    """What a ring holds, a line for each fact."""
    oldest, newest = state["oldest_time"], state["newest_time"]
    logged = "unlogged: empty after a crash" if state["unlogged"] else "logged"
    return [
        f"ring {ring}: {state['held']} samples, room for {state['capacity']}, "
        f"{state['empty']} slots emptied",
        f"of {state['nodes']} nodes and {state['containers']} containers, "
        f"{_moment(oldest)} to {_moment(newest)}",
        f"{state['size_bytes']} bytes on disk with indexes, {logged}",
    ]


def _moment(seconds: int | None) -> str:
    if not seconds:
        return "never"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


class Complaints:
    """Says what became of samples that the ring did not take; the same again is not repeated."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._said: set[str] = set()

    def note(self, account: Account) -> None:
        if account.ahead and "ahead" not in self._said:
            self._said.add("ahead")
            self._say(
                "found %d samples over 5 minutes ahead of the database's clock; they are dropped; "
                "set the clock of this machine",
                account.ahead,
            )
        elif not account.ahead:
            self._said.discard("ahead")
