"""Every setting, column, source, role and command of people and roles stands in its page."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from jupyterhub_metrics.model import PERSON_FIELDS
from jupyterhub_metrics.sources import users_command
from jupyterhub_metrics.sources.graph import SELECTED, MicrosoftGraph
from jupyterhub_metrics.sources.people_file import COLUMNS
from jupyterhub_metrics.store import PEOPLE_SOURCES, command
from jupyterhub_metrics.store.roles import DEFAULT_PREFIX, MIN_PASSWORD_CHARACTERS, READS, ROLES

DOCS = Path(__file__).parents[2] / "docs"
PEOPLE = (DOCS / "people.md").read_text(encoding="utf-8")
ROLES_PAGE = (DOCS / "roles.md").read_text(encoding="utf-8")
SETTINGS = MicrosoftGraph.class_own_traits(config=True)


def section(page: str, title: str) -> str:
    return re.split(r"^##+ ", page.partition(f"{title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    found = re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in found}


def options(module_arguments: object, *words: str) -> set[str]:
    """The options of a subcommand, but for those that say which database."""
    parser = argparse.ArgumentParser()
    module_arguments(parser)  # type: ignore[operator]
    for word in words:
        (actions,) = [
            action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
        ]
        parser = actions.choices[word]
    found = {option for action in parser._actions for option in action.option_strings}
    return found - {"-h", "--help", "--dsn-file", "--data-dir"}


def test_the_columns_of_the_file_are_documented() -> None:
    documented = rows(section(PEOPLE, "## From a file"))
    assert {
        name: tuple(re.findall(r"`([a-z_]+)`", cells[0])) for name, cells in documented.items()
    } == COLUMNS


def test_the_sources_are_documented_in_their_order() -> None:
    assert tuple(rows(section(PEOPLE, "## Whose word counts"))) == PEOPLE_SOURCES


@pytest.mark.parametrize("name", PERSON_FIELDS)
def test_each_field_of_auth_state_is_documented(name: str) -> None:
    assert f'"{name}": ' in section(PEOPLE, "## From auth state")


def test_the_settings_of_graph_and_only_they_are_documented() -> None:
    documented = rows(section(PEOPLE, "## From Microsoft Graph"))
    assert set(documented) == set(SETTINGS)
    for name in ("graph_url", "login_url"):
        assert documented[name][1] == f"`{SETTINGS[name].default_value}`"
    assert documented["timeout_seconds"][1] == f"{SETTINGS['timeout_seconds'].default_value:g}"
    assert all(len(trait.help) > 20 for trait in SETTINGS.values())
    assert all(f"`{name}`" in PEOPLE for name in SELECTED)


@pytest.mark.parametrize("action", ["load", "refresh", "sources"])
def test_each_command_about_users_is_documented_with_its_options(action: str) -> None:
    lines = [line for line in PEOPLE.splitlines() if f"jupyterhub-metrics users {action}" in line]
    documented = set(re.findall(r"--[a-z-]+", " ".join(lines)))
    assert lines
    assert documented == options(users_command.add_arguments, action)


def test_the_command_about_roles_is_documented_with_its_options() -> None:
    lines = [line for line in ROLES_PAGE.splitlines() if "jupyterhub-metrics db roles" in line]
    documented = set(re.findall(r"--[a-z-]+", " ".join(lines)))
    assert documented == options(command.add_arguments, "roles")
    assert f"--reads {'|'.join(READS)}" in " ".join(lines)
    assert f"`{DEFAULT_PREFIX}`" in ROLES_PAGE
    assert f"at least {MIN_PASSWORD_CHARACTERS} printable" in ROLES_PAGE


def test_the_roles_and_only_they_are_documented() -> None:
    assert tuple(rows(ROLES_PAGE.partition("\n## ")[0])) == ROLES


def test_each_pseudonymised_view_is_documented() -> None:
    script = (DOCS.parent / "sql" / "roles" / "pseudonymised.sql").read_text(encoding="utf-8")
    views = re.findall(r"^CREATE VIEW (pseudonymised\.\w+)", script, re.MULTILINE)
    assert list(rows(section(ROLES_PAGE, "## Pseudonyms"))) == views
