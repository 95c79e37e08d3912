"""What is read from a spawner, and what never is."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubespawner import KubeSpawner
from traitlets.config import Config

from jupyterhub_metrics.hub.actor import acting, actor_of, current_actor, stop_reason
from jupyterhub_metrics.hub.facts import (
    allowed_options,
    count_gpus,
    read_extra_facts,
    read_facts,
)
from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.hub.rejection import reason_of_rejection
from jupyterhub_metrics.wire import event_from_wire

from builders import event  # isort: skip

LOG = logging.getLogger("test_facts")
OPTIONS = MetricsRecorder.allowed_user_options.default_args[0]
GPUS = MetricsRecorder.gpu_resources.default_args[0]


def facts_of(spawner) -> dict:
    return read_facts(spawner, option_patterns=OPTIONS, gpu_patterns=GPUS, log=LOG)


def user(*groups: str) -> SimpleNamespace:
    return SimpleNamespace(name="ada", groups=[SimpleNamespace(name=g) for g in groups])


@pytest.fixture
def kubespawner(monkeypatch):
    """Makes a real KubeSpawner that knows of no cluster."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    monkeypatch.setattr("kubespawner.spawner.shared_client", lambda *_: None)

    def make(**traits):
        config = Config()
        config.KubeSpawner.update(traits)
        spawner = KubeSpawner(config=config, _mock=True)
        spawner.user = user("physics", "staff")
        return spawner

    return make


def test_a_kubespawner_tells_its_image_place_and_resources(kubespawner):
    spawner = kubespawner(
        image="registry.example:5000/lab/scipy:2026-01",
        namespace="jhub",
        cpu_guarantee=0.5,
        cpu_limit=2,
        mem_guarantee="1G",
        mem_limit="4G",
        extra_resource_limits={"nvidia.com/gpu": "2", "example.com/disk": "1"},
    )
    spawner.user_options = {"profile": "gpu", "profile-option-gpu--image": "scipy"}
    spawner.handler = SimpleNamespace(current_user=SimpleNamespace(name="grace", kind="user"))
    facts = facts_of(spawner)
    assert facts["image"] == "registry.example:5000/lab/scipy:2026-01"
    assert (facts["namespace"], facts["profile"]) == ("jhub", "gpu")
    assert (facts["cpu_guarantee_cores"], facts["cpu_limit_cores"]) == (0.5, 2.0)
    assert (facts["memory_guarantee_bytes"], facts["memory_limit_bytes"]) == (2**30, 2**32)
    assert facts["gpus"] == 2.0
    assert facts["groups"] == ["physics", "staff"]
    assert facts["started_by"] == "user:grace"
    assert facts["spawner_class"] == "kubespawner.spawner.KubeSpawner"
    assert facts["pod_name"]


def test_the_node_is_read_from_the_pod_that_the_spawner_watches(kubespawner):
    spawner = kubespawner(namespace="jhub")
    key = f"jhub/{spawner.pod_name}"
    reflector = SimpleNamespace(pods={key: {"spec": {"nodeName": "node-7"}}})
    type(spawner).reflectors[spawner._get_reflector_key("pods")] = reflector
    try:
        assert facts_of(spawner)["node"] == "node-7"
        reflector.pods = {}
        assert "node" not in facts_of(spawner)
    finally:
        type(spawner).reflectors.clear()


def test_what_a_spawner_does_not_know_is_absent():
    bare = SimpleNamespace(user=user(), user_options={}, handler=None)
    assert set(facts_of(bare)) == {"spawner_class"}


def test_a_property_that_raises_costs_only_its_own_fact():
    class Moody(SimpleNamespace):
        @property
        def image(self):
            raise RuntimeError("not today")

    facts = facts_of(Moody(user=user("a"), user_options={}, handler=None, mem_limit=2**30))
    assert (facts["groups"], facts["memory_limit_bytes"]) == (["a"], 2**30)


def test_the_environment_of_a_server_is_never_read():
    class Watched(SimpleNamespace):
        def get_env(self):
            raise AssertionError("the environment was read")

    spawner = Watched(
        user=user(), user_options={}, handler=None, environment={"TOKEN": "s3cret"}, image="a"
    )
    assert "s3cret" not in json.dumps(facts_of(spawner))


def test_only_allowed_user_options_leave_the_hub():
    options = {"profile": "gpu", "image": ["lab"], "password": "s3cret", "profile-option-a--b": 3}
    assert allowed_options(options, OPTIONS) == {
        "profile": "gpu",
        "image": "lab",
        "profile-option-a--b": 3,
    }
    assert allowed_options({"profile": {"nested": "s3cret"}}, OPTIONS) == {}
    assert allowed_options(options, []) == {}


