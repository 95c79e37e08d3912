"""The lines of ``jupyterhub-metrics db status``. Pure. Called by :mod:`.actions`."""

from __future__ import annotations

from datetime import datetime

from ..model import isoformat
from .administration import Status, TableSize


def status_lines(status: Status) -> list[str]:
    """What a person reads: the database, its ranges, its tables, how far upkeep is behind."""
    labelled = [
        ("engine", str(status.capabilities)),
        ("database", status.place),
        ("schema version", f"{status.applied_version} of {status.known_version}"),
        ("pending", ", ".join(status.pending) or "none"),
    ]
    for span in status.ranges:
        labelled += [
            (f"oldest {span.what}", _moment(span.oldest_at)),
            (f"newest {span.what}", _moment(span.newest_at)),
        ]
    labelled += [
        (f"{name} behind".replace("_", " "), f"{seconds:,.0f} s")
        for name, seconds in status.lag_seconds.items()
    ]
    if status.compiles:
        remedy = "on: have the database's owner ALTER DATABASE SET jit = off"
        labelled.append(("just-in-time compilation", remedy))
    lines = [f"{label:<30}{value}" for label, value in labelled]
    if status.tables:
        lines += ["", f"{'table':<24}{'rows':>14}{'KiB':>14}{'bytes/row':>12}  compressed"]
        lines += [_table(table) for table in status.tables]
    return lines


def _table(table: TableSize) -> str:
    per_row = f"{table.bytes / table.rows:,.0f}" if table.rows else "-"
    line = f"{table.name:<24}{table.rows:>14,}{table.bytes // 1024:>14,}{per_row:>12}"
    if not table.chunks:
        return line
    line += f"  {table.compressed_chunks} of {table.chunks} chunks"
    if table.uncompressed_bytes and table.compressed_chunks:
        line += f", {table.uncompressed_bytes / table.bytes:.1f} times smaller"
    return line


def _moment(moment: datetime | None) -> str:
    return isoformat(moment) if moment else "none"
