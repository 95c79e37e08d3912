"""Who is asking, as the Hub says. Called by the handlers; what they may see is in ``access``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from jupyterhub.services.auth import HubOAuth, HubOAuthenticated, UserNotAllowed
from tornado.web import HTTPError

from .credentials import api_token


def make_hub_auth(data_dir: Path, environment: Mapping[str, str]) -> HubOAuth | None:
    """How pages ask the Hub who is visiting; None if this service has no token for the Hub.

    All other settings are JupyterHub's own ``JUPYTERHUB_*`` variables.
    """
    token = api_token(data_dir, environment)
    if token is None:
        return None
    name = environment.get("JUPYTERHUB_SERVICE_NAME") or "jupyterhub-metrics"
    return HubOAuth(
        api_token=token,
        base_url=environment.get("JUPYTERHUB_SERVICE_PREFIX") or f"/services/{name}/",
        oauth_client_id=environment.get("JUPYTERHUB_CLIENT_ID") or f"service-{name}",
        access_scopes={"access:services", f"access:services!service={name}"},
    )


class Visitor(HubOAuthenticated):
    """Identifies the visitor before a page handler runs, without blocking the event loop."""

    async def identify(self) -> None:
        """Sets ``current_user`` to the Hub's model, or None if nobody is logged in.

        Raises HTTPError 403 if the Hub knows the visitor, who may not use this service.
        """
        model = await self.hub_auth.get_user(self, sync=False)
        try:
            self.current_user = self.check_hub_user(model) if model else None
        except UserNotAllowed:
            self.current_user = None
            raise HTTPError(
                403, "found no permission to use this service; expected one of its users"
            ) from None

    @property
    def visitor(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self.current_user)
