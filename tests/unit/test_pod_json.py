"""What is read from a pod's JSON, and that nothing else is."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pod_cluster import container, user_pod

from jupyterhub_metrics.errors import MetricsError
from jupyterhub_metrics.sources.kube_answers import read_event, read_page
from jupyterhub_metrics.sources.pod_json import PodFields, SeenPod, parse_moment, read_pod
from jupyterhub_metrics.sources.world import Pod

NOON = "2026-11-22T12:00:00Z"
AT_NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def read(pod: dict[str, Any], fields: PodFields = PodFields()) -> SeenPod:  # noqa: B008
    metadata = {"namespace": "jhub", "uid": "u-1", "resourceVersion": "7", **pod["metadata"]}
    return read_pod(msgspec.Raw(json.dumps({**pod, "metadata": metadata}).encode()), fields)


def with_status(**status: Any) -> Pod:
    seen = read({**user_pod("jupyter-ada"), "status": status})
    assert seen.whole
    return seen.pod


def test_without_the_annotation_of_the_server_it_is_the_default_server() -> None:
    pod = read(user_pod("jupyter-ada")).pod
    assert (pod.username, pod.server_name) == ("ada", "")


def test_identity_is_never_taken_from_the_name_or_the_labels() -> None:
    labels = {"hub.jupyter.org/username": "eve"}
    pod = read(user_pod("jupyter-eve--lab", username=None, labels=labels)).pod
    assert (pod.username, pod.server_name) == (None, None)


ENV = [
    {"name": "GIT_AUTHOR_EMAIL", "value": " ada@example.org "},
    {"name": "SECRET", "value": "hunter2"},
    {"name": "FROM_ELSEWHERE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    {"name": "COMPOSED", "value": "$(SECRET)@example.org"},
]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (PodFields(), (None, None)),
        (PodFields(email_variable="GIT_AUTHOR_EMAIL"), ("ada@example.org", None)),
        (PodFields(email_variable="FROM_ELSEWHERE"), (None, None)),
        (PodFields(email_variable="COMPOSED", full_name_variable="ABSENT"), (None, None)),
        (
            PodFields(email_annotation="mail", email_variable="GIT_AUTHOR_EMAIL"),
            ("annotated@example.org", None),
        ),
        (PodFields(full_name_annotation="name"), (None, "Ada\ufffd")),
    ],
)
def test_people_come_from_what_is_named_and_from_nothing_else(
    fields: PodFields, expected: tuple[str | None, str | None]
) -> None:
    pod = user_pod("jupyter-ada", env=ENV)
    pod["metadata"]["annotations"] |= {"mail": "annotated@example.org", "name": "Ada\x00"}
    found = read(pod, fields).pod
    assert (found.email, found.full_name) == expected
    assert "hunter2" not in repr(found)


def test_the_end_is_that_of_the_server_and_not_of_a_sidecar() -> None:
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": NOON}}
    statuses = container({"running": {"startedAt": NOON}})
    statuses[0]["state"] = ended
    pod = with_status(phase="Running", containerStatuses=statuses)
    assert (pod.running_since, pod.finished_at, pod.finished) == (AT_NOON, None, False)
    pod = with_status(phase="Running", containerStatuses=statuses[:1])
    assert (pod.running_since, pod.finished) == (None, False)


def test_without_a_container_of_that_name_the_first_one_is_the_server() -> None:
    statuses = container({"running": {"startedAt": NOON}})
    made = {**user_pod("jupyter-ada"), "status": {"containerStatuses": statuses}}
    pod = read(made, PodFields(container="lab")).pod
    assert pod.image == "registry.example/sidecar:1"
    assert pod.memory_limit_bytes is None


def test_a_lost_node_ends_a_container_without_a_time() -> None:
    lost = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "finishedAt": None}}
    pod = with_status(phase="Running", containerStatuses=container(lost))
    assert (pod.finished_at, pod.exit_status, pod.finished) == (None, 137, True)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"reason": "Evicted"}, "Evicted"),
        ({"reason": "NodeLost"}, "NodeLost"),
        ({"reason": "DeadlineExceeded"}, "DeadlineExceeded"),
        (
            {
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "PodFailed"},
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "PreemptionByScheduler",
                    },
                ]
            },
            "PreemptionByScheduler",
        ),
        ({"conditions": [{"type": "DisruptionTarget", "status": "False", "reason": "x"}]}, None),
        ({"reason": ""}, None),
    ],
)
def test_why_kubernetes_ends_a_pod(status: dict[str, Any], expected: str | None) -> None:
    assert with_status(phase="Failed", **status).status_reason == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NOON, AT_NOON),
        ("2026-11-22T13:00:00+01:00", AT_NOON),
        ("2026-11-22T12:00:00.000000Z", AT_NOON),
        ("9999-12-31T23:59:59-10:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("2026-11-22T12:00:00", None),
        ("2026-13-22T12:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_an_absurd_clock_is_no_moment(text: str | None, expected: datetime | None) -> None:
    assert parse_moment(text) == expected


def test_a_limit_of_nothing_is_no_limit() -> None:
    pod = user_pod("jupyter-ada")
    for amount, expected in (("0", None), (1024, 1024), ("many", None)):
        pod["spec"]["containers"][1]["resources"]["limits"]["memory"] = amount
        assert read(pod).pod.memory_limit_bytes == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
PARTS = st.sampled_from(
    [
        ("spec",),
        ("status",),
        ("spec", "containers"),
        ("spec", "nodeName"),
        ("status", "phase"),
        ("status", "containerStatuses"),
        ("status", "conditions"),
        ("metadata", "annotations"),
        ("metadata", "creationTimestamp"),
    ]
)


@given(PARTS, JSON)
def test_whatever_stands_in_a_part_the_pod_keeps_its_name(
    part: tuple[str, ...], value: Any
) -> None:
    pod: Any = {**user_pod("jupyter-ada"), "status": {"phase": "Running"}}
    place = pod
    for name in part[:-1]:
        place = place[name]
    place[part[-1]] = value
    seen = read(pod)
    assert (seen.pod.name, seen.pod.uid, seen.version) == ("jupyter-ada", "u-1", "7")


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_answer_or_are_refused_in_one_line(body: bytes) -> None:
    for reader in (read_page, read_event):
        try:
            reader(body, PodFields())
        except MetricsError as error:
            assert "\n" not in str(error)
