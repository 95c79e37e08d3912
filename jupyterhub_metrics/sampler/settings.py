"""What ``jupyterhub-metrics sample`` is to do: flags, the configuration file, the environment.

Called by :mod:`.command`. A flag wins over the file, the file over the environment. A password is
never a flag and never stands in the file.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from .._private_files import read_secret
from ..dsn import dsn_from_environment
from ..errors import ConfigurationError
from .measuring import checked_name
from .ring import DEFAULT_CAPACITY, DEFAULT_TABLE, checked_capacity, checked_seconds

PASSWORD_VARIABLE: Final = "POSTGRES_PASSWORD"  # noqa: S105 - the name of a variable
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
DEFAULT_SELECTOR: Final = "component=singleuser-server"


@dataclass(frozen=True)
class Database:
    """Where the ring is. ``password_env`` and ``password_file`` say where the password is."""

    host: str | None = None
    port: int = 5432
    database: str | None = None
    user: str | None = None
    password_env: str = PASSWORD_VARIABLE
    password_file: str | None = None


@dataclass(frozen=True)
class Intervals:
    """Seconds between two readings."""

    node_seconds: float = 5.0
    container_seconds: float = 2.0


@dataclass(frozen=True)
class Kubernetes:
    """Whether the user pods of this node are sampled, and which pods those are.

    ``url`` is where the API answers, and ``account`` the folder of the service account; in a pod
    both are known.
    """

    enabled: bool = False
    pod_selector: str = DEFAULT_SELECTOR
    namespace: str | None = None
    url: str | None = None
    account: str = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Roots:
    """Where the node's file systems are, as a container may have them elsewhere."""

    proc: str = "/proc"
    sys: str = "/sys"
    cgroup: str = "/sys/fs/cgroup"


@dataclass(frozen=True)
class Monitoring:
    """What is sampled, and into which ring."""

    table_name: str = DEFAULT_TABLE
    capacity: int = DEFAULT_CAPACITY
    node_name: str | None = None
    master: bool = False
    intervals: Intervals = field(default_factory=Intervals)
    containers: tuple[str, ...] = ()
    unlogged: bool | None = None
    batch_seconds: float = 5.0
    buffer_samples: int = 100_000
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    roots: Roots = field(default_factory=Roots)


@dataclass(frozen=True)
class Logging:
    """How much is said, and where; standard error without a file."""

    level: str = "INFO"
    file: str | None = None


@dataclass(frozen=True)
class Settings:
    """All of it. ``samples`` is how many of each are taken; None goes on until it is stopped."""

    database: Database = field(default_factory=Database)
    monitoring: Monitoring = field(default_factory=Monitoring)
    logging: Logging = field(default_factory=Logging)
    samples: int | None = None


def settings_of(
    arguments: argparse.Namespace, told: Mapping[str, Any], environment: Mapping[str, str]
) -> Settings:
    """The settings that the flags and the content of the file make. Raises ConfigurationError."""
    settings: Settings = _filled(Settings(), told, "")
    database = _given(settings.database, arguments, ("host", "port", "database", "user"))
    if arguments.password_file:
        database = replace(database, password_file=arguments.password_file)
    monitoring = _given(settings.monitoring, arguments, ("capacity", "node_name", "table_name"))
    if arguments.container:
        monitoring = replace(monitoring, containers=tuple(arguments.container))
    if arguments.master:
        monitoring = replace(monitoring, master=True)
    if arguments.unlogged:
        monitoring = replace(monitoring, unlogged=True)
    if arguments.kubernetes:
        monitoring = replace(monitoring, kubernetes=replace(monitoring.kubernetes, enabled=True))
    if arguments.interval is not None:
        every = checked_seconds(arguments.interval)
        monitoring = replace(monitoring, intervals=Intervals(every, every))
    node_name = monitoring.node_name or environment.get("NODE_NAME") or socket.gethostname()
    if "{{" in node_name:
        # a template that nothing has filled in: better the host's own name than its braces
        node_name = socket.gethostname()
    monitoring = replace(monitoring, node_name=checked_name(node_name))
    return _checked(
        replace(settings, database=database, monitoring=monitoring, samples=arguments.samples)
    )


