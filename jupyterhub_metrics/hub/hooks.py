"""The few places of JupyterHub that are wrapped, because no configuration reaches them.

Installed once a process by ``setup(c)``. Each wrapper calls the original and adds only what the
recorder must know: the spawner class as it is finally configured, who asks for a stop, requests
that are refused before any spawner is asked, and the Hub's own start and shutdown.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import url_path_join

from .. import _data
from .._names import DATA_DIR_VARIABLE, DSN_FILE_VARIABLE, HUB_NAME_VARIABLE, SERVICE_NAME
from ..errors import ConfigurationError
from . import summary
from .actor import HUB_SHUTDOWN, HUB_START, acting, actor_of
from .recorder import MetricsRecorder
from .recorder_settings import DEFAULT_HUB_NAME
from .rejection import Request, requesting
from .runs import SpawnerRow
from .samples_address import OF_SERVICE, SAMPLES_PATH, checked_samples_url
from .secret_files import write_dsn
from .spawner import RECORDER_SETTING, RecordingSpawner, recording

SHARE = ("share", "jupyter", "jupyterhub-metrics")
ACCESS_SCOPE = f"access:services!service={SERVICE_NAME}"
SERVICE_SCOPES = (
    "list:users",
    "read:servers",
    "read:users:groups",
    "list:groups",
    "read:groups",
)
"""What the service needs to ask the Hub which servers run and who is in which group."""

_MARK = "_jupyterhub_metrics_original"

_prepared_dsns: dict[Path, str | None] = {}


def prepare_dsn(data_dir: Path, dsn: str | None) -> None:
    """Keep the database's address in memory until the Hub starts, if it does."""
    _prepared_dsns[data_dir] = dsn


def template_folder() -> Path:
    """The templates that extend the Hub's own."""
    return _data.path(*SHARE, "hub-templates")


def install() -> None:
    """Wrap what has to be wrapped; a second call changes nothing."""
    _wrap_spawner_class()
    _wrap_init_handlers()
    _wrap(JupyterHub, "init_role_creation", _init_role_creation)
    _wrap(JupyterHub, "init_role_assignment", _init_role_assignment)
    _wrap(JupyterHub, "init_spawners", _init_spawners)
    _wrap(JupyterHub, "cleanup", _cleanup)
    _wrap(BaseHandler, "stop_single_user", _stop_single_user)
    _wrap(BaseHandler, "spawn_single_user", _spawn_single_user)


def _wrap(owner: type, name: str, wrapper: Callable[..., Awaitable[Any]]) -> None:
    original = getattr(owner, name)
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        return await wrapper(original, *args, **kwargs)

    setattr(wrapped, _MARK, original)
    setattr(owner, name, wrapped)


def _wrap_spawner_class() -> None:
    """Make the recording subclass of whatever class the trait is given, also later than us."""
    trait = JupyterHub.class_traits()["spawner_class"]
    original = trait.validate
    if hasattr(original, _MARK):
        return

    def validate(obj: Any, value: Any) -> Any:
        return recording(original(obj, value))

    setattr(validate, _MARK, original)
    trait.validate = validate


def _wrap_init_handlers() -> None:
    """Let the Hub's own pages ask for a summary of usage."""
    original = JupyterHub.init_handlers
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    def init_handlers(app: Any) -> None:
        original(app)
        if "MetricsRecorder" in app.config:
            app.handlers[:0] = app.add_url_prefix(
                app.hub_prefix, [(f"/{summary.PATH}", summary.SummaryHandler)]
            )

    setattr(init_handlers, _MARK, original)
    JupyterHub.init_handlers = init_handlers


async def _init_role_creation(original: Callable[..., Awaitable[Any]], app: Any) -> Any:
    app.load_roles = merge_user_roles(app.load_roles)
    return await original(app)


