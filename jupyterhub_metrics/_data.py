"""Finds the files that are not Python: ``sql/``, ``share/`` and ``grafana/``.

Called by every room that reads a query, a template or a migration.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def path(*parts: str) -> Path:
    """Path of a data file or folder, for example ``path("sql", "queries")``.

    In a checkout (also one installed with ``pip install -e``) the checkout's own files are
    found first, so that an edit counts at once; in an installed wheel, the copies it carries.

    Raises FileNotFoundError, naming both places, if it is in neither.
    """
    checkout = _PACKAGE.parent
    bases = [_PACKAGE / "_assets"]
    if (checkout / "pyproject.toml").is_file():
        bases.insert(0, checkout)
    for base in bases:
        found = base.joinpath(*parts)
        if found.exists():
            return found
    looked = " or ".join(str(base.joinpath(*parts)) for base in bases)
    raise FileNotFoundError(f"not found: {looked}; the installation is incomplete, reinstall it")
