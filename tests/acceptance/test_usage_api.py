"""The REST API of a real Hub, asked by users, a group's owner and an operator."""

from __future__ import annotations

import csv
import io
import json
import math
import time
import urllib.error
import urllib.request
from collections import defaultdict
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import schemathesis
from hub_client import Visitor
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks, not_a_server_error
from usage_hub import FORMULA, OWNED, OWNER, Truth, UsageHub, apart, truth_of

from jupyterhub_metrics.service.api.resources import RESOURCES

load_all_checks()
CONFORMANCE = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


class Api:
    """Asks with one user's token; ``status, body, headers``."""

    def __init__(self, hub: UsageHub, username: str) -> None:
        self.url = f"{hub.hub.service_url}/api/v1"
        self.token = apart(_token(hub, username))

    def __call__(
        self, path: str, headers: dict[str, str] | None = None, **arguments: Any
    ) -> tuple[int, Any, Any]:
        query = f"?{urlencode(arguments, doseq=True)}" if arguments else ""
        given = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        request = urllib.request.Request(f"{self.url}/{path}{query}", headers=given)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, body, found = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                status, body, found = error.code, error.read(), error.headers
        if body and found.get_content_type() == "application/json":
            return status, json.loads(body), found
        return status, body.decode(), found

    def items(self, path: str, **arguments: Any) -> list[dict[str, Any]]:
        """All pages."""
        items: list[dict[str, Any]] = []
        while True:
            status, body, _ = self(path, **arguments)
            assert status == 200, body
            items += body["items"]
            if body["next"] is None:
                return items
            arguments["cursor"] = body["next"]


async def _token(hub: UsageHub, username: str) -> str:
    try:
        return await hub.hub.client.add_user(username)
    finally:
        hub.hub.client.close()


@pytest.fixture(scope="module")
def mira(usage_hub: UsageHub) -> Api:
    return Api(usage_hub, "mira")


@pytest.fixture(scope="module")
def owner(usage_hub: UsageHub) -> Api:
    return Api(usage_hub, OWNER)


@pytest.fixture(scope="module")
def operator(usage_hub: UsageHub) -> Api:
    return Api(usage_hub, "admin")


def same(row: dict[str, Any], truth: Truth) -> None:
    for name in ("seconds", "gpu_hours", "core_hours", "gib_hours"):
        assert math.isclose(row[name] or 0.0, getattr(truth, name), abs_tol=1e-4), name
    assert (row["starts"], row["failures"]) == (truth.starts, truth.failures)


def test_everyone_is_told_who_they_are(mira: Api, owner: Api, operator: Api) -> None:
    assert mira("me")[1]["operator"] is False
    assert owner("me")[1]["groups"] == [OWNED]
    assert operator("me")[1]["operator"] is True


def test_usage_is_that_of_the_past_by_month_and_zone(usage_hub: UsageHub, mira: Api) -> None:
    month = usage_hub.month.previous
    [row] = mira.items("usage", since=month.first_day, until=month.next.first_day)
    same(row, truth_of(usage_hub.of_user("mira"), month.since, month.until))
    days = mira.items(
        "usage",
        since=month.first_day,
        until=month.next.first_day,
        zone="Asia/Kolkata",
        step="day",
        limit=5,
    )
    for day in days:
        assert day["bucket"].endswith("T18:30:00.000000Z")
    assert sum(day["starts"] for day in days) == len(
        [
            session
            for session in usage_hub.of_user("mira")
            if month.since - timedelta(hours=5.5)
            <= session.started_at
            < month.until - timedelta(hours=5.5)
        ]
    )


@pytest.mark.parametrize("by", ["profile", "image", "node"])
def test_an_operator_asks_by_any_dimension(usage_hub: UsageHub, operator: Api, by: str) -> None:
    month = usage_hub.month.previous
    rows = operator.items("usage", by=by, since=month.first_day, until=month.next.first_day)
    expected = {
        value: truth
        for value, sessions in usage_hub.by(by).items()
        if (truth := truth_of(sessions, month.since, month.until)).starts or truth.seconds
    }
    assert {row["value"] for row in rows} == set(expected)
    for row in rows:
        same(row, expected[row["value"]])
        assert row["users"] == len(expected[row["value"]].users)