def merge_user_roles(roles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The roles with ours merged into the deployment's own ``user`` role.

    ``setup(c)`` does so where it sees that role; a file loaded beside others does not see it, and
    JupyterHub refuses to start with two.
    """
    ours = {"name": "user", "scopes": ["self", ACCESS_SCOPE]}
    others = [role for role in roles if role != ours]
    if ours not in roles or not any(role.get("name") == "user" for role in others):
        return roles
    return [
        {**role, "scopes": [*role.get("scopes", ["self"]), ACCESS_SCOPE]}
        if role.get("name") == "user" and ACCESS_SCOPE not in role.get("scopes", ())
        else role
        for role in others
    ]


async def _init_role_assignment(original: Callable[..., Awaitable[Any]], app: Any) -> Any:
    """A Hub refuses to start over a role for a service that a later configuration threw away."""
    if not _has_service(app):
        app.load_roles = [
            {**role, "services": [name for name in role["services"] if name != SERVICE_NAME]}
            if SERVICE_NAME in role.get("services", ())
            else role
            for role in app.load_roles
        ]
    return await original(app)


def _has_service(app: Any) -> bool:
    return any(service.get("name") == SERVICE_NAME for service in app.services)


async def _init_spawners(original: Callable[..., Awaitable[Any]], app: Any) -> Any:
    recorder = start_recorder(app)
    with acting(HUB_START):
        result = await original(app)
    if recorder is not None:
        recorder.settle_unknown(lambda: started_servers(app))
    return result


def started_servers(app: Any) -> list[SpawnerRow]:
    """Every spawner row; ``started`` is None where the Hub says that there is no server."""
    columns = (
        orm.Spawner.id,
        orm.User.name,
        orm.Spawner.name,
        orm.Spawner.started,
        orm.Spawner.server_id,
    )
    rows = app.db.query(*columns).join(orm.User, orm.Spawner.user_id == orm.User.id)
    # a Hub that was killed while it stopped one has taken away its server and not yet its start
    return [
        SpawnerRow(number, username, server_name, None if server_id is None else started)
        for number, username, server_name, started, server_id in rows
    ]


async def _cleanup(original: Callable[..., Awaitable[Any]], app: Any) -> Any:
    try:
        with acting(HUB_SHUTDOWN):
            return await original(app)
    finally:
        recorder = app.tornado_settings.get(RECORDER_SETTING)
        if recorder is not None:
            await recorder.close()


async def _stop_single_user(
    original: Callable[..., Awaitable[Any]], handler: Any, *args: Any, **kwargs: Any
) -> Any:
    with acting(actor_of(handler.current_user)):
        return await original(handler, *args, **kwargs)


async def _spawn_single_user(
    original: Callable[..., Awaitable[Any]],
    handler: Any,
    user: Any,
    server_name: str = "",
    *args: Any,
    **kwargs: Any,
) -> Any:
    request = Request(user.name, server_name, actor_of(handler.current_user))
    try:
        with requesting(request):
            return await original(handler, user, server_name, *args, **kwargs)
    except Exception as error:
        # Not the handler's settings, which are a copy made before the recorder was.
        if recorder := user.settings.get(RECORDER_SETTING):
            recorder.rejected(request, error)
        raise


def start_recorder(app: Any) -> MetricsRecorder | None:
    """Open the recorder of this Hub and begin to deliver; None if it was not set up for it.

    A fault here is logged and leaves a Hub that works and does not record.
    """
    if "MetricsRecorder" not in app.config:
        return None
    try:
        warn_of_replaced_lists(app)
        recorder = make_recorder(app)
        recorder.open()
        app.tornado_settings[RECORDER_SETTING] = recorder
        token_file = Path(recorder.data_dir).resolve() / "secrets" / "events_token"
        # straight to the service, not through the proxy
        recorder.start_delivery(_endpoint(app, recorder.service_url, "api/v1/events"), token_file)
        recorder.samples_address = _samples_address(app, recorder)
    except Exception:
        app.log.exception(
            "jupyterhub-metrics could not start its recorder; this Hub runs and is not recorded"
        )
        return None
    app.log.info(
        "jupyterhub-metrics records Hub %r, outbox %s", recorder.hub_name, recorder.outbox.path
    )
    return recorder


def warn_of_replaced_lists(app: Any) -> None:
    """Say in one line which of the entries that ``setup(c)`` made a later file threw away."""
    missing = []
    if not _has_service(app):
        missing.append("services")
    user_roles = [role for role in app.load_roles if role.get("name") == "user"]
    opened = any(ACCESS_SCOPE in role.get("scopes", ()) for role in user_roles)
    granted = any(SERVICE_NAME in role.get("services", ()) for role in app.load_roles)
    if not opened or (_has_service(app) and not granted):
        missing.append("load_roles")
    if str(template_folder()) not in app.template_paths:
        missing.append("template_paths")
    if not issubclass(app.spawner_class, RecordingSpawner):
        missing.append("spawner_class")
    if missing:
        app.log.warning(
            "jupyterhub-metrics: found JupyterHub.%s without the entry that setup(c) made; "
            "expected it there; a later configuration replaced it: call setup(c) last, or "
            "append to the list instead of assigning it",
            ", JupyterHub.".join(missing),
        )


def make_recorder(app: Any) -> MetricsRecorder:
    """The recorder, in agreement with the service that is about to start.

    A file that is loaded beside others may have set the Hub's name or the folder without
    ``setup(c)`` seeing it: the service gets the name, and the recorder the folder of the secrets.
    """
    service = app._service_map.get(SERVICE_NAME)
    if service is None or not service.managed:
        return MetricsRecorder(parent=app, dialect=_dialect(app))
    prepared = service.environment[DATA_DIR_VARIABLE]
    configured = app.config.MetricsRecorder.get("data_dir", prepared)
    if Path(configured).absolute() != Path(prepared):
        app.log.warning(
            "jupyterhub-metrics: found MetricsRecorder.data_dir %s; expected %s, where setup(c) "
            "put the secrets, and uses that; give setup(c, data_dir=...) or set %s",
            configured,
            prepared,
            DATA_DIR_VARIABLE,
        )
    _hand_over_dsn(app, Path(prepared))
    recorder = MetricsRecorder(parent=app, dialect=_dialect(app), data_dir=prepared)
    if DSN_FILE_VARIABLE in service.environment and recorder.hub_name == DEFAULT_HUB_NAME:
        app.log.warning(
            "jupyterhub-metrics: found the default hub_name %r with a database of your own; "
            "expected a name, because a second Hub of the same name would mix with this one; "
            "give setup(c, hub_name=...) before there is data",
            DEFAULT_HUB_NAME,
        )
    service.environment = {**service.environment, HUB_NAME_VARIABLE: recorder.hub_name}
    return recorder


def _hand_over_dsn(app: Any, data_dir: Path) -> None:
    if data_dir not in _prepared_dsns:
        return
    try:
        write_dsn(data_dir, _prepared_dsns[data_dir])
    except OSError as error:
        app.log.error(
            "jupyterhub-metrics: found %s; expected to write the database's address for the "
            "service; events wait in the outbox; make %s writable and restart the Hub",
            error,
            data_dir / "secrets",
        )


def _endpoint(app: Any, url: str, path: str) -> str:
    """A path of the service's, where it answers itself or where the Hub's proxy does."""
    if urlsplit(url).path in ("", "/"):
        url = url_path_join(url, app.base_url, "services", SERVICE_NAME)
    return str(url_path_join(url, path))


def _samples_address(app: Any, recorder: MetricsRecorder) -> str:
    """What servers are told; empty if the setting is, or is wrong: a Hub starts all the same."""
    try:
        told = checked_samples_url(recorder.samples_url)
    except ConfigurationError as error:
        app.log.error("jupyterhub-metrics: %s; servers are given no address", error)
        return ""
    if told == OF_SERVICE:
        return _endpoint(app, recorder.service_url, SAMPLES_PATH)
    whole = urlsplit(told).path not in ("", "/")
    return told if whole or not told else _endpoint(app, told, SAMPLES_PATH)


def _dialect(app: Any) -> str:
    """SQLAlchemy's name of the Hub's database, and ``mariadb`` where that poses as MySQL."""
    dialect = app.db.get_bind().dialect
    return "mariadb" if getattr(dialect, "is_mariadb", False) else str(dialect.name)
