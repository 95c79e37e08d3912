"""What is copied of auth state, and what never is."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.hub.auth_facts import read_person, usable_paths
from jupyterhub_metrics.model import PERSON_FIELDS
from jupyterhub_metrics.wire import check_fact

LOG = logging.getLogger("test_auth_facts")
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
STATE: dict[str, Any] = {
    "access_token": JWT,
    "user": {
        "mail": " ada@uni.example ",
        "name": {"display": "Ada Lovelace"},
        "https://uni.example/claims/dept": "Mathematics",
        "title": ["Analyst"],
    },
}


def test_the_named_fields_are_copied_and_nothing_else() -> None:
    paths = {
        "email": "user.mail",
        "full_name": "user.name.display",
        "department": "user.https://uni.example/claims/dept",
        "job_title": "user.title",
    }
    assert read_person(STATE, paths, LOG) == {
        "email": "ada@uni.example",
        "full_name": "Ada Lovelace",
        "department": "Mathematics",
        "job_title": "Analyst",
    }
    assert read_person(STATE, {}, LOG) == {}


@pytest.mark.parametrize("state", [None, {}, [], "text", {"user": None}, {"user": {"mail": ""}}])
def test_what_is_not_there_is_absent(state: Any) -> None:
    assert read_person(state, {"email": "user.mail"}, LOG) == {}


@pytest.mark.parametrize(
    "value",
    [
        JWT,
        "gho_16C7e42F292c6912E7710c838347Ae178B4a",
        "Bearer 16C7e42F292c6912E7710c838347Ae178B4a",
        "x" * 65,
        "two words " * 40,
        "Ada\nLovelace",
        "\x00",
        "   ",
        7,
        True,
        {"text": "Physics"},
        ["Physics", "Chemistry"],
        b"Physics",
    ],
)
def test_what_is_not_short_plain_text_is_refused_and_never_shown(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert read_person({"field": value}, {"department": "field"}, LOG) == {}
    assert len(caplog.messages) == 1
    assert str(value) not in caplog.messages[0] or len(str(value)) < 5


@pytest.mark.parametrize("value", ["nobody", "two words@uni.example", JWT, "@", "ada@"])
def test_what_is_no_email_is_not_taken_for_one(value: str) -> None:
    assert read_person({"mail": value}, {"email": "mail"}, LOG) == {}


@pytest.mark.parametrize(
    "value",
    [
        "Prof. Dr. Ada Lovelace, Countess",
        "Ingenieurwissenschaften/Informatik",
        "Institute 7 (B2), Room 1.23",
        "計算機科学科",
    ],
)
def test_names_and_departments_are_no_tokens(value: str) -> None:
    assert read_person({"dept": value}, {"department": "dept"}, LOG) == {"department": value}


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [
        ("user_email", "mail", "expected one of email, full_name, department, job_title"),
        ("email", "", "expected a field that holds no secret"),
        ("full_name", "access_token", "expected a field that holds no secret"),
        ("department", "oauth.Client_Secret.name", "expected a field that holds no secret"),
    ],
)
def test_a_field_that_may_not_be_copied_is_left_out_with_one_line(
    name: str, path: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    configured = {name: path, "job_title": "title"}
    assert usable_paths(configured, LOG) == {"job_title": "title"}
    (line,) = caplog.messages
    assert said in line


@given(
    st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner)),
    st.sampled_from(PERSON_FIELDS),
)
def test_the_service_takes_whatever_is_copied(value: Any, name: str) -> None:
    for fact, text in read_person({"field": value}, {name: "field"}, LOG).items():
        check_fact(fact, text)
