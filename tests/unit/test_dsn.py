"""The database's address from the environment."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.dsn import check_dsn, dsn_from_environment
from jupyterhub_metrics.errors import ConfigurationError

PARTS = {"DB_HOST": "db", "DB_NAME": "usage", "DB_USER": "u", "DB_PASSWORD": "hunter2"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_nothing_set_means_no_database() -> None:
    assert dsn_from_environment({}) is None
    assert dsn_from_environment({"DB_PASSWORD": "x"}) is None


def test_the_whole_dsn_wins_over_its_parts() -> None:
    dsn = "postgresql://a:b@c/d"
    assert dsn_from_environment({**PARTS, "JUPYTERHUB_METRICS_DSN": dsn}) == dsn


@pytest.mark.parametrize(
    ("changes", "dsn"),
    [
        ({}, "postgresql://u:hunter2@db:5432/usage"),
        ({"DB_PORT": "6432"}, "postgresql://u:hunter2@db:6432/usage"),
        ({"DB_HOST": "::1"}, "postgresql://u:hunter2@[::1]:5432/usage"),
        ({"DB_HOST": "/run/pg"}, "postgresql://u:hunter2@/usage?host=%2Frun%2Fpg&port=5432"),
    ],
)
def test_the_parts_make_a_dsn(changes: dict[str, str], dsn: str) -> None:
    assert dsn_from_environment(PARTS | changes) == dsn


@given(user=TEXT, password=TEXT, name=TEXT)
def test_odd_characters_come_back_from_the_dsn(user: str, password: str, name: str) -> None:
    dsn = dsn_from_environment(PARTS | {"DB_USER": user, "DB_PASSWORD": password, "DB_NAME": name})
    parts = urlsplit(dsn or "")
    assert unquote(parts.username or "") == user
    assert unquote(parts.password or "") == password
    assert unquote(parts.path[1:]) == name


def test_all_missing_parts_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match="DB_NAME, DB_USER, DB_PASSWORD"):
        dsn_from_environment({"DB_HOST": "db"})


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "5432 ", "٣"])
def test_an_impossible_port_is_refused_without_the_password(port: str) -> None:
    with pytest.raises(ConfigurationError, match="DB_PORT") as refused:
        dsn_from_environment(PARTS | {"DB_PORT": port})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("dsn", ["mysql://u:hunter2@h/x", "hunter2", "postgresql:u:hunter2@h"])
def test_another_scheme_is_refused_without_the_password(dsn: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_dsn(dsn)
    assert "hunter2" not in str(refused.value)