def dsn_of(database: Database, environment: Mapping[str, str]) -> str:
    """The database's address with its password. Raises ConfigurationError."""
    if not database.host and not database.database and not database.user:
        found = dsn_from_environment(environment)
        if found is not None:
            return found
    missing = [name for name in ("host", "database", "user") if not getattr(database, name)]
    if missing:
        raise ConfigurationError(
            f"found no {', '.join(missing)} of the database; expected them; give "
            f"{', '.join('--' + name for name in missing)}, or a configuration file"
        )
    if database.password_file:
        password = read_secret(Path(database.password_file))
        if password is None:
            raise ConfigurationError(
                f"found no file {database.password_file}; expected the database's password in it; "
                "write it or correct password_file"
            )
    else:
        password = environment.get(database.password_env, "")
        if not password:
            raise ConfigurationError(
                f"found no password in the variable {database.password_env}; expected the "
                "database's; set it, or give password_file"
            )
    user, secret, host, name = (
        quote(str(part), safe="")
        for part in (database.user, password, database.host, database.database)
    )
    if str(database.host).startswith("/"):
        return f"postgresql://{user}:{secret}@/{name}?host={host}&port={database.port}"
    if ":" in str(database.host):
        host = f"[{database.host}]"
    return f"postgresql://{user}:{secret}@{host}:{database.port}/{name}"


def _given(section: Any, arguments: argparse.Namespace, names: tuple[str, ...]) -> Any:
    flags = {name: getattr(arguments, name) for name in names}
    return replace(section, **{name: value for name, value in flags.items() if value is not None})


def _filled(section: Any, told: Mapping[str, Any], path: str) -> Any:
    """The section with what the file tells of it; each value has the type of its default."""
    known = {item.name: getattr(section, item.name) for item in fields(section)}
    known.pop("samples", None)
    values: dict[str, Any] = {}
    for key, value in told.items():
        where = f"{path}{key}"
        if key == "password":
            raise ConfigurationError(
                f"found {where} in the configuration file; expected no secret there; give "
                "password_env or password_file"
            )
        if key not in known:
            raise ConfigurationError(
                f"found {where} in the configuration file; expected one of "
                f"{', '.join(path + name for name in known)}; correct it"
            )
        values[key] = _typed(known[key], value, where, section, key)
    return replace(section, **values)


def _typed(default: Any, value: Any, where: str, section: Any, key: str) -> Any:
    if hasattr(default, "__dataclass_fields__"):
        if value is None:
            return default
        if not isinstance(value, Mapping):
            raise _odd(where, value, "a section")
        return _filled(default, value, f"{where}.")
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise _odd(where, value, "a list of names")
        return tuple(value)
    wanted = str(type(section).__dataclass_fields__[key].type)
    if value is None and "None" in wanted:
        return None
    for name, kinds, text in (
        ("bool", (bool,), "true or false"),
        ("float", (int, float), "a number"),
        ("int", (int,), "a whole number"),
        ("str", (str,), "a text"),
    ):
        if wanted.startswith(name):
            if type(value) not in kinds:
                raise _odd(where, value, text)
            return float(value) if name == "float" else value
    raise _odd(where, value, "nothing")


def _odd(where: str, value: Any, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"found {where} {str(value)[:60]!r} in the configuration file; expected {expected}; "
        "correct it"
    )


def _checked(settings: Settings) -> Settings:
    monitoring = settings.monitoring
    checked_capacity(monitoring.capacity)
    checked_seconds(monitoring.intervals.node_seconds)
    checked_seconds(monitoring.intervals.container_seconds)
    checked_seconds(monitoring.batch_seconds)
    for name in monitoring.containers:
        checked_name(name)
    if not 1 <= monitoring.buffer_samples <= 10_000_000:
        raise ConfigurationError(
            f"found buffer_samples {monitoring.buffer_samples}; expected 1 to 10000000; correct it"
        )
    if not 0 < settings.database.port < 65536:
        raise ConfigurationError(
            f"found the port {settings.database.port}; expected 1 to 65535; correct it"
        )
    if settings.samples is not None and settings.samples < 1:
        raise ConfigurationError(
            f"found --samples {settings.samples}; expected 1 or more, or none for ever; correct it"
        )
    if settings.logging.level not in LEVELS:
        raise ConfigurationError(
            f"found the level {settings.logging.level!r}; expected one of {', '.join(LEVELS)}; "
            "correct it"
        )
    return settings
