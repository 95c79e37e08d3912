"""A real Hub's token opens the service's metrics by the scope that its role grants."""

from __future__ import annotations

import secrets

from hub_database import hub_environment
from hub_process import SETUP, HubProcess, until

SCRAPER, SOMEONE = secrets.token_hex(16), secrets.token_hex(16)
SERVICES = f"""
c.JupyterHub.services.append({{"name": "prometheus", "api_token": "{SCRAPER}"}})
c.JupyterHub.services.append({{"name": "someone", "api_token": "{SOMEONE}"}})
c.JupyterHub.load_roles.append({{
    "name": "scraper",
    "services": ["prometheus"],
    "scopes": ["custom:jupyterhub-metrics:scrape"],
}})
"""


async def test_a_service_with_the_scope_may_scrape_and_another_may_not() -> None:
    hub = HubProcess(environment=hub_environment())
    try:
        settings = hub.folder / "service.py"
        settings.write_text('c.Scraping.hub_scope = "custom:jupyterhub-metrics:scrape"\n')
        with_settings = SETUP.replace("setup(c,", f"setup(c, service_config={str(settings)!r},")
        assert with_settings != SETUP
        hub.write_config(setup=with_settings, after=SERVICES)
        await hub.start()

        async def status(token: str) -> int:
            return (await hub.client.get(f"{hub.service_url}/metrics", token=token)).status

        async def opened() -> bool:
            return await status(SCRAPER) == 200

        await until(opened, "the scraper's token opens metrics", seconds=30)
        assert await status(SOMEONE) == 403
        assert await status("x" * 32) == 401
        told = await hub.client.get(f"{hub.service_url}/metrics", token=SCRAPER)
        assert "jupyterhub_metrics_build_info" in told.text
    finally:
        await hub.close()
