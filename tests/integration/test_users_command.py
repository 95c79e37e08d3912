"""``jupyterhub-metrics users``, run as a person runs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from builders import at, event
from fake_graph import SECRET, FakeGraph

from jupyterhub_metrics.store import PEOPLE_SOURCES, Person, Statement, Store

CODE = "import sys; from jupyterhub_metrics.cli import main; sys.exit(main())"
Done = subprocess.CompletedProcess[str]


def users(*arguments: str, stdin: str | None = None, **environment: str) -> Done:
    own = ("JUPYTERHUB_METRICS_", "DB_", "AZURE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        [sys.executable, "-c", CODE, "users", *arguments],
        env=kept | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
async def campus(store: Store) -> Store:
    """Two users had sessions in one Hub."""
    await store.ingest([event("requested"), event("requested", username="grace")])
    return store


async def test_a_file_is_loaded(campus: Store, postgres_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(
        "username;e-mail;department;room\nada;ada@uni;Physics;7\nemmy;emmy@uni;;8\n",
        encoding="utf-8-sig",
    )
    done = users("load", str(tmp_path / "people.csv"), JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ignored columns: room",
        "told of 2 users of campus: 1 not seen before, 1 otherwise than known, 0 as known",
    ]
    assert await campus.people("campus") == [
        Person("ada", "ada@uni", None, "Physics", None),
        Person("emmy", "emmy@uni"),
        Person("grace"),
    ]
    again = users("load", str(tmp_path / "people.csv"), JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert again.stdout.splitlines()[-1].endswith(
        "0 not seen before, 0 otherwise than known, 2 as known"
    )


async def test_a_dry_run_keeps_nothing(campus: Store, postgres_dsn: str) -> None:
    done = users(
        "load", "-", "--dry-run", stdin="username,email\nada,a@b\n",
        JUPYTERHUB_METRICS_DSN=postgres_dsn,
    )  # fmt: skip
    assert done.stdout.startswith("would tell of 1 users of campus")
    assert await campus.people("campus") == [Person("ada"), Person("grace")]


async def test_one_bad_line_loads_nothing_and_each_is_told(
    campus: Store, postgres_dsn: str
) -> None:
    text = "username,email\nada,ada@uni\ngrace,nonsense\n,x@y\n"
    done = users("load", "-", stdin=text, JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert done.returncode == 1
    assert done.stdout == ""
    first, second, last = done.stderr.splitlines()
    assert first.startswith("-:3: found the email 'nonsense'; expected name@domain")
    assert second.startswith("-:4: found no user of the e-mail x@y; expected one; add a column")
    assert last == (
        "jupyterhub-metrics: found 2 bad of 3 lines in -; expected none; nothing was loaded, "
        "correct them and load again"
    )
    assert await campus.people("campus") == [Person("ada"), Person("grace")]


async def test_a_file_without_names_finds_users_by_email(campus: Store, postgres_dsn: str) -> None:
    await campus.record_people(
        [Statement("campus", "ada", "pod", at(0), {"email": "Ada@Uni.example"})]
    )
    text = "fullname,email,jobtitle\nAda Lovelace,ada@uni.example,Analyst\n"
    done = users("load", "-", stdin=text, JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert (done.returncode, done.stderr) == (0, "")
    ada = (await campus.people("campus"))[0]
    assert (ada.full_name, ada.job_title) == ("Ada Lovelace", "Analyst")


async def test_since_dates_what_is_loaded(campus: Store, postgres_dsn: str) -> None:
    done = users(
        "load", "-", "--since", "2020-10-01", stdin="username,department\nada,Physics\n",
        JUPYTERHUB_METRICS_DSN=postgres_dsn,
    )  # fmt: skip
    assert done.returncode == 0
    rows = await campus._run(lambda c: c.fetch("SELECT valid_from FROM user_history"))
    assert [row["valid_from"].isoformat() for row in rows] == ["2020-10-01T00:00:00+00:00"]
    wrong = users("load", "-", "--since", "yesterday", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert wrong.returncode == 2
    assert "found 'yesterday'; expected a day such as 2026-01-31" in wrong.stderr


async def test_with_two_hubs_one_is_to_be_named(campus: Store, postgres_dsn: str) -> None:
    await campus.ingest([event("requested", hub="physics")])
    text = "username,department\nada,Physics\n"
    done = users("load", "-", stdin=text, JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert "found campus, physics in the database" in done.stderr
    named = users("load", "-", "--hub", "physics", stdin=text, JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert named.returncode == 0
    assert (await campus.people("physics"))[0].department == "Physics"
    assert (await campus.people("campus"))[0].department is None


async def test_the_order_of_sources_is_told_and_changed(store: Store, postgres_dsn: str) -> None:
    told = users("sources", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert told.stdout.split() == list(PEOPLE_SOURCES)
    order = ["graph", "pod", "file", "auth_state"]
    changed = users("sources", *order, JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert (changed.returncode, changed.stdout.split()) == (0, order)
    wrong = users("sources", "graph", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert "found graph; expected each of file, graph, auth_state, pod once" in wrong.stderr


@pytest.fixture
async def fake() -> AsyncIterator[FakeGraph]:
    made = FakeGraph()
    made.start()
    yield made
    await made.stop()


async def test_microsoft_graph_is_asked_about_the_users_of_the_hub(
    campus: Store, postgres_dsn: str, fake: FakeGraph, tmp_path: Path
) -> None:
    for name in ("emmy", "ada", "sofja"):
        fake.add(f"{name}@campus.example", displayName=name.title(), department="Mathematics")
    (tmp_path / "service.py").write_text(
        f"c.MicrosoftGraph.graph_url = {fake.url!r}\nc.MicrosoftGraph.login_url = {fake.url!r}\n"
    )
    done = await asyncio.to_thread(
        users,
        "refresh",
        JUPYTERHUB_METRICS_CONFIG=str(tmp_path / "service.py"),
        JUPYTERHUB_METRICS_DSN=postgres_dsn,
        **fake.environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "told of 1 users of campus: 0 not seen before, 1 otherwise than known, 0 as known\n"
    )
    assert SECRET not in done.stdout
    assert await campus.people("campus") == [
        Person("ada", None, "Ada", "Mathematics", None),
        Person("grace"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["load", "/no/such.csv"], "found /no/such.csv unreadable (No such file or directory)"),
        (["load", "-"], "-: found an empty file; expected a line with the names of columns"),
        (["refresh"], "Microsoft Graph cannot be asked"),
        (["refresh", "--config", "/no/such.py"], "found no configuration file /no/such.py"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(
    campus: Store, postgres_dsn: str, arguments: list[str], said: str
) -> None:
    done = users(*arguments, stdin="", JUPYTERHUB_METRICS_DSN=postgres_dsn)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


async def test_a_setting_that_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("c.MicrosoftGraph.timeout_seconds = 0\n")
    done = users("refresh", "--config", str(tmp_path / "service.py"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "'timeout_seconds' trait of a MicrosoftGraph" in done.stderr
