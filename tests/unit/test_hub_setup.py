"""setup(c): what a Hub's configuration holds afterwards."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner
from traitlets.config import Config

from jupyterhub_metrics._names import READ_SCOPE, SCRAPE_SCOPE
from jupyterhub_metrics.errors import ConfigurationError
from jupyterhub_metrics.hub import config_file, hooks, setup
from jupyterhub_metrics.hub.hooks import ACCESS_SCOPE, SERVICE_NAME, merge_user_roles
from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.hub.secret_files import write_dsn
from jupyterhub_metrics.hub.setup import HANDED_ON, _items
from jupyterhub_metrics.hub.spawner import RecordingSpawner, recording
from jupyterhub_metrics.sources.hubapi import SCOPES


class DeploymentsSpawner(SimpleLocalProcessSpawner):
    """What a deployment may write in its own configuration."""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    ours = [
        *("JUPYTERHUB_METRICS_DSN", "DB_HOST"),
        *("JUPYTERHUB_METRICS_HUB_NAME", "JUPYTERHUB_METRICS_SAMPLES_URL"),
    ]
    for name in (*ours, *HANDED_ON):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTERHUB_METRICS_DATA_DIR", str(tmp_path / "metrics"))
    return tmp_path / "metrics"


def services(c: Config) -> list[dict]:
    return [s for s in _items(c.JupyterHub, "services") if s["name"] == SERVICE_NAME]


def roles(c: Config, name: str) -> list[dict]:
    return [role for role in _items(c.JupyterHub, "load_roles") if role["name"] == name]


def test_importing_changes_nothing(tmp_path):
    script = """
