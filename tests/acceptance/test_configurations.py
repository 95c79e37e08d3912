"""A Hub records itself however its configuration names the spawner and loads the metrics."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hub_database import hub_environment, settled_sessions
from hub_process import SETUP, HubProcess
from observer import Observer

from jupyterhub_metrics.dsn import DSN_VARIABLE

BY_FILE = """
import os
from jupyterhub_metrics.hub import config_file
c.MetricsRecorder.hub_name = {hub_name!r}
c.JupyterHub.load_roles.append({{"name": "user", "scopes": ["self"]}})
os.environ["JUPYTERHUB_METRICS_SERVICE_PORT"] = "{service_port}"
load_subconfig(config_file())
"""
OWN_CLASS = """
from jupyterhub.spawner import SimpleLocalProcessSpawner

class OwnSpawner(SimpleLocalProcessSpawner):
    async def start(self):
        note_hook("own_start", self)
        return await super().start()

c.JupyterHub.spawner_class = OwnSpawner
"""
OBSERVER_ONLY = """
c.JupyterHub.services = [s for s in c.JupyterHub.services if s["name"] == "observer"]
"""


@pytest.mark.parametrize(
    ("before", "setup", "after"),
    [
        pytest.param(
            "", SETUP, 'c.JupyterHub.spawner_class = "simple"', id="entry-point-assigned-later"
        ),
        pytest.param(
            'c.JupyterHub.spawner_class = "jupyterhub.spawner.SimpleLocalProcessSpawner"',
            BY_FILE,
            "",
            id="import-string-and-file",
        ),
        pytest.param(OWN_CLASS, SETUP, "", id="class"),
    ],
)
async def test_a_session_is_recorded_with(before: str, setup: str, after: str) -> None:
    hub = HubProcess(before=before, setup=setup, after=after, environment=hub_environment())
    observer = Observer(hub)
    try:
        await hub.start()
        await observer.add_user("gina")
        run = await observer.start_ready("gina", by="gina")
        await observer.stop(run, by="gina")
        [row] = await settled_sessions(hub, {"ended": 1})
        assert run.ready is not None
        assert run.started[0] <= row["started_at"].timestamp() <= run.started[1]
        assert run.ready[0] <= row["ready_at"].timestamp() <= run.ready[1]
        spawner = "OwnSpawner" if before == OWN_CLASS else "SimpleLocalProcessSpawner"
        assert row["spawner_class"].rpartition(".")[2] == spawner
    finally:
        await observer.close()
        await hub.close()


async def test_a_hub_whose_services_were_replaced_says_so_in_one_line_and_runs() -> None:
    hub = HubProcess(after=OBSERVER_ONLY)
    observer = Observer(hub)
    try:
        await hub.start(service=False)
        await observer.add_user("hugo")
        run = await observer.start_ready("hugo")
        await observer.stop(run)
        lines = hub.log.read_text().splitlines()
        [complaint] = [line for line in lines if "without the entry that setup(c) made" in line]
        assert "JupyterHub.services" in complaint
        assert "call setup(c) last" in complaint
    finally:
        await observer.close()
        await hub.close()


async def test_another_command_in_another_shell_leaves_the_hubs_database_alone(
    postgres_dsn: str,
) -> None:
    hub = HubProcess(environment={DSN_VARIABLE: postgres_dsn})
    try:
        await hub.start()
        dsn = hub.data_dir / "secrets" / "dsn"
        assert dsn.read_text() == postgres_dsn
        environment = {n: v for n, v in os.environ.items() if n != DSN_VARIABLE}
        command = [sys.executable, "-m", "jupyterhub", "token", "-f", str(hub.config), "admin"]
        subprocess.run(command, cwd=hub.folder, env=environment, check=True, capture_output=True)
        assert dsn.read_text() == postgres_dsn
        assert not (hub.data_dir / "postgres").exists()
    finally:
        await hub.close()
