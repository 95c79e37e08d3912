"""The processor's temperature, from whatever sensor the machine has. Called by :mod:`.host`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .files import read_number, read_text

OF_PROCESSORS: Final = (
    "coretemp",
    "k10temp",
    "k8temp",
    "zenpower",
    "x86_pkg_temp",
    "cpu",
    "soc",
    "acpitz",
)
"""How chips and zones that measure processors begin their names, the more exact ones first."""

_LOWEST_CELSIUS: Final = -50
_HIGHEST_CELSIUS: Final = 150


class Sensors:
    """The sensors below ``sys``. Which there are is looked up once: none comes or goes."""

    def __init__(self, sys: Path) -> None:
        self._sys = sys
        self._chosen: list[Path] | None = None

    def temperature_celsius(self) -> float | None:
        """The hottest reading of the processor's sensors, else of any; None without one."""
        if self._chosen is None:
            self._chosen = self._choose()
        readings = [celsius for path in self._chosen if (celsius := _celsius(path)) is not None]
        return max(readings, default=None)

    def _choose(self) -> list[Path]:
        found: dict[int, list[Path]] = {}
        for name, path in self._all():
            if _celsius(path) is not None:
                found.setdefault(_rank(name), []).append(path)
        return found[min(found)] if found else []

    def _all(self) -> Iterator[tuple[str, Path]]:
        """Every sensor with the name of its chip or zone."""
        for pattern, names in (
            ("class/hwmon/hwmon*/temp*_input", ("name",)),
            ("class/hwmon/hwmon*/device/temp*_input", ("name", "../name")),
            ("class/thermal/thermal_zone*/temp", ("type",)),
        ):
            for path in sorted(self._sys.glob(pattern)):
                told = (read_text(path.parent / name) for name in names)
                yield next((text.strip() for text in told if text), ""), path


def _rank(name: str) -> int:
    lower = name.lower().replace("-", "_")
    return next(
        (place for place, begins in enumerate(OF_PROCESSORS) if lower.startswith(begins)),
        len(OF_PROCESSORS),
    )


def _celsius(path: Path) -> float | None:
    """The kernel tells thousandths of a degree; what no chip survives is no reading."""
    value = read_number(path)
    if value is None or not _LOWEST_CELSIUS <= value / 1000 <= _HIGHEST_CELSIUS:
        return None
    return value / 1000
