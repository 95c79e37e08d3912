"""What the panels of the dashboard Resources must show, computed from single samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from panel_expectations import Expectation, Rows, by, first, listed, only
from panel_truth import NOT_KNOWN, Looked, Run, Sample

GIB = 2**30


def sampled(runs: Sequence[Run]) -> dict[Any, dict[str, list[Sample]]]:
    """Samples of every third session that became ready, and of the two last ones.

    Of some only the server itself has told, of some it has told too, and wrongly; some used more
    than they asked for, and of some only cores were measured.
    """
    found = {}
    for number, run in enumerate(runs):
        if run.ready_at is None or (number % 3 and number < len(runs) - 2):
            continue
        asked = run.facts.get("memory_guarantee_bytes", 4 * GIB)
        peak = asked * (number * 37 % 125) // 100
        cores = number % 7 / 2
        measured = [
            Sample(
                run.started_at + timedelta(seconds=20 * place),
                seconds * (1 + number % 5),
                None if number % 12 == 0 else peak * quarters // 4,
                cores * quarters / 4 if place != 2 else None,
                number % 2 if place == 3 and number % 4 else None,
            )
            for place, quarters, seconds in ((1, 2, 300), (2, 4, 600.5), (3, 3, 150))
        ]
        wrong = [Sample(run.started_at, 60, 100 * GIB, 100, 9)]
        if number % 9 == 0:
            found[run.identity] = {"server": measured}
        elif number % 5 == 0:
            found[run.identity] = {"server": wrong, "node": measured}
        else:
            found[run.identity] = {"node": measured}
    return found


@dataclass(frozen=True)
class Used:
    """What one session asked for and used; None where nobody knows."""

    run: Run
    samples: Sequence[Sample]

    @property
    def asked_bytes(self) -> float | None:
        return self.run.facts.get("memory_guarantee_bytes")

    @property
    def asked_cores(self) -> float | None:
        return self.run.facts.get("cpu_guarantee_cores")

    @property
    def peak_bytes(self) -> float | None:
        return max(known([sample.memory_bytes for sample in self.samples]), default=None)

    @property
    def peak_cores(self) -> float | None:
        return max(known([sample.cpu_cores for sample in self.samples]), default=None)

    @property
    def memory_hours(self) -> float:
        return sum(s.seconds for s in self.samples if s.memory_bytes is not None) / 3600

    @property
    def cpu_hours(self) -> float:
        return sum(s.seconds for s in self.samples if s.cpu_cores is not None) / 3600

    @property
    def byte_hours(self) -> float:
        return sum(s.seconds * (s.memory_bytes or 0) for s in self.samples) / 3600

    @property
    def core_hours(self) -> float:
        return sum(s.seconds * (s.cpu_cores or 0) for s in self.samples) / 3600

    @property
    def unused(self) -> float | None:
        if self.asked_bytes is None or self.peak_bytes is None:
            return None
        return max(self.asked_bytes - self.peak_bytes, 0) / GIB * self.memory_hours


def ready(look: Looked) -> list[Run]:
    return [run for run in look.overlapping() if run.ready_at is not None]


def used(look: Looked) -> list[Used]:
    """Of the sessions in the range, each whole; a node's samples count more than a server's."""
    found = []
    for run in ready(look):
        told = look.world.samples.get(run.identity)
        if told:
            found.append(Used(run, told.get("node") or told["server"]))
    return found


def known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def total(values: Sequence[float | None]) -> float | None:
    """None where none is known."""
    return sum(known(values)) if known(values) else None


def mean(sums: float | None, hours: float) -> float | None:
    return sums / hours if sums is not None and hours else None


def p95(values: Sequence[float | None]) -> float | None:
    """What 95 % of them never exceed, as the end of its place, of which a doubling has 32."""
    ranked = sorted(known(values))
    if not ranked:
        return None
    reached = ranked[math.ceil(0.95 * len(ranked)) - 1]
    return min(2 ** (math.ceil(32 * math.log2(reached)) / 32), ranked[-1]) if reached else 0


def share(look: Looked) -> dict[str, float | None]:
    return {"value": len(used(look)) / len(ready(look)) if ready(look) else None}


def memory(look: Looked) -> dict[str, float | None]:
    told = [one for one in used(look) if one.unused is not None]
    asked = [one.asked_bytes * one.memory_hours / GIB for one in told if one.asked_bytes]
    return {
        "Asked for": total(asked),
        "Used": total([one.byte_hours / GIB for one in told]),
        "Never touched": total([one.unused for one in told]),
    }


def overasking(key: Callable[[Run], str]) -> Callable[[Looked], dict[Any, Any]]:
    def compute(look: Looked) -> dict[Any, Any]:
        found: dict[str, list[Used]] = {}
        for one in used(look):
            found.setdefault(key(one.run), []).append(one)
        return {(name,): of_one(all_of_it) for name, all_of_it in found.items()}

    return compute


def of_one(told: Sequence[Used]) -> tuple[float | None, ...]:
    """The columns of a profile or an image."""
    asked = [one for one in told if one.asked_bytes is not None]
    cores = [one for one in told if one.asked_cores is not None]
    hours, cpu_hours = sum(one.memory_hours for one in told), sum(one.cpu_hours for one in told)
    return (
        len(told),
        hours,
        total([one.unused for one in told]),
        mean(
            total([(one.asked_bytes or 0) * one.memory_hours for one in asked]),
            sum(one.memory_hours for one in asked),
        ),
        mean(sum(one.byte_hours for one in told), hours),
        p95([one.peak_bytes for one in told]),
        max(known([one.peak_bytes for one in told]), default=None),
        mean(
            total([(one.asked_cores or 0) * one.cpu_hours for one in cores]),
            sum(one.cpu_hours for one in cores),
        ),
        mean(sum(one.core_hours for one in told), cpu_hours),
        p95([one.peak_cores for one in told]),
        total([sample.oom_kills for one in told for sample in one.samples]),
    )


def tenths(look: Looked) -> list[tuple[str, int]]:
    counted = [0] * 11
    for one in used(look):
        if one.asked_bytes and one.peak_bytes is not None:
            counted[min(int(one.peak_bytes * 10 // one.asked_bytes), 10)] += 1
    labels = [f"{place}0 to {place + 1}0 %" for place in range(10)]
    return list(zip(["0 to 10 %", *labels[1:], "all or more"], counted, strict=True))


def most_unused(look: Looked) -> dict[Any, Any]:
    left = [(one.unused, one) for one in used(look) if one.unused]
    left.sort(key=lambda pair: (-pair[0], pair[1].run.started_at))
    return {
        one.run.identity: (
            one.run.facts.get("profile"), one.run.image_base, one.memory_hours, one.asked_bytes,
            one.peak_bytes, unused,
        )
        for unused, one in left[:100]
    }  # fmt: skip


def most_unused_rows(rows: Rows) -> Mapping[Any, Any]:
    left = [row["memory_unused_gib_hours"] for row in rows]
    assert left == sorted(left, reverse=True)
    return by("hub", "username", "server_name", "started_at")(rows)


RESOURCES: dict[str, Expectation] = {
    "resources / Measured sessions": (only, share),
    "resources / Memory, GiB-hours": (first, memory),
    "resources / Over-asking by profile": (
        by("profile"), overasking(lambda run: run.facts.get("profile") or "no profile"),
    ),
    "resources / Over-asking by image": (
        by("image_base"), overasking(lambda run: run.image_base or NOT_KNOWN),
    ),
    "resources / Peak of the memory asked for": (listed, tenths),
    "resources / Most unused memory": (most_unused_rows, most_unused),
}  # fmt: skip
