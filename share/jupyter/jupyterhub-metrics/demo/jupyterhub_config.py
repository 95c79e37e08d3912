"""The demo's Hub, which `jupyterhub-metrics demo` starts in its own folder. Not for production.

Every server runs as the user who started the demo and can read the Hub's files and everyone
else's; therefore all of it listens on loopback only. The environment carries ports; the password
stands in a file.
"""

import hmac
import os
import sys
import sysconfig
from pathlib import Path

from jupyterhub.auth import Authenticator

from jupyterhub_metrics.hub import setup

c = get_config()  # noqa: F821 - JupyterHub's configuration loader provides it

folder = Path.cwd()
password = (folder / "password").read_text().strip()
port, hub_port, proxy_port, service_port = (
    int(part) for part in os.environ["JUPYTERHUB_METRICS_DEMO_PORTS"].split(",")
)


class DemoAuthenticator(Authenticator):
    """One password for the few who are allowed in."""

    async def authenticate(self, handler, data):
        given = data["password"].encode("utf-8", "replace")
        return data["username"] if hmac.compare_digest(given, password.encode()) else None


c.JupyterHub.authenticator_class = DemoAuthenticator
c.Authenticator.allowed_users = {"admin", "mira", "tomas"}
c.Authenticator.admin_users = {"admin"}

c.JupyterHub.bind_url = f"http://127.0.0.1:{port}/"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.command = [
    str(Path(sysconfig.get_path("scripts")) / "configurable-http-proxy")
]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{proxy_port}"

c.JupyterHub.allow_named_servers = True
c.JupyterHub.cleanup_servers = True
c.JupyterHub.load_groups = {
    "physics": {"users": ["mira"]},
    "statistics-101": {"users": ["tomas"]},
}

# mira reads what her group used; see docs/access.md
c.JupyterHub.load_roles = [
    {
        "name": "physics-usage",
        "scopes": ["custom:jupyterhub-metrics:read!group=physics"],
        "users": ["mira"],
    }
]

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(folder / "homes" / "{username}")
c.LocalProcessSpawner.interrupt_timeout = 3
# each server with a sampler beside it, which tells the service what the server uses
c.Spawner.cmd = [
    *(sys.executable, "-m", "jupyterhub_metrics.cli", "sample", "--sidecar", "--interval", "2"),
    *("--", sys.executable, "-m", "jupyterhub.singleuser"),
]
c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []
c.Spawner.default_url = "/lab"
c.Spawner.poll_interval = 5

setup(
    c,
    hub_name="demo",
    data_dir=folder / "jupyterhub-metrics",
    service_port=service_port,
    samples_url="service",
)
