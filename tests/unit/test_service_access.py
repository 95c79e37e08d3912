"""Who sees what, from the Hub's model of the visitor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jupyterhub_metrics.service.access import Forbidden, Viewer, viewer_of

READ = "custom:jupyterhub-metrics:read"
ACCESS = "access:services!service=jupyterhub-metrics"


def viewer(*scopes: str, **model: Any) -> Viewer:
    return viewer_of({"name": "mira", "kind": "user", "scopes": [ACCESS, *scopes], **model}, "hub")


def test_everyone_sees_the_own_usage_and_nobody_elses() -> None:
    mira = viewer()
    assert mira.may_see_user("mira")
    assert not mira.may_see_user("tomas")
    assert not mira.may_see_user("mira", "another hub")
    assert not mira.may_see_group("physics")
    assert not mira.is_operator


def test_an_owner_sees_that_group_and_not_its_members_pages() -> None:
    owner = viewer(f"{READ}!group=physics", f"{READ}!group=odd=name!x")
    assert owner.may_see_group("physics")
    assert owner.may_see_group("odd=name!x")
    assert not owner.may_see_group("biology")
    assert not owner.may_see_group("physics", "another hub")
    assert not owner.may_see_user("tomas")


def test_a_scope_may_be_limited_to_one_user() -> None:
    assert viewer(f"{READ}!user=tomas").may_see_user("tomas")


@pytest.mark.parametrize("make", [lambda: viewer(READ), lambda: viewer(admin=True)])
def test_an_operator_sees_everyone_of_the_own_hub(make: Callable[[], Viewer]) -> None:
    operator = make()
    assert operator.is_operator
    assert operator.may_see_user("tomas")
    assert operator.may_see_group("any")
    assert not operator.may_see_user("tomas", "another hub")
    with pytest.raises(Forbidden):
        operator.require_hub("another hub")


def test_further_hubs_are_for_operators_alone() -> None:
    model = {"name": "mira", "kind": "user", "scopes": []}
    operator = viewer_of({**model, "admin": True}, "hub", further_hubs=("two",))
    assert operator.hubs == ("hub", "two")
    assert operator.may_see_user("tomas", "two")
    assert viewer_of(model, "hub", further_hubs=("two",)).hubs == ("hub",)


@pytest.mark.parametrize(
    "scope",
    [
        f"{READ}!server=x/",
        f"{READ}!service=x",
        f"{READ}!",
        f"{READ}!group=",
        f"{READ}!group",
        f"{READ}er",
        "custom:jupyterhub-metrics:scrape",
        "read:users",
        "admin:users",
    ],
)
def test_other_scopes_and_limits_grant_nothing(scope: str) -> None:
    found = viewer(scope)
    assert not found.is_operator
    assert not found.owned_groups
    assert not found.readable_users


def test_a_service_has_no_own_usage_and_no_use_of_being_called_an_admin() -> None:
    service = viewer_of({"name": "mira", "kind": "service", "admin": True, "scopes": []}, "hub")
    assert not service.is_operator
    assert not service.may_see_user("mira")
    assert viewer_of({"name": "x", "kind": "service", "scopes": [READ]}, "hub").is_operator
