"""Every flag, key, parameter and method of the sampler stands in its documentation."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from jupyterhub_metrics import _data
from jupyterhub_metrics.sampler import CompleteResourceMonitor, ResourceMonitor
from jupyterhub_metrics.sampler.command import add_arguments
from jupyterhub_metrics.sampler.settings import Settings, settings_of

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "sampler.md").read_text(encoding="utf-8")
PYTHON = (DOCS / "sampler-python.md").read_text(encoding="utf-8")
FOLDER = _data.path("share", "jupyter", "jupyterhub-metrics", "sampler")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_arguments(made)
    return made


def keys(section: Any, path: str = "") -> Iterator[str]:
    for item in fields(section):
        value = getattr(section, item.name)
        if is_dataclass(value):
            yield from keys(value, f"{path}{item.name}.")
        elif path:
            yield f"{path}{item.name}"


def test_each_flag_is_documented_and_explained() -> None:
    told = set(re.findall(r"`(--[a-z-]+)`", PAGE))
    actions = [action for action in parser()._actions if action.option_strings]
    shown = {
        action.option_strings[-1]: action.help
        for action in actions
        if action.help != argparse.SUPPRESS
    }
    assert set(shown) - {"--help"} == told - {"--user", "--"} | {"--user"}
    assert all(len(text or "") > 10 for text in shown.values())


def test_each_key_is_documented() -> None:
    told = set(re.findall(r"`((?:database|monitoring|logging)\.[a-z_.]+)`", PAGE))
    assert told == set(keys(Settings()))


def test_the_file_that_is_shipped_has_each_key_with_its_default() -> None:
    text = (FOLDER / "sampler.yaml").read_text(encoding="utf-8")
    told = yaml.safe_load(text)
    read = settings_of(parser().parse_args([]), told, {"NODE_NAME": "n1"})
    plain = settings_of(parser().parse_args([]), {}, {"NODE_NAME": "n1"})
    assert read.monitoring == plain.monitoring
    assert read.logging == plain.logging
    for key in keys(Settings()):
        if not key.startswith("monitoring.kubernetes.") or "pod_selector" in key:
            assert re.search(rf"^ *(# )?{key.rpartition('.')[2]}:", text, re.MULTILINE), key


@pytest.mark.parametrize("monitor", [ResourceMonitor, CompleteResourceMonitor])
def test_each_parameter_and_method_is_documented_with_its_default(monitor: type) -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]*) \|", PYTHON, re.MULTILINE))
    for name, parameter in inspect.signature(monitor).parameters.items():
        if name in ("measuring", "sleep"):
            continue
        assert name in rows
        default = parameter.default
        if default is not inspect.Parameter.empty and name != "node_name":
            assert rows[name].strip().strip("`") == str(default)
    for name, method in inspect.getmembers(monitor, inspect.isfunction):
        if name.startswith("_") or name in ("open", "close"):
            continue
        told = re.search(rf"`{name}\(([^)]*)\)`", PYTHON)
        assert told, name
        own = [
            parameter
            for parameter in inspect.signature(method).parameters.values()
            if parameter.name not in ("self", "pods")
        ]
        shown = [
            one.name
            if one.default is inspect.Parameter.empty
            else f"{one.name}={one.default!r}".replace("'", '"')
            for one in own
        ]
        assert told[1] == ", ".join(shown)


def test_the_files_to_run_it_with_say_the_command_that_there_is() -> None:
    unit = (FOLDER / "jupyterhub-metrics-sampler.service").read_text(encoding="utf-8")
    command = re.search(r"^ExecStart=\S+/jupyterhub-metrics sample (.*)$", unit, re.MULTILINE)
    assert command is not None
    parser().parse_args(command[1].split())
    documents = list(yaml.safe_load_all((FOLDER / "daemonset.yaml").read_text(encoding="utf-8")))
    kinds = {document["kind"]: document for document in documents}
    [container] = kinds["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    given = parser().parse_args(container["args"][2:])
    told = yaml.safe_load(kinds["ConfigMap"]["data"]["sampler.yaml"])
    settings = settings_of(given, told, {"NODE_NAME": "node-7"})
    assert settings.monitoring.kubernetes.enabled
    assert settings.monitoring.node_name == "node-7"
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    for root in (settings.monitoring.roots.proc, settings.monitoring.roots.sys):
        assert root in mounted
    assert kinds["ClusterRole"]["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    ]
    assert not container["securityContext"]["allowPrivilegeEscalation"]


def test_the_sidecars_values_configure_a_hub(tmp_path: Path) -> None:
    """The snippet of the values runs, and gives the sampler nothing but what it needs."""
    path = Path(__file__).parents[2] / "z2jh-values" / "sampler-sidecar.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    from kubernetes_asyncio.client import V1Container, V1EnvVar, V1Pod, V1PodSpec
    from traitlets.config import Config

    config = Config()
    exec(values["hub"]["extraConfig"]["jupyterhub-metrics-sidecar"], {"c": config})
    assert config.KubeSpawner.extra_pod_config == {"shareProcessNamespace": True}
    names = ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_METRICS_SAMPLES_URL", "MY_SECRET")
    server = V1Container(name="notebook", env=[V1EnvVar(name=name, value="x") for name in names])
    pod = V1Pod(spec=V1PodSpec(containers=[server]))

    class Spawner:
        uid = None

    made = config.KubeSpawner.modify_pod_hook(Spawner(), pod)
    sampler = made.spec.containers[1]
    assert [one.name for one in sampler["env"]] == list(names[:2])
    parser().parse_args(sampler["args"][2:])
