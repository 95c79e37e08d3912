"""``jupyterhub-metrics users``: tell who the users are, from a file or from Microsoft Graph.

Called by the command line. What a source says is all kept or none of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path

from traitlets import TraitError
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from .._clock import utc_now
from .._names import CONFIG_VARIABLE, HUB_NAME_VARIABLE
from ..errors import ConfigurationError
from ..model import moment_of
from ..store import PEOPLE_SOURCES, Person, Statement, Store, open_store
from ..store.where import DESCRIPTION, add_database_arguments, database_of
from .graph import MicrosoftGraph
from .people_file import PersonRow, Problem, read_people

MAX_FILE_BYTES = 64 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``users`` to its parser."""
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    load = actions.add_parser("load", help="take a CSV of users; docs/people.md has its columns")
    load.add_argument("file", type=Path, metavar="FILE", help="the CSV; - is standard input")
    refresh = actions.add_parser("refresh", help="ask Microsoft Graph about the users of a Hub")
    refresh.add_argument(
        "--config",
        type=Path,
        help=f"a file with c.MicrosoftGraph settings; else the one of {CONFIG_VARIABLE}",
    )
    for action in (load, refresh):
        action.add_argument(
            "--hub", help=f"whose users; else {HUB_NAME_VARIABLE}, else the only Hub there is"
        )
        action.add_argument(
            "--dry-run", action="store_true", help="only say what would be told of whom"
        )
        action.add_argument(
            "--since",
            type=_since,
            metavar="DATE",
            help="when it began to be true: YYYY-MM-DD or a moment with its zone; else now",
        )
        add_database_arguments(action)
    sources = actions.add_parser("sources", help="print or change whose word counts most")
    sources.add_argument(
        "order",
        nargs="*",
        metavar="SOURCE",
        help=f"all of {', '.join(PEOPLE_SOURCES)}, the one whose word counts most first",
    )
    add_database_arguments(sources)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; gives the exit status. Raises MetricsError."""
    action = {"load": _load, "refresh": _refresh, "sources": _sources}[arguments.action]
    return asyncio.run(action(arguments, os.environ))


def _since(text: str) -> datetime:
    try:
        moment = moment_of(text)
        day = len(text) == len("2026-01-31")
        if moment.tzinfo is None and not day:
            raise ValueError
        return (moment.replace(tzinfo=timezone.utc) if day else moment).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"found {text!r}; expected a day such as 2026-01-31 (UTC) or 2026-01-31T08:00:00Z"
        ) from None


@asynccontextmanager
async def _store(
    arguments: argparse.Namespace, environment: Mapping[str, str]
) -> AsyncIterator[Store]:
    async with database_of(arguments, environment) as dsn:
        store = await open_store(
            dsn, migrate="never", max_connections=1, application_name="jupyterhub-metrics users"
        )
        try:
            yield store
        finally:
            await store.close()


async def _hub(arguments: argparse.Namespace, environment: Mapping[str, str], store: Store) -> str:
    given: str | None = arguments.hub or environment.get(HUB_NAME_VARIABLE)
    if given:
        return given
    hubs = await store.hubs()
    if len(hubs) != 1:
        raise ConfigurationError(
            f"found {', '.join(hubs) or 'no Hub'} in the database; expected to know whose users "
            f"are meant; give --hub or {HUB_NAME_VARIABLE}"
        )
    return hubs[0]


# -- load --------------------------------------------------------------------


async def _load(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    content = _content(arguments.file)
    try:
        read = read_people(content)
    except ConfigurationError as error:
        raise ConfigurationError(f"{arguments.file}: {error}") from None
    async with _store(arguments, environment) as store:
        hub = await _hub(arguments, environment, store)
        known = await store.people(hub)
        named, strangers = _with_usernames(read.rows, known)
        problems = sorted([*read.problems, *strangers], key=lambda problem: problem.line)
        for problem in problems:
            sys.stderr.write(f"{arguments.file}:{problem.line}: {problem.message}\n")
        if problems:
            raise ConfigurationError(
                f"found {len(problems)} bad of {len(read.rows) + len(read.problems)} lines in "
                f"{arguments.file}; expected none; nothing was loaded, correct them and load again"
            )
        if read.encoding == "cp1252":
            _print("read as Windows-1252, because it is not UTF-8")
        if read.ignored:
            _print(f"ignored columns: {', '.join(read.ignored)}")
        await _tell(arguments, store, hub, "file", named, known)
    return 0


def _content(path: Path) -> bytes:
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with path.open("rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"found {path} unreadable ({error.strerror}); expected a CSV of users; correct the "
            "path or its mode"
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"found more than {MAX_FILE_BYTES} bytes in {path}; expected a CSV of users; load it "
            "in parts"
        )
    return content


def _with_usernames(
    rows: Sequence[PersonRow], known: Sequence[Person]
) -> tuple[dict[str, Mapping[str, str | None]], list[Problem]]:
    """What each user's line says by the user's name, and the lines of whom nobody knows the name.

    A line without a name is of the only user who is known by its e-mail, or whose name it is.
    """
    names: dict[str, set[str]] = {}
    for person in known:
        for key in {person.username.lower(), (person.email or person.username).lower()}:
            names.setdefault(key, set()).add(person.username)
    named: dict[str, Mapping[str, str | None]] = {}
    line_of: dict[str, int] = {}
    strangers = []
    for row in rows:
        candidates = {row.username} if row.username else names.get(_email(row), set())
        username = next(iter(candidates)) if len(candidates) == 1 else None
        if username is None:
            found = "several users" if candidates else "no user"
            strangers.append(
                Problem(
                    row.line,
                    f"found {found} of the e-mail {row.fields['email']}; expected one; add a "
                    "column username",
                )
            )
        elif username in named:
            strangers.append(
                Problem(
                    row.line,
                    f"found {username} again; expected once, as in line {line_of[username]}; "
                    "remove one of the lines",
                )
            )
        else:
            named[username], line_of[username] = row.fields, row.line
    return named, strangers


def _email(row: PersonRow) -> str:
    return (row.fields.get("email") or "").lower()


# -- refresh, and what both share ----------------------------------------------


async def _refresh(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    path = arguments.config or environment.get(CONFIG_VARIABLE)
    config = _config(Path(path)) if path else Config()
    try:
        graph = MicrosoftGraph(config=config, environment=environment)
    except TraitError as error:
        raise ConfigurationError(f"{error}; correct it") from None
    try:
        async with _store(arguments, environment) as store:
            hub = await _hub(arguments, environment, store)
            known = await store.people(hub)
            found = await graph.people(known)
            await _tell(arguments, store, hub, "graph", found, known)
    finally:
        graph.close()
    return 0


def _config(path: Path) -> Config:
    if not path.is_file():
        raise ConfigurationError(
            f"found no configuration file {path}; expected it; write it or correct --config"
        )
    return PyFileConfigLoader(path.name, path=str(path.resolve().parent)).load_config()


async def _tell(
    arguments: argparse.Namespace,
    store: Store,
    hub: str,
    source: str,
    told: Mapping[str, Mapping[str, str | None]],
    known: Sequence[Person],
) -> None:
    before = {person.username: person for person in known}
    new = sum(1 for username in told if username not in before)
    changed = sum(
        1
        for username, fields in told.items()
        if username in before
        and any(
            value and value != getattr(before[username], name) for name, value in fields.items()
        )
    )
    if not arguments.dry_run:
        said_at = arguments.since or utc_now()
        await store.record_people(
            [Statement(hub, username, source, said_at, fields) for username, fields in told.items()]
        )
    verb = "would tell" if arguments.dry_run else "told"
    _print(
        f"{verb} of {len(told)} users of {hub}: {new} not seen before, {changed} otherwise than "
        f"known, {len(told) - new - changed} as known"
    )


async def _sources(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    async with _store(arguments, environment) as store:
        if arguments.order:
            if sorted(arguments.order) != sorted(PEOPLE_SOURCES):
                raise ConfigurationError(
                    f"found {', '.join(arguments.order)}; expected each of "
                    f"{', '.join(PEOPLE_SOURCES)} once; give all of them"
                )
            await store.order_people_sources(arguments.order)
        for source in await store.people_sources():
            _print(source)
    return 0


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
