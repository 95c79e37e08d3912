"""Reads the sizes of directories as prometheus-dirsize-exporter tells them. Pure.

Called by :mod:`.home_sizes`. The exporter gives a gauge with the label ``directory``, the last part
of the path (https://github.com/yuvipanda/prometheus-dirsize-exporter); a Prometheus that scraped it
adds labels, of which ``namespace`` counts, and tells the same at ``/federate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from ..errors import SourceUnavailable

SERIES: Final = "dirsize_total_size_bytes"
MAX_DIRECTORIES: Final = 100_000
"""In one answer."""

MAX_LINE_CHARACTERS: Final = 16_384
"""Of a line that counts: the parsers take time by the square of it. A name of a directory has at
most 255 bytes."""

MAX_SIZE_BYTES: Final = 2**63
"""More than a file system holds."""

_LAST_LINE: Final = "# EOF"


@dataclass(frozen=True)
class Directory:
    """``namespace`` is the Kubernetes namespace of its exporter, None where nobody told it."""

    namespace: str | None
    name: str


@dataclass(frozen=True)
class Sizes:
    """Bytes by directory; ``unusable`` series had no directory or no number of bytes."""

    by_directory: dict[Directory, float]
    unusable: int = 0


def read_sizes(body: bytes, content_type: str) -> Sizes:
    """The sizes in an answer, OpenMetrics if its type says so, else Prometheus' text.

    Of a directory that is told several times the largest size counts. Raises SourceUnavailable if
    it is no such answer, breaks off, or is out of bounds.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("something else than UTF-8", content_type) from None
    lines = _lines_that_count(text, content_type)
    of_openmetrics = content_type.lower().startswith("application/openmetrics-text")
    if of_openmetrics and text.rstrip().endswith(_LAST_LINE):
        lines.append(_LAST_LINE)
    if not lines:
        raise _refused(f"no {SERIES}", content_type)
    return _sizes("\n".join(lines) + "\n", openmetrics if of_openmetrics else plain, content_type)


def _lines_that_count(text: str, content_type: str) -> list[str]:
    """Those that speak of our series: what else an exporter tells is none of our business."""
    lines = [line for line in text.split("\n") if SERIES in line]
    if any(len(line) > MAX_LINE_CHARACTERS for line in lines):
        raise _refused(f"a line of more than {MAX_LINE_CHARACTERS} characters", content_type)
    # two of them are no series
    if len(lines) > MAX_DIRECTORIES + 2:
        raise _refused(f"more than {MAX_DIRECTORIES} directories", content_type)
    return lines


def _sizes(text: str, parse: Callable[[str], Iterable[Metric]], content_type: str) -> Sizes:
    by_directory: dict[Directory, float] = {}
    unusable = 0
    try:
        samples = [sample for family in parse(text) for sample in family.samples]
    except (ValueError, LookupError, ArithmeticError):
        raise _refused(f"a line about {SERIES} that cannot be read", content_type) from None
    for sample in samples:
        if sample.name != SERIES:
            continue
        name = sample.labels.get("directory")
        # a comparison with NaN is false
        if not name or not 0 <= sample.value <= MAX_SIZE_BYTES:
            unusable += 1
            continue
        directory = Directory(sample.labels.get("namespace") or None, name)
        by_directory[directory] = max(float(sample.value), by_directory.get(directory, 0.0))
    return Sizes(by_directory, unusable)


def _refused(found: str, content_type: str) -> SourceUnavailable:
    kind = " ".join(content_type.partition(";")[0].split())[:80] or "no type"
    return SourceUnavailable(
        f"found {found} in an answer of {kind}; expected {SERIES} in Prometheus' text format or "
        "OpenMetrics, whole; see what answers there, and what match[] asks for"
    )
