"""Microsoft Graph, as its documentation describes it, asked over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_graph import CLIENT, SECRET, TENANT, FakeGraph, answers, refuses

from jupyterhub_metrics.errors import ConfigurationError, SourceUnavailable
from jupyterhub_metrics.sources.graph import MicrosoftGraph, matched
from jupyterhub_metrics.store import Person

ADA = {
    "mail": "Ada.Lovelace@campus.example",
    "displayName": "Ada Lovelace",
    "department": "Mathematics",
    "jobTitle": None,
}
TOLD = {
    "email": "Ada.Lovelace@campus.example",
    "full_name": "Ada Lovelace",
    "department": "Mathematics",
    "job_title": None,
}


@pytest.fixture
async def fake() -> AsyncIterator[FakeGraph]:
    made = FakeGraph()
    made.start()
    yield made
    await made.stop()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
async def graph(fake: FakeGraph, pauses: list[float]) -> AsyncIterator[MicrosoftGraph]:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    made = MicrosoftGraph(
        graph_url=fake.url, login_url=fake.url, environment=fake.environment(), pause=pause
    )
    yield made
    made.close()


async def test_every_page_is_read_and_only_what_is_needed_is_asked(
    fake: FakeGraph, graph: MicrosoftGraph
) -> None:
    for number in range(4):
        fake.add(f"user{number}@campus.example", displayName=f"User {number}")
    fake.add("ada@campus.example", **ADA)
    assert await graph.people([Person("ada")]) == {"ada": TOLD}
    assert len(fake.asked) == 4
    asked = parse_qs(urlsplit(fake.asked[1]).query)
    assert asked == {
        "$select": ["userPrincipalName,mail,displayName,department,jobTitle"],
        "$top": ["999"],
    }


async def test_whom_the_hub_does_not_know_is_forgotten(
    fake: FakeGraph, graph: MicrosoftGraph
) -> None:
    fake.add("grace@campus.example", displayName="Grace Hopper")
    assert await graph.people([Person("ada")]) == {}


async def test_throttling_is_waited_for_as_long_as_graph_asks(
    fake: FakeGraph, graph: MicrosoftGraph, pauses: list[float]
) -> None:
    fake.add("ada@campus.example", **ADA)
    fake.fault = refuses(429, "TooManyRequests", times=2, Retry_After="17")
    assert await graph.people([Person("ada")]) == {"ada": TOLD}
    assert pauses == [17.0, 17.0]


async def test_an_outage_is_tried_again_ever_more_slowly_and_then_told(
    fake: FakeGraph, graph: MicrosoftGraph, pauses: list[float]
) -> None:
    fake.fault = refuses(503, "serviceUnavailable")
    with pytest.raises(SourceUnavailable, match=r"v1.0/users does not answer: found 503 5 times"):
        await graph.people([])
    assert pauses == [1.0, 2.0, 4.0, 8.0]


async def test_silence_is_told_in_one_line(fake: FakeGraph, graph: MicrosoftGraph) -> None:
    await fake.stop()
    with pytest.raises(SourceUnavailable, match=r"/oauth2/v2.0/token does not answer") as caught:
        await graph.people([])
    assert "\n" not in str(caught.value)


async def test_a_missing_permission_is_named(fake: FakeGraph, graph: MicrosoftGraph) -> None:
    fake.fault = refuses(403, "Authorization_RequestDenied")
    with pytest.raises(SourceUnavailable, match=r"403 \(Authorization_RequestDenied\).*User.Read"):
        await graph.people([])


async def test_a_wrong_secret_is_told_without_it(fake: FakeGraph) -> None:
    environment = {**fake.environment(), "AZURE_CLIENT_SECRET": "hunter2"}
    graph = MicrosoftGraph(graph_url=fake.url, login_url=fake.url, environment=environment)
    with pytest.raises(SourceUnavailable, match=r"gives no token .401: invalid_client") as caught:
        await graph.people([])
    graph.close()
    assert "hunter2" not in str(caught.value)


async def test_the_secret_comes_from_a_file(fake: FakeGraph, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    fake.add("ada@campus.example", **ADA)
    graph = MicrosoftGraph(
        tenant=TENANT,
        client_id=CLIENT,
        client_secret_file=str(tmp_path / "secret"),
        graph_url=fake.url,
        login_url=fake.url,
        environment={},
    )
    assert set(await graph.people([Person("ada")])) == {"ada"}
    graph.close()


async def test_all_that_is_not_set_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"tenant.*client_id.*client_secret_file"):
        await MicrosoftGraph(environment={}).people([])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>", "another shape"),
        ({"value": None}, "another shape"),
        ({"value": ["ada"]}, "another shape"),
    ],
)
async def test_what_is_no_list_of_users_is_refused(
    fake: FakeGraph, graph: MicrosoftGraph, body: object, said: str
) -> None:
    fake.fault = answers(body)
    with pytest.raises(SourceUnavailable, match=said):
        await graph.people([])


async def test_the_token_is_shown_to_nobody_else(fake: FakeGraph, graph: MicrosoftGraph) -> None:
    other = FakeGraph()
    other.start()
    fake.fault = answers({"value": [], "@odata.nextLink": f"{other.url}/v1.0/users?$select=mail"})
    with pytest.raises(SourceUnavailable, match="gave a next page that is elsewhere"):
        await graph.people([])
    assert other.asked == []
    await other.stop()


async def test_a_page_that_leads_to_itself_ends(fake: FakeGraph, graph: MicrosoftGraph) -> None:
    following = f"{fake.url}/v1.0/users?$skiptoken=1"
    fake.fault = answers({"value": [], "@odata.nextLink": following})
    with pytest.raises(SourceUnavailable, match="read before"):
        await graph.people([])
    assert len(fake.asked) == 3


@pytest.mark.parametrize(
    ("person", "principals", "found"),
    [
        (Person("ada"), ["ada@campus.example"], True),
        (Person("ADA@campus.example"), ["Ada@Campus.example"], True),
        (Person("x7", email="al@campus.example"), ["ada@campus.example"], True),
        (Person("ada"), ["ada@campus.example", "ada@guests.example"], False),
        (Person("ada"), ["adam@campus.example"], False),
    ],
)
def test_who_is_who(person: Person, principals: list[str], found: bool) -> None:
    blank = {"displayName": None, "department": None, "jobTitle": None}
    entries = [
        {
            **blank,
            "userPrincipalName": principal,
            "mail": "al@campus.example" if not number else None,
        }
        for number, principal in enumerate(principals)
    ]
    assert (person.username in matched([person], entries)) is found
