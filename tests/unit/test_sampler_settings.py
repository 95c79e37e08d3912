"""Flags, the configuration file and the environment of ``jupyterhub-metrics sample``."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path
from typing import Any

import pytest
import seed_monitor

from jupyterhub_metrics.errors import ConfigurationError
from jupyterhub_metrics.sampler.command import add_arguments
from jupyterhub_metrics.sampler.settings import Database, Settings, dsn_of, settings_of
from jupyterhub_metrics.sampler.settings_file import read_settings

SEEDS_FLAGS = (
    "--host localhost --database monitoring --user monitor_user --capacity 5000 --master "
    "--container web-server --container database --samples 10 --interval 5"
)


def settings(flags: str = "", told: dict[str, Any] | None = None, **environment: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return settings_of(parser.parse_args(flags.split()), told or {}, environment)


def test_the_seeds_flags_are_understood() -> None:
    read = settings(SEEDS_FLAGS)
    monitoring = read.monitoring
    assert (monitoring.capacity, monitoring.master, read.samples) == (5000, True, 10)
    assert monitoring.containers == ("web-server", "database")
    assert (monitoring.intervals.node_seconds, monitoring.intervals.container_seconds) == (5, 5)
    dsn = dsn_of(read.database, {"POSTGRES_PASSWORD": "p@ss/word"})
    assert dsn == "postgresql://monitor_user:p%40ss%2Fword@localhost:5432/monitoring"


def test_the_seeds_file_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(seed_monitor.CONFIGURATION)
    read = settings("", dict(read_settings(path)))
    assert read.database == Database("localhost", 5432, "monitoring", "monitor_user")
    monitoring = read.monitoring
    assert (monitoring.table_name, monitoring.capacity) == ("performance_metrics", 50000)
    # nobody has filled in the template
    assert monitoring.node_name == socket.gethostname()
    assert (monitoring.intervals.node_seconds, monitoring.intervals.container_seconds) == (5, 2)
    assert monitoring.containers == ("web-server", "database", "cache")
    assert read.logging.file == "/var/log/performance-monitor.log"


def test_flags_win_over_the_file_and_the_file_over_the_environment() -> None:
    told = {"database": {"host": "db", "user": "u"}, "monitoring": {"node_name": "a"}}
    read = settings("--host other --node-name b", told, NODE_NAME="c")
    assert (read.database.host, read.database.user) == ("other", "u")
    assert read.monitoring.node_name == "b"
    assert settings("", told, NODE_NAME="c").monitoring.node_name == "a"
    assert settings("", NODE_NAME="c").monitoring.node_name == "c"


def test_the_password_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from a file\n")
    database = Database("/run/pg", 5433, "d", "u", "MINE", str(file))
    assert dsn_of(database, {}) == "postgresql://u:from%20a%20file@/d?host=%2Frun%2Fpg&port=5433"
    database = Database("::1", 5432, "d", "u", "MINE")
    assert dsn_of(database, {"MINE": "x"}) == "postgresql://u:x@[::1]:5432/d"
    with pytest.raises(ConfigurationError, match="found no password in the variable MINE"):
        dsn_of(database, {"POSTGRES_PASSWORD": "x"})
    with pytest.raises(ConfigurationError, match="found no file"):
        dsn_of(Database("h", 5432, "d", "u", password_file=str(tmp_path / "none")), {})


def test_without_a_database_the_environment_says_which() -> None:
    environment = {"DB_HOST": "h", "DB_NAME": "n", "DB_USER": "u", "DB_PASSWORD": "p"}
    assert dsn_of(Database(), environment) == "postgresql://u:p@h:5432/n"
    with pytest.raises(ConfigurationError, match="found no host, database, user of the database"):
        dsn_of(Database(), {})
    with pytest.raises(ConfigurationError, match="found no database, user of"):
        dsn_of(Database(host="h"), environment)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"databse": {}}, "found databse in the configuration file; expected one of database,"),
        ({"monitoring": {"intervals": {"node": 5}}}, "found monitoring.intervals.node in"),
        ({"database": {"password": "hunter2"}}, "found database.password in the configuration"),
        ({"database": {"port": "many"}}, "found database.port 'many'.*expected a whole number"),
        ({"database": {"port": 0}}, "found the port 0"),
        ({"monitoring": {"capacity": True}}, "found monitoring.capacity 'True'"),
        ({"monitoring": {"capacity": 0}}, "found a capacity of 0"),
        ({"monitoring": {"capacity": -1}}, "found a capacity of -1"),
        ({"monitoring": {"containers": "web"}}, "expected a list of names"),
        ({"monitoring": {"intervals": 5}}, "expected a section"),
        ({"monitoring": {"intervals": {"node_seconds": 0}}}, "found an interval of 0.0 s"),
        ({"monitoring": {"master": "yes"}}, "expected true or false"),
        ({"monitoring": {"buffer_samples": 0}}, "found buffer_samples 0"),
        ({"monitoring": {"node_name": "a\nb"}}, "found the name"),
        ({"logging": {"level": "LOUD"}}, "found the level 'LOUD'"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(told: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigurationError, match=found) as raised:
        settings("", told)
    assert "hunter2" not in str(raised.value)


def test_a_password_is_no_argument_and_is_not_repeated() -> None:
    for flags in ("--password secret", "--password=secret", "--password"):
        with pytest.raises(ConfigurationError, match="found a password on the command") as raised:
            settings(flags)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: [", "unreadable as YAML at line 1"),
        ("- a", "found no sections"),
        (None, "found no con"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, found: str) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=found):
        read_settings(path)