def test_the_table_of_users_and_of_groups_are_true(usage_hub: UsageHub, operator: Api) -> None:
    month = usage_hub.month.previous
    window = {"since": month.first_day, "until": month.next.first_day}
    rows = operator.items("users", limit=4, sort="-gpu_hours", **window)
    hours = [row["gpu_hours"] or -1 for row in rows]
    assert hours == sorted(hours, reverse=True)
    names = {session.username for session in usage_hub.past}
    assert {row["username"] for row in rows} <= names
    for row in rows:
        same(row, truth_of(usage_hub.of_user(row["username"]), month.since, month.until))
    for row in operator.items("groups", limit=1, **window):
        if row["starts"]:
            same(row, truth_of(usage_hub.of_group(row["group"]), month.since, month.until))


def test_an_owner_reads_the_group_and_nothing_else(usage_hub: UsageHub, owner: Api) -> None:
    month = usage_hub.month.previous
    window = {"since": month.first_day, "until": month.next.first_day}
    [group] = owner.items("groups", **window)
    same(group, truth_of(usage_hub.of_group(OWNED), month.since, month.until))
    users = owner.items("users", group=OWNED, limit=1, sort="username", **window)
    assert [row["username"] for row in users] == sorted(row["username"] for row in users)
    by_user: dict[str, list[Any]] = defaultdict(list)
    for session in usage_hub.of_group(OWNED):
        by_user[session.username].append(session)
    assert {row["username"] for row in users} == set(by_user)
    for row in users:
        same(row, truth_of(by_user[row["username"]], month.since, month.until))
    sessions = owner.items("sessions", group=OWNED, limit=50, **window)
    assert {row["username"] for row in sessions} == set(by_user)
    for path, arguments in (
        ("sessions", {"user": users[0]["username"]}),
        ("sessions", {"group": "physics"}),
        ("users", {}),
        ("users", {"group": "physics"}),
        ("usage", {"group": "physics"}),
        ("usage", {"user": "mira"}),
        ("running", {"group": "physics"}),
        ("usage", {"hub": "another"}),
    ):
        status, body, _ = owner(path, **arguments)
        assert status == 403, (path, arguments)
        assert body["field"] in (*arguments, "group"), body


def test_a_user_reads_only_the_own_sessions(usage_hub: UsageHub, mira: Api) -> None:
    past = sorted(usage_hub.of_user("mira"), key=lambda one: one.started_at, reverse=True)
    since = (past[-1].started_at - timedelta(days=1)).date()
    rows = mira.items("sessions", since=since, limit=7)
    assert [row["started_at"][:19] for row in rows] == [
        one.started_at.strftime("%Y-%m-%dT%H:%M:%S") for one in past
    ]
    assert {row["username"] for row in rows} == {"mira"}
    assert mira("groups")[1]["items"] == []
    assert mira("running")[1]["items"] == []
    for arguments in ({"user": "tomas"}, {"user": "nobody at all"}, {"group": OWNED}):
        assert mira("sessions", **arguments)[0] == 403


def test_csv_is_quoted_and_leads_on(usage_hub: UsageHub, operator: Api) -> None:
    status, text, headers = operator("running", {"Accept": "text/csv"})
    assert status == 200
    assert headers.get_content_type() == "text/csv"
    [row] = csv.DictReader(io.StringIO(text))
    assert row["display_name"] == f"'{FORMULA}"
    assert row["image"] == "quay.io/jupyter/scipy-notebook:2026-11"
    assert row["ready_at"]
    _, _, headers = operator("users", limit=2, format="csv")
    assert 'rel="next"' in headers["Link"]


def test_what_has_not_changed_is_not_sent_again(operator: Api) -> None:
    arguments = {"since": "2026-01-01", "until": "2026-01-02"}
    _, _, headers = operator("users", **arguments)
    status, body, _ = operator("users", {"If-None-Match": headers["ETag"]}, **arguments)
    assert (status, body) == (304, "")


@pytest.mark.parametrize(
    ("path", "arguments", "field"),
    [
        ("usage", {"since": "2026-03-01", "until": "2026-02-01"}, "until"),
        ("usage", {"since": "2001-01-01", "until": "2101-01-01"}, "since"),
        ("usage", {"zone": "Mars/Olympus"}, "zone"),
        ("usage", {"step": "second"}, "step"),
        ("usage", {"since": "yesterday"}, "since"),
        ("users", {"limit": "100000"}, "limit"),
        ("users", {"cursor": "Zm9yZ2Vk"}, "cursor"),
        ("users", {"sort": "password"}, "sort"),
        ("sessions", {"user": "a\0b"}, "user"),
        ("sessions", {"user": ["mira", "tomas"]}, "user"),
        ("sessions", {"user": "mira", "group": OWNED}, "group"),
        ("sessions", {"id": "1"}, "id"),
    ],
)
def test_bad_questions_are_refused_by_name(
    operator: Api, path: str, arguments: dict[str, Any], field: str
) -> None:
    status, body, _ = operator(path, **arguments)
    assert (status, body["field"]) == (400, field)


