"""Where the cluster is found, and what is said where it is not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from certipy import Certipy
from kube_api import KubeApi, failure
from pod_cluster import named, user_pod, view_where

from jupyterhub_metrics.sources import cluster_login
from jupyterhub_metrics.sources.pods import PodSource

SourceOf = Callable[..., PodSource]


async def complaint_of(source: PodSource) -> str:
    for _ in range(2000):
        if source.complaint is not None:
            return source.complaint
        await asyncio.sleep(0.005)
    raise AssertionError("no complaint within 10 s")


def settings_of(**environment: str) -> PodSource:
    return PodSource(environment=environment)


def test_the_variables_of_old_are_honoured() -> None:
    source = settings_of(
        KUBECTL_CONTEXT="prod",
        NAMESPACE="jhub, lab,",
        K8S_NAMESPACE="other",
        POD_LABEL_SELECTOR="app=jupyterhub",
    )
    assert source.context == "prod"
    assert source.namespaces == ["jhub", "lab"]
    assert source.label_selector == "app=jupyterhub"


def test_empty_variables_are_as_none() -> None:
    source = settings_of(NAMESPACE="", K8S_NAMESPACE="lab", POD_LABEL_SELECTOR="")
    assert source.namespaces == ["lab"]
    assert source.label_selector == "component=singleuser-server"
    assert settings_of().namespaces == []
    assert source.context == ""


async def test_the_named_context_counts_with_its_namespace(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    kube_api.store.create(user_pod("jupyter-ada", namespace="jhub"))
    path = kube_api.kubeconfig(tmp_path / "kubeconfig", "away")
    environment = {"KUBECTL_CONTEXT": "test", "KUBECONFIG": str(path)}
    source = source_of(None, None, environment=environment)
    view = await view_where(source, lambda view: True)
    assert list(view.pods) == [("jhub", "jupyter-ada")]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("nowhere", ["no usable context 'nowhere'", "contexts there: test, away"]),
        ("away", ["127.0.0.1:1;", "see whether the API server runs"]),
    ],
)
async def test_what_cannot_be_found_is_named(
    context: str, expected: list[str], kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    path = kube_api.kubeconfig(tmp_path / "kubeconfig", "test")
    complaint = await complaint_of(source_of(path, "jhub", context=context))
    assert "\n" not in complaint
    for text in expected:
        assert text in complaint


async def test_a_kubeconfig_that_is_not_there_is_named(source_of: SourceOf, tmp_path: Path) -> None:
    complaint = await complaint_of(source_of(tmp_path / "absent", "jhub"))
    assert f"{tmp_path}/absent" in complaint
    assert "contexts there: none" in complaint


async def test_a_refusal_names_the_verb_the_namespace_and_the_remedy(
    kube_api: KubeApi, source_of: SourceOf, tmp_path: Path
) -> None:
    message = 'pods is forbidden: User "hub" cannot list resource "pods"'
    kube_api.fail_next(lambda request: failure(403, "Forbidden", message), "list")
    path = kube_api.kubeconfig(tmp_path / "kubeconfig", "test")
    source = source_of(path, "jhub", first_backoff_seconds=5, longest_backoff_seconds=5)
    complaint = await complaint_of(source)
    assert complaint == (
        f"found HTTP 403 of 127.0.0.1:{kube_api.port} ({message}); expected to list pods in the "
        "namespace 'jhub'; bind a Role that may list and watch pods in that namespace to the "
        "service's account; docs/pods.md has the manifest"
    )
    assert source.view() is None


async def test_in_a_cluster_the_service_account_is_used_and_its_new_token_too(
    kube_api: KubeApi,
    source_of: SourceOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificates = Certipy(store_dir=str(tmp_path / "certificates"))
    authority = certificates.create_ca("ca")["files"]
    files = certificates.create_signed_pair("api", "ca", alt_names=["IP:127.0.0.1"])["files"]
    await kube_api.stop()
    kube_api.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    kube_api.tls.load_cert_chain(files["cert"], files["key"])
    await kube_api.start()

    account = tmp_path / "account"
    account.mkdir()
    (account / "namespace").write_text("lab\n")
    (account / "token").write_text("old-token-1b0c")
    (account / "ca.crt").write_text(Path(authority["cert"]).read_text())
    monkeypatch.setattr(cluster_login, "SERVICE_ACCOUNT_DIR", account)

    kube_api.store.create(user_pod("jupyter-ada", namespace="lab"))
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(kube_api.port),
    }
    source = source_of(None, None, environment=environment)
    assert "HTTP 401" in await complaint_of(source)
    (account / "token").write_text(kube_api.token)
    assert set(named(await view_where(source, lambda view: True))) == {"jupyter-ada"}
    assert "old-token" not in str(source.complaint)


async def test_without_a_service_account_it_is_asked_for(
    source_of: SourceOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_login, "SERVICE_ACCOUNT_DIR", tmp_path)
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    source = source_of(None, None, environment=environment)
    assert "automountServiceAccountToken" in await complaint_of(source)
