"""The database's address from the environment, without connecting to it.

Called by ``hub.setup`` (which hands it to the service in a file), by the service when it runs on
its own, and by the command line. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from .errors import ConfigurationError

DSN_VARIABLE = "JUPYTERHUB_METRICS_DSN"
_REQUIRED = ("DB_HOST", "DB_NAME", "DB_USER", "DB_PASSWORD")


def dsn_from_environment(environment: Mapping[str, str]) -> str | None:
    """``JUPYTERHUB_METRICS_DSN``, else one made of ``DB_HOST`` and its companions, else None.

    Raises ConfigurationError that lists all required variables that are not set, or says that
    ``DB_PORT`` must be a number. No message carries a password.
    """
    dsn = environment.get(DSN_VARIABLE, "")
    if dsn:
        return check_dsn(dsn)
    if not environment.get("DB_HOST"):
        return None
    missing = [name for name in _REQUIRED if not environment.get(name)]
    if missing:
        raise ConfigurationError(
            "DB_HOST is set, but the following required configuration variables are not set: "
            f"{', '.join(missing)}; set them, or {DSN_VARIABLE} alone"
        )
    port = environment.get("DB_PORT") or "5432"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            f"DB_PORT must be a number from 1 to 65535, got: {port}; correct or unset it"
        )
    user, password, host, name = (
        quote(environment[key], safe="") for key in ("DB_USER", "DB_PASSWORD", "DB_HOST", "DB_NAME")
    )
    if environment["DB_HOST"].startswith("/"):
        return f"postgresql://{user}:{password}@/{name}?host={host}&port={port}"
    if ":" in environment["DB_HOST"]:
        host = f"[{environment['DB_HOST'].strip('[]')}]"
    return f"postgresql://{user}:{password}@{host}:{port}/{name}"


def check_dsn(dsn: str) -> str:
    """The DSN itself; raises ConfigurationError if its scheme is not PostgreSQL's."""
    scheme = dsn.split("://", 1)[0] if "://" in dsn else ""
    if scheme not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"the database's DSN has the scheme {scheme[:20]!r}; expected "
            f"postgresql://user:password@host:port/name; correct {DSN_VARIABLE} or the dsn trait"
        )
    return dsn
