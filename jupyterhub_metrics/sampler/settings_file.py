"""Reads the configuration file. Called by :mod:`.command`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigurationError


def read_settings(path: Path) -> Mapping[str, Any]:
    """The content of the YAML file at ``path``. Raises ConfigurationError."""
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"found no configuration file {path} ({error.strerror}); write it or correct --config"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigurationError(
            f"found {path} unreadable as YAML{where}; expected the sections database, monitoring "
            "and logging; correct it"
        ) from None
    if not isinstance(told, Mapping):
        raise ConfigurationError(
            f"found no sections in {path}; expected database, monitoring and logging; correct it"
        )
    return told