import json, os
from jupyterhub.app import JupyterHub
before = JupyterHub.init_spawners, JupyterHub.class_traits()["spawner_class"].validate
import jupyterhub_metrics.hub
after = JupyterHub.init_spawners, JupyterHub.class_traits()["spawner_class"].validate
print(json.dumps([before == after, os.listdir(".")]))
"""
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == [True, []]


def test_setting_up_twice_is_setting_up_once(clean_environment):
    once, twice = Config(), Config()
    setup(once)
    secrets = {f.name: f.read_text() for f in (clean_environment / "secrets").iterdir()}
    setup(twice)
    setup(twice)
    for name, count in (("services", 1), ("load_roles", 2), ("template_paths", 1)):
        assert _items(once.JupyterHub, name) == _items(twice.JupyterHub, name)
        assert len(_items(twice.JupyterHub, name)) == count
    assert {f.name: f.read_text() for f in (clean_environment / "secrets").iterdir()} == secrets
    init_spawners = JupyterHub.init_spawners
    setup(Config())
    assert JupyterHub.init_spawners is init_spawners


def test_only_secrets_are_written_and_only_their_owner_may_read_them(clean_environment):
    setup(Config(), dsn="postgresql://u:hidden@db.example/metrics")
    written = [p for p in clean_environment.rglob("*") if p.is_file()]
    assert {p.name for p in written} == {
        "api_token",
        "cookie_secret",
        "events_token",
        "metrics_token",
    }
    assert {p.stat().st_mode & 0o777 for p in written} == {0o600}
    assert (clean_environment / "secrets").stat().st_mode & 0o777 == 0o700


def test_what_the_hub_stores_in_plain_text_carries_no_secret(clean_environment):
    c = Config()
    setup(c, dsn="postgresql://u:hidden@db.example/metrics")
    (service,) = services(c)
    events_token = (clean_environment / "secrets" / "events_token").read_text()
    plain = json.dumps([service["environment"], service["command"], dict(c.MetricsRecorder)])
    for secret in ("hidden", events_token, service["api_token"]):
        assert secret not in plain
    assert set(service["environment"]) == {
        "JUPYTERHUB_METRICS_DATA_DIR",
        "JUPYTERHUB_METRICS_DSN_FILE",
        "JUPYTERHUB_METRICS_HUB_NAME",
    }


def test_reading_the_configuration_leaves_the_dsn_of_a_running_hub_alone(clean_environment):
    setup(Config(), dsn="postgresql://u:p@db.example/metrics")
    assert not (clean_environment / "secrets" / "dsn").exists()
    write_dsn(clean_environment, "postgresql://u:p@db.example/metrics")
    setup(Config())
    setup(Config(), dsn="postgresql://u:p@elsewhere.example/metrics")
    dsn = clean_environment / "secrets" / "dsn"
    assert dsn.read_text() == "postgresql://u:p@db.example/metrics"
    assert dsn.stat().st_mode & 0o777 == 0o600
    write_dsn(clean_environment, None)
    assert not dsn.exists()


def test_a_service_with_a_database_of_its_own_is_told_where_its_address_will_be(clean_environment):
    c = Config()
    setup(c)
    assert "JUPYTERHUB_METRICS_DSN_FILE" not in services(c)[0]["environment"]
    setup(c, dsn="postgresql://u:p@db.example/metrics")
    told = services(c)[0]["environment"]["JUPYTERHUB_METRICS_DSN_FILE"]
    assert told == str(clean_environment / "secrets" / "dsn")


def test_the_dsn_is_read_from_the_environment_where_setup_runs(clean_environment, monkeypatch):
    monkeypatch.setenv("DB_HOST", "db.example")
    monkeypatch.setenv("DB_NAME", "metrics")
    monkeypatch.setenv("DB_USER", "u")
    with pytest.raises(ConfigurationError, match="DB_PASSWORD"):
        setup(Config())
    monkeypatch.setenv("DB_PASSWORD", "p@ss")
    setup(Config())
    prepared = hooks._prepared_dsns[clean_environment]
    assert prepared == "postgresql://u:p%40ss@db.example:5432/metrics"


@pytest.mark.parametrize("name", ["x" * 256, "two\nlines"])
def test_a_hub_name_that_no_row_can_hold_is_refused(name):
    with pytest.raises(ConfigurationError, match="hub_name"):
        setup(Config(), hub_name=name)


def test_an_existing_user_role_keeps_its_scopes_and_gains_access():
    c = Config()
    c.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", "list:groups"]}]
    setup(c)
    assert c.JupyterHub.load_roles[0] == {
        "name": "user",
        "scopes": ["self", "list:groups", ACCESS_SCOPE],
    }


def test_the_service_is_given_the_least_scopes_in_a_role_of_its_own():
    c = Config()
    setup(c)
    (role,) = roles(c, SERVICE_NAME)
    assert role == {
        "name": SERVICE_NAME,
        "scopes": [
            "list:users",
            "read:servers",
            "read:users:groups",
            "list:groups",
            "read:groups",
        ],
        "services": [SERVICE_NAME],
    }
    assert set(role["scopes"]) == set(SCOPES), "what it asks for"


def test_a_role_of_that_name_keeps_what_the_deployment_gave_it():
    c = Config()
    given = {"name": SERVICE_NAME, "scopes": ["admin:users", "read:groups"], "services": ["x"]}
    c.JupyterHub.load_roles = [given]
    setup(c)
    setup(c)
    (role,) = roles(c, SERVICE_NAME)
    assert sorted(role["scopes"]) == sorted({"admin:users", *SCOPES})
    assert role["services"] == ["x", SERVICE_NAME]


def test_the_interval_of_checks_is_handed_on_to_the_service(monkeypatch):
    monkeypatch.setenv("COLLECTION_INTERVAL", "60")
    c = Config()
    setup(c)
    assert services(c)[0]["environment"]["COLLECTION_INTERVAL"] == "60"


def test_two_user_roles_of_two_files_become_one():
    ours = {"name": "user", "scopes": ["self", ACCESS_SCOPE]}
    other = {"name": "user", "scopes": ["self", "list:groups"]}
    merged = [{"name": "user", "scopes": ["self", "list:groups", ACCESS_SCOPE]}]
    assert merge_user_roles([other, ours]) == merge_user_roles([ours, other]) == merged
    assert merge_user_roles([ours]) == [ours]
    assert merge_user_roles([other, {"name": "x"}]) == [other, {"name": "x"}]


def test_lists_that_were_appended_to_keep_what_they_had():
    c = Config()
    c.JupyterHub.services.append({"name": "culler"})
    c.JupyterHub.load_roles.append({"name": "user", "scopes": ["self"]})
    setup(c)
    assert [s["name"] for s in _items(c.JupyterHub, "services")] == ["culler", SERVICE_NAME]
    (role,) = roles(c, "user")
    assert ACCESS_SCOPE in role["scopes"]


def test_a_service_that_runs_elsewhere_is_registered_and_not_started():
    c = Config()
    setup(c, service_url="http://metrics.example:8080")
    (service,) = services(c)
    assert "command" not in service
    assert c.MetricsRecorder.service_url == "http://metrics.example:8080"


def test_the_services_own_configuration_file_is_handed_on_by_its_path(tmp_path):
    c = Config()
    setup(c, service_config=tmp_path / "metrics.py")
    path = services(c)[0]["environment"]["JUPYTERHUB_METRICS_CONFIG"]
    assert path == str(tmp_path / "metrics.py")


def test_the_hubs_name_comes_from_the_argument_the_configuration_or_the_environment(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_METRICS_HUB_NAME", "from-environment")
    c = Config()
    setup(c)
    assert c.MetricsRecorder.hub_name == "from-environment"
    c = Config()
    c.MetricsRecorder.hub_name = "from-config"
    setup(c)
    assert c.MetricsRecorder.hub_name == "from-config"
    setup(c, hub_name="from-argument")
    assert c.MetricsRecorder.hub_name == "from-argument"
    assert services(c)[0]["environment"]["JUPYTERHUB_METRICS_HUB_NAME"] == "from-argument"


def test_where_servers_post_comes_from_the_argument_the_configuration_or_the_environment(
    monkeypatch,
):
    c = Config()
    setup(c)
    assert "samples_url" not in c.MetricsRecorder
    monkeypatch.setenv("JUPYTERHUB_METRICS_SAMPLES_URL", "http://proxy-public")
    setup(c)
    assert c.MetricsRecorder.samples_url == "http://proxy-public"
    c = Config()
    c.MetricsRecorder.samples_url = "http://proxy.example"
    setup(c)
    assert c.MetricsRecorder.samples_url == "http://proxy.example"
    setup(c, samples_url="service")
    assert c.MetricsRecorder.samples_url == "service"


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("proxy-public", "found samples_url 'proxy-public'; expected 'service' or an address"),
        ("ftp://proxy-public", "expected 'service' or an address"),
        ("http://u:hidden@proxy-public", "found a user or a password in samples_url"),
    ],
)
def test_an_address_that_servers_cannot_be_told_is_refused(told, found):
    with pytest.raises(ConfigurationError) as caught:
        setup(Config(), samples_url=told)
    assert found in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("", ""),
        ("service", "http://127.0.0.1:10180/hub-1/services/jupyterhub-metrics/api/v1/samples"),
        (
            "http://proxy-public/",
            "http://proxy-public/hub-1/services/jupyterhub-metrics/api/v1/samples",
        ),
        ("https://metrics.example/samples", "https://metrics.example/samples"),
        ("no address", ""),
    ],
)
def test_servers_are_told_the_whole_address(told, address):
    app = SimpleNamespace(base_url="/hub-1/", log=logging.getLogger("test_hub_setup"))
    recorder = MetricsRecorder(service_url="http://127.0.0.1:10180", samples_url=told)
    assert hooks._samples_address(app, recorder) == address


@pytest.mark.parametrize("port", [0, 65536, "8o", True])
def test_a_port_that_is_none_says_what_was_expected(port):
    with pytest.raises(ConfigurationError, match="service_port must be a number from 1 to 65535"):
        setup(Config(), service_port=port)


def test_the_port_comes_from_the_argument_or_the_environment(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_METRICS_SERVICE_PORT", "10999")
    c = Config()
    setup(c)
    assert services(c)[0]["url"] == "http://127.0.0.1:10999"
    setup(c, service_port=10998)
    assert services(c)[0]["url"] == "http://127.0.0.1:10998"


def test_a_folder_that_cannot_be_made_says_so_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="data_dir") as caught:
        setup(Config(), data_dir=tmp_path / "file" / "metrics")
    assert "\n" not in str(caught.value)


def test_a_missing_extra_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'jupyterhub-metrics\[embedded\]'"):
        setup(Config())
    with pytest.raises(ConfigurationError, match=r"pip install 'jupyterhub-metrics\[service\]'"):
        setup(Config(), dsn="postgresql://u:p@db.example/metrics")


@pytest.mark.parametrize("how", ["unset", "assigned", "prepended"])
def test_our_templates_come_after_the_deployments_and_before_the_hubs(how):
    c = Config()
    if how == "assigned":
        c.JupyterHub.template_paths = ["/deployment"]
    elif how == "prepended":
        c.JupyterHub.template_paths.prepend(["/deployment"])
    setup(c)
    hubs = JupyterHub().template_paths
    paths = JupyterHub(config=c).template_paths
    expected = [] if how == "unset" else ["/deployment"]
    assert [p for p in paths if p not in hubs and "hub-templates" not in p] == expected
    ours = next(i for i, p in enumerate(paths) if p.endswith("hub-templates"))
    assert ours == len(expected)
    assert all(paths.index(p) > ours for p in hubs if p in paths)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("configured", "recorded"),
    [
        (DeploymentsSpawner, DeploymentsSpawner),
        ("jupyterhub.spawner.SimpleLocalProcessSpawner", SimpleLocalProcessSpawner),
        ("simple", SimpleLocalProcessSpawner),
        ("kubespawner.KubeSpawner", "KubeSpawner"),
        ("dockerspawner.DockerSpawner", "DockerSpawner"),
        (None, LocalProcessSpawner),
    ],
)
def test_whatever_spawner_class_is_configured_records(configured, recorded, when):
    c = Config()
    if when == "before" and configured:
        c.JupyterHub.spawner_class = configured
    setup(c)
    if when == "after" and configured:
        c.JupyterHub.spawner_class = configured
    spawner_class = JupyterHub(config=c).spawner_class
    assert issubclass(spawner_class, RecordingSpawner)
    if isinstance(recorded, str):
        assert spawner_class.recorded_class.__name__ == recorded
    else:
        assert spawner_class.recorded_class is recorded


def test_a_recording_class_is_made_once_and_still_tells_where_it_comes_from():
    made = recording(SimpleLocalProcessSpawner)
    assert recording(made) is made is recording(SimpleLocalProcessSpawner)
    assert made.__module__ == "jupyterhub.spawner"


def test_the_subconfig_file_sets_up_like_the_call(clean_environment):
    c = Config()
    exec(compile(Path(config_file()).read_text(), config_file(), "exec"), {"c": c})
    assert len(services(c)) == 1
    assert (clean_environment / "secrets" / "events_token").exists()


@pytest.mark.parametrize("given", [{}, {"custom:theirs:read": {"description": "Theirs"}}])
def test_the_scopes_are_defined_beside_the_deployments_own(given):
    c = Config()
    if given:
        c.JupyterHub.custom_scopes = given
    setup(c)
    setup(c)
    app = JupyterHub(config=c)
    assert set(app.custom_scopes) == {*given, SCRAPE_SCOPE, READ_SCOPE}
    granted = [r for r in app.load_roles if {SCRAPE_SCOPE, READ_SCOPE} & {*r.get("scopes", ())}]
    assert not granted, "nobody has it until a role of theirs grants it"