def test_a_cursor_is_of_one_question_and_one_visitor(operator: Api, owner: Api) -> None:
    cursor = operator("sessions", limit=1, since="2026-01-01")[1]["next"]
    assert operator("sessions", since="2026-01-01", cursor=cursor)[0] == 200
    for ask, arguments in ((operator, {"since": "2026-01-02"}), (owner, {"since": "2026-01-01"})):
        status, body, _ = ask("sessions", cursor=cursor, **arguments)
        assert (status, body["field"]) == (400, "cursor")


def test_formats_that_nobody_speaks_are_refused(mira: Api) -> None:
    assert mira("me", {"Accept": "image/png"})[0] == 406
    assert mira("nothing")[0] == 404


def test_wrong_and_expired_tokens_are_refused(usage_hub: UsageHub, mira: Api) -> None:
    status, body, headers = mira("me", {"Authorization": "Bearer wrong"})
    assert (status, body["field"], headers["WWW-Authenticate"]) == (401, "Authorization", "Bearer")

    async def short_lived() -> str:
        client = usage_hub.hub.client
        minted = await client.request("POST", "/users/mira/tokens", {"expires_in": 1})
        client.close()
        return str(minted.json()["token"])

    token = apart(short_lived())
    time.sleep(1.5)
    assert mira("me", {"Authorization": f"Bearer {token}"})[0] == 401


@pytest.fixture(scope="module")
def browser_login(usage_hub: UsageHub) -> Visitor:
    visitor = Visitor(usage_hub.hub.url)
    visitor.log_in("mira", usage_hub.hub.password)
    assert visitor.open(f"{usage_hub.hub.service_url}/").status == 200
    return visitor


CORS = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


def test_a_login_opens_links_and_no_script_of_another_page(
    usage_hub: UsageHub, browser_login: Visitor
) -> None:
    """A page in a user's server has the Hub's origin, and the browser sends it the cookies."""
    url = f"{usage_hub.hub.service_url}/api/v1/me"
    assert browser_login.open(url, **NAVIGATE).status == 200
    assert browser_login.open(url, **CORS).status == 401
    forged = {**CORS, "X-XSRFToken": browser_login.cookie("_xsrf")}
    assert browser_login.open(url, **forged).status == 401


def test_the_hub_gives_a_summary_to_its_own_pages_alone(
    usage_hub: UsageHub, browser_login: Visitor
) -> None:
    url = f"{usage_hub.hub.url}/hub/jupyterhub-metrics/summary"
    browser_login.open(f"{usage_hub.hub.url}/hub/home", **NAVIGATE)
    assert browser_login.open(url, **CORS).status == 403
    token = browser_login.cookie("_xsrf")
    answer = browser_login.open(url, **CORS, **{"X-XSRFToken": token})
    assert answer.status == 200, answer.text
    told = answer.json()
    assert told["everyone"] is None
    assert told["groups"] == []
    assert told["own"]["month"] == usage_hub.month.words
    assert Visitor(usage_hub.hub.url).open(url, **CORS).status == 403


def test_nobody_but_a_hub_asks_the_service_for_summaries(mira: Api) -> None:
    status, body, _ = mira("summary", user="tomas", everyone="1")
    assert (status, body["field"]) == (401, "Authorization")


def test_names_are_quoted_in_addresses(operator: Api) -> None:
    status, body, _ = operator("usage", user='<b>"ü/%41+')
    assert (status, body["items"]) == (200, [])
    assert operator(f"{quote('../me', safe='')}")[0] == 404


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", [resource.name for resource in RESOURCES])
def test_the_document_says_what_the_api_does(
    operator: Api, path: str, mode: GenerationMode
) -> None:
    """Whatever the document allows is answered as it says; what it forbids is refused."""
    schema = schemathesis.openapi.from_dict(operator("openapi.json")[1])
    checks = [not_a_server_error, *map(CHECKS.get_one, CONFORMANCE)]
    if mode is GenerationMode.NEGATIVE:
        checks.append(CHECKS.get_one("negative_data_rejection"))

    @settings(
        max_examples=12,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[f"/{path}"]["GET"].as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(
            base_url=operator.url,
            headers={"Authorization": f"Bearer {operator.token}"},
            checks=checks,
        )

    check()
