"""``jupyterhub-metrics sample``: sample a host, a Kubernetes node, or one's own server.

Called by the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError, MetricsError
from .cgroups import CgroupReader
from .ring import DEFAULT_CAPACITY, DEFAULT_TABLE, checked_seconds
from .settings import DEFAULT_SELECTOR, PASSWORD_VARIABLE, Settings, dsn_of, settings_of
from .sidecar import URL_VARIABLE, Sidecar, become, post_of, reader_of

if TYPE_CHECKING:
    from .rounds import Rounds

log = logging.getLogger(__name__)

SIDECAR_SECONDS: Final = 10.0
SIDECAR_BATCH_SECONDS: Final = 30.0


class _NoPassword(argparse.Action):
    """Refuses a password on the command line without repeating it."""

    def __call__(self, *_: Any) -> None:
        raise ConfigurationError(
            "found a password on the command line, where every user of the machine reads it; "
            f"expected it in {PASSWORD_VARIABLE} or a file; give --password-file"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this command."""
    where = parser.add_argument_group("the database")
    where.add_argument("--host", help="where PostgreSQL is; a folder is that of its socket")
    where.add_argument("--port", type=int, help="its port; 5432 unless given")
    where.add_argument("--database", help="name of the database")
    where.add_argument("--user", help="who writes; the role sampler is enough")
    where.add_argument(
        "--password-file",
        metavar="FILE",
        help=f"file with the password; else it is in {PASSWORD_VARIABLE}",
    )
    where.add_argument("--password", nargs="?", action=_NoPassword, help=argparse.SUPPRESS)
    ring = parser.add_argument_group("the ring")
    ring.add_argument(
        "--table", dest="table_name", metavar="NAME", help=f"{DEFAULT_TABLE} unless given"
    )
    ring.add_argument(
        "--capacity", type=int, help=f"samples that it holds; {DEFAULT_CAPACITY} unless given"
    )
    ring.add_argument("--unlogged", action="store_true", help="faster, and empty after a crash")
    what = parser.add_argument_group("what is sampled")
    what.add_argument(
        "--master", action="store_true", help="mark this node's samples as a master's"
    )
    what.add_argument("--node-name", metavar="NAME", help="the host's name unless given")
    what.add_argument(
        "--container",
        action="append",
        metavar="NAME",
        help="a container by Docker's id or name, or by its control group; may be repeated",
    )
    what.add_argument(
        "--kubernetes",
        action="store_true",
        help=f"the pods of this node with the label {DEFAULT_SELECTOR}",
    )
    what.add_argument("--samples", type=int, metavar="N", help="stop after so many of each")
    what.add_argument("--interval", type=float, metavar="SECONDS", help="between two readings")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a YAML file of settings")
    own = parser.add_argument_group("in a user's server")
    own.add_argument(
        "--sidecar", action="store_true", help="post what this server uses; no database is needed"
    )
    own.add_argument("--url", help=f"where to post; else {URL_VARIABLE}")
    own.add_argument(
        "--whole-pod",
        action="store_true",
        help="measure all processes that can be seen: in a pod that shares its process namespace",
    )
    own.add_argument(
        "--own-container",
        action="store_true",
        help="measure the container, where it is this one server's alone",
    )
    own.add_argument(
        "server_command",
        nargs="*",
        metavar="-- COMMAND",
        help="run this server and sample it beside",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do it; gives the exit status. Raises MetricsError."""
    if arguments.sidecar:
        return _run_sidecar(arguments, os.environ)
    if arguments.server_command:
        raise ConfigurationError(
            f"found the command {arguments.server_command[0]!r}; expected one only with --sidecar"
        )
    told: Mapping[str, Any] = {}
    if arguments.config:
        from .settings_file import read_settings

        told = read_settings(arguments.config)
    settings = settings_of(arguments, told, os.environ)
    _log_to(settings)
    return asyncio.run(_run_sampler(settings, os.environ))


async def _run_sampler(settings: Settings, environment: Mapping[str, str]) -> int:
    from .loop import Buffer, SamplingLoop
    from .monitor import ResourceMonitor

    monitoring = settings.monitoring
    monitor = ResourceMonitor(
        dsn_of(settings.database, environment),
        monitoring.table_name,
        monitoring.capacity,
        monitoring.master,
        monitoring.node_name,
        unlogged=monitoring.unlogged,
    )
    rounds = _rounds(settings, environment)
    loop = SamplingLoop(
        rounds,
        monitor,
        node_seconds=monitoring.intervals.node_seconds,
        container_seconds=monitoring.intervals.container_seconds,
        batch_seconds=monitoring.batch_seconds,
        buffer=Buffer(monitoring.buffer_samples),
        samples=settings.samples,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log.info("Sampling %s into %s", monitoring.node_name, monitoring.table_name)
    try:
        unwritten = await loop.run(stop)
    finally:
        await monitor.close()
        rounds.close()
    if unwritten:
        raise MetricsError(
            f"found {unwritten} samples that the database did not take before the end; expected "
            "none; they are lost"
        )
    return 0


def _rounds(settings: Settings, environment: Mapping[str, str]) -> Rounds:
    """What is read. Raises ConfigurationError."""
    from .finding import ContainerFinder
    from .gpus import GpuReader
    from .host import HostReader
    from .measuring import Measuring
    from .pods import NodePods, PodApi
    from .rounds import Rounds

    monitoring = settings.monitoring
    roots = monitoring.roots
    groups = CgroupReader(roots.cgroup, roots.proc)
    host = HostReader(roots.proc, roots.sys)
    measuring = Measuring(
        monitoring.node_name,
        master=monitoring.master,
        host=host if host.there else None,
        containers=ContainerFinder(CgroupReader(roots.cgroup, roots.proc)),
    )
    if not monitoring.kubernetes.enabled:
        return Rounds(measuring, monitoring.containers)
    api = PodApi(
        measuring.node_name,
        selector=monitoring.kubernetes.pod_selector,
        namespace=monitoring.kubernetes.namespace,
        url=monitoring.kubernetes.url,
        account=Path(monitoring.kubernetes.account),
        environment=environment,
    )
    pods = NodePods(api, groups.mounts.roots)
    return Rounds(measuring, monitoring.containers, pods=pods, groups=groups, gpus=GpuReader())


def _run_sidecar(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    interval = checked_seconds(
        SIDECAR_SECONDS if arguments.interval is None else arguments.interval
    )
    post = post_of(arguments.url, environment)
    _log_to(Settings())

    def sample(server: int | None) -> None:
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        reader = reader_of(
            server,
            whole_pod=arguments.whole_pod,
            own_container=arguments.own_container,
            cgroups=CgroupReader(),
        )
        batch_seconds = max(SIDECAR_BATCH_SECONDS, interval)
        if interval < SIDECAR_SECONDS:
            batch_seconds = max(3 * interval, 2.0)
        Sidecar(
            reader, post, interval_seconds=interval, batch_seconds=batch_seconds, stop=stop
        ).run()

    if arguments.server_command:
        return become(arguments.server_command, sample)
    # started by the server itself or in a container of its own
    sample(os.getppid())
    return 0


def _log_to(settings: Settings) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if settings.logging.file:
        try:
            handler = logging.FileHandler(settings.logging.file, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"found the log {settings.logging.file} not writable ({error.strerror}); expected "
                "a file; correct logging.file"
            ) from None
    form = "[%(levelname)1.1s %(asctime)s.%(msecs)03d %(name)s] %(message)s"
    handler.setFormatter(logging.Formatter(form, "%Y-%m-%d %H:%M:%S"))
    room = logging.getLogger("jupyterhub_metrics")
    room.handlers = [handler]
    room.setLevel(settings.logging.level)
    room.propagate = False