@given(
    st.dictionaries(
        st.text() | st.just("profile"),
        st.text() | st.integers() | st.floats() | st.lists(st.text()) | st.none(),
    ),
    st.integers(1, 5000),
)
def test_whatever_a_user_types_makes_an_event_that_the_service_takes(options, times):
    options = {
        name * times: value * times if isinstance(value, str) else value
        for name, value in options.items()
    }
    options.update({f"{number}\x01": "\x01" * 300 for number in range(times // 100)})
    groups = [str(number) * 50 for number in range(times)]
    spawner = SimpleNamespace(user=user(*groups), user_options=options, handler=None)
    facts = read_facts(spawner, option_patterns=["*"], gpu_patterns=GPUS, log=LOG)
    sent = event("requested", facts=facts)
    assert event_from_wire(json.loads(sent.to_json())) == sent


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ({"nvidia.com/gpu": "1"}, 1),
        ({"nvidia.com/gpu": 2, "amd.com/gpu": "1"}, 3),
        ({"nvidia.com/mig-1g.5gb": "2"}, 2),
        ({"gpu.intel.com/i915": "1"}, 1),
        ({"example.com/disk": "1"}, None),
        ({"nvidia.com/gpu": "half"}, None),
        ({}, None),
    ],
)
def test_extended_resources_are_counted_as_gpus_by_name(resources, gpus):
    assert count_gpus(resources, GPUS) == gpus


def test_tasks_inherit_who_is_acting():
    with acting("user:ada"):
        assert current_actor() == "user:ada"
        with acting(None):
            assert current_actor() is None
    assert current_actor() is None


def test_the_requester_of_a_handler_is_a_user_or_a_service():
    assert actor_of(SimpleNamespace(name="ada", kind="user")) == "user:ada"
    assert actor_of(SimpleNamespace(name="culler", kind="service")) == "service:culler"
    assert actor_of(None) is None
    assert stop_reason("user:service:x", "service:x") == "stopped_by_user"


def test_the_hubs_answer_tells_why_a_request_was_rejected():
    from tornado.web import HTTPError

    throttled = HTTPError(429)
    throttled.headers = {"Retry-After": 60}
    assert reason_of_rejection(throttled) == "throttled"
    assert reason_of_rejection(HTTPError(429)) == "server_limit"
    assert reason_of_rejection(HTTPError(403)) == "auth_expired"
    assert reason_of_rejection(HTTPError(400)) == "refused"
    assert reason_of_rejection(HTTPError(500)) == "error"
    assert reason_of_rejection(AttributeError("a fault of the Hub")) == "error"
    assert reason_of_rejection(RuntimeError("pending spawn")) is None


def test_an_extra_fact_that_cannot_be_used_costs_only_itself(caplog):
    readers = {
        "node": lambda spawner: "rack-7",
        "profile": lambda spawner: 5,
        "gpus": lambda spawner: -1,
        "cost_centre": lambda spawner: spawner.nothing,
        "rank": lambda spawner: float("inf"),
    }
    assert read_extra_facts(SimpleNamespace(), readers, LOG) == {"node": "rack-7"}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert "found a int; expected text" in told[0]
    assert "AttributeError" in told[2]


def test_a_resource_beyond_all_bounds_is_left_out():
    spawner = SimpleNamespace(
        user=user(), user_options={}, handler=None, cpu_limit=float("inf"), mem_limit=2**63
    )
    assert set(facts_of(spawner)) == {"spawner_class"}


@pytest.mark.parametrize(
    ("attributes", "name", "node"),
    [
        ({"object_name": "jupyter-ada", "object_id": "f2d1"}, "jupyter-ada", False),
        ({"container_name": "jupyter-ada"}, "jupyter-ada", False),
        ({"unit_name": "jupyter-ada-singleuser"}, "jupyter-ada-singleuser.service", True),
        ({"unit_name": "jupyter-ada.service"}, "jupyter-ada.service", True),
        ({"object_name": "", "unit_name": None}, None, False),
    ],
)
def test_containers_and_units_are_told_by_the_name_that_a_sampler_finds_them_by(
    attributes, name, node
):
    spawner = SimpleNamespace(user=user(), user_options={}, handler=None, **attributes)
    facts = facts_of(spawner)
    assert facts.get("pod_name") == name
    assert ("node" in facts) == node
