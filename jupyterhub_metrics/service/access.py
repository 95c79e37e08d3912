"""Who may see what. The one place that decides it. Pure; called by the handlers.

A Hub's admin, and whoever holds the scope to read, is an operator of that Hub and sees everyone of
it. Who holds that scope for a group sees the group; everyone sees their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._names import READ_SCOPE
from ..errors import MetricsError


class Forbidden(MetricsError):
    """The visitor may not see this; :attr:`field` names what of the request asks for it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Viewer:
    """Someone whom the Hub has identified. ``username`` is None for a service.

    ``hub`` is the Hub that identified them, ``hubs`` those whose usage they see as an operator.
    """

    name: str
    hub: str
    username: str | None = None
    is_operator: bool = False
    hubs: tuple[str, ...] = ()
    owned_groups: frozenset[str] = field(default_factory=frozenset)
    readable_users: frozenset[str] = field(default_factory=frozenset)

    def may_see_user(self, username: str, hub: str | None = None) -> bool:
        """Whether the person may see the usage of one user."""
        hub = hub or self.hub
        if self.is_operator and hub in self.hubs:
            return True
        return hub == self.hub and (username == self.username or username in self.readable_users)

    def may_see_group(self, group: str, hub: str | None = None) -> bool:
        """Whether the person may see the usage of one group."""
        hub = hub or self.hub
        if self.is_operator and hub in self.hubs:
            return True
        return hub == self.hub and group in self.owned_groups

    def require_operator(self, field: str) -> None:
        """Raises Forbidden for everyone else."""
        if not self.is_operator:
            raise Forbidden(field, "found no operator of this Hub; expected one to ask for that")

    def require_user(self, username: str, hub: str | None = None) -> None:
        """Raises Forbidden unless the person may see that user."""
        if not self.may_see_user(username, hub):
            raise Forbidden("user", "found someone else's usage; expected your own")

    def require_group(self, group: str, hub: str | None = None) -> None:
        """Raises Forbidden unless the person may see that group."""
        if not self.may_see_group(group, hub):
            raise Forbidden("group", "found a group that you do not own; expected one of yours")

    def require_hub(self, hub: str) -> None:
        """Raises Forbidden unless the person may see something of that Hub."""
        if hub != self.hub and not (self.is_operator and hub in self.hubs):
            raise Forbidden("hub", "found a Hub that is not yours; expected your own")


def viewer_of(model: Mapping[str, Any], hub: str, *, further_hubs: tuple[str, ...] = ()) -> Viewer:
    """Who the Hub says is visiting; ``model`` is its model of a user or a service.

    ``further_hubs`` are those whose usage the operators of ``hub`` see too.
    """
    is_user = model.get("kind", "user") == "user"
    groups, users, everyone = _granted(model.get("scopes") or ())
    is_operator = everyone or (is_user and model.get("admin") is True)
    return Viewer(
        name=str(model.get("name")),
        hub=hub,
        username=str(model["name"]) if is_user else None,
        is_operator=is_operator,
        hubs=(hub, *(other for other in further_hubs if other != hub)) if is_operator else (hub,),
        owned_groups=groups,
        readable_users=users,
    )


def _granted(scopes: Any) -> tuple[frozenset[str], frozenset[str], bool]:
    """The groups and users that scopes to read are limited to, and whether one has no limit."""
    groups, users = set(), set()
    everyone = False
    for scope in scopes:
        name, limited, limit = str(scope).partition("!")
        if name != READ_SCOPE:
            continue
        kind, _, value = limit.partition("=")
        if not limited:
            everyone = True
        elif kind == "group" and value:
            groups.add(value)
        elif kind == "user" and value:
            users.add(value)
        # other limits, such as server=, grant nothing here
    return frozenset(groups), frozenset(users), everyone
