"""Reading secrets and telling whose they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.errors import ConfigurationError, DatabaseUnavailable
from jupyterhub_metrics.service.credentials import HubSecrets, bearer, read_key, read_token
from jupyterhub_metrics.service.source import find_dsn

DSN = "postgresql://user:hush-hush@{}/base"


@given(st.text())
def test_only_its_own_secret_opens_a_hub(token: str) -> None:
    secrets = HubSecrets({"one": "s" * 32, "two": "t" * 32})
    assert secrets.hub_of(token) is None
    assert secrets.hub_of("t" * 32) == "two"


def test_two_hubs_must_not_share_a_secret() -> None:
    with pytest.raises(ConfigurationError, match="one secret given to two Hubs"):
        HubSecrets({"one": "s" * 32, "two": "s" * 32})


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("token abc", None),
        ("", None),
    ],
)
def test_a_bearer_header_gives_its_token(header: str, token: str | None) -> None:
    assert bearer(header) == token


@pytest.mark.parametrize("content", [b"", b" \n", b"short", b"\xff\xfe"])
def test_an_unusable_secret_names_its_file_and_not_its_content(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "events_token"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        read_token(path)
    assert str(path) in str(refused.value)
    assert "short" not in str(refused.value)


def test_a_key_is_hexadecimal(tmp_path: Path) -> None:
    path = tmp_path / "cookie_secret"
    assert read_key(path) is None
    path.write_text("00ff" * 16 + "\n")
    assert read_key(path) == b"\x00\xff" * 16
    path.write_text("not hexadecimal at all")
    with pytest.raises(ConfigurationError, match="hexadecimal"):
        read_key(path)


def test_the_database_is_looked_for_in_the_documented_order(tmp_path: Path) -> None:
    environment = {"JUPYTERHUB_METRICS_DSN": DSN.format("environment")}
    assert find_dsn("", "", tmp_path, {}) is None
    assert find_dsn("", "", tmp_path, environment) == DSN.format("environment")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "dsn").write_text(DSN.format("secrets") + "\n")
    assert find_dsn("", "", tmp_path, environment) == DSN.format("secrets")
    named = tmp_path / "named"
    named.write_text(DSN.format("file"))
    assert find_dsn("", str(named), tmp_path, environment) == DSN.format("file")
    assert find_dsn(DSN.format("trait"), str(named), tmp_path, environment) == DSN.format("trait")


def test_a_missing_dsn_file_is_waited_for_and_never_replaced_by_another_database(
    tmp_path: Path,
) -> None:
    with pytest.raises(DatabaseUnavailable, match="nowhere"):
        find_dsn("", str(tmp_path / "nowhere"), tmp_path, {"JUPYTERHUB_METRICS_DSN": DSN})
