"""Whose home a directory is, and what dashboards are told of it, without a database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric

from jupyterhub_metrics.service import slugs
from jupyterhub_metrics.service.home_owners import Homes, owned
from jupyterhub_metrics.service.user_families import LABELS, UserRules, user_families
from jupyterhub_metrics.store import Member, UserRequests

HOME = "jupyterhub_user_group_home_dir_bytes"
RULES = UserRules(namespaces={"h": "prod"})
MEMBERS = [Member("h", "physics", "ann"), Member("h", "staff", "ann"), Member("h", "staff", "bob")]


def sizes(**by_name: float) -> dict[tuple[str, str], float]:
    return {("prod", name): size for name, size in by_name.items()}


def series(families: list[Metric], name: str = HOME) -> dict[tuple[str, str], float]:
    """By user and group."""
    [family] = [one for one in families if one.name == name]
    return {
        (sample.labels["username"], sample.labels["usergroup"]): sample.value
        for sample in family.samples
    }


def unknown(families: list[Metric]) -> float:
    [family] = [f for f in families if f.name == "jupyterhub_metrics_user_series_unknown_homes"]
    return float(family.samples[0].value)


def test_a_home_counts_in_each_group_of_its_user() -> None:
    homes = Homes(sizes(ann=100, bob=7))
    assert series(user_families(RULES, MEMBERS, [], homes)) == {
        ("ann", "physics"): 100,
        ("ann", "staff"): 100,
        ("bob", "staff"): 7,
    }


def test_or_under_multiple_so_that_sums_are_the_whole() -> None:
    rules = UserRules(namespaces={"h": "prod"}, count_in_each=False)
    assert series(user_families(rules, MEMBERS, [], Homes(sizes(ann=100, bob=7)))) == {
        ("ann", "multiple"): 100,
        ("bob", "staff"): 7,
    }


def test_groups_that_are_not_allowed_do_not_count() -> None:
    rules = UserRules(namespaces={"h": "prod"}, allowed_groups={"physics"})
    assert series(user_families(rules, MEMBERS, [], Homes(sizes(ann=100, bob=7)))) == {
        ("ann", "physics"): 100,
        ("bob", "none"): 7,
    }


def test_who_runs_nothing_and_is_in_no_group_has_a_home() -> None:
    families = user_families(RULES, [], [], Homes(sizes(old=5), [("h", "old"), ("h", "homeless")]))
    assert series(families) == {("old", "none"): 5}
    assert series(families, "jupyterhub_user_group_info") == {("old", "none"): 1}


def test_labels_are_those_that_dashboards_join_on() -> None:
    users = [UserRequests("h", "Zoë", 0, None, None)]
    families = user_families(RULES, [], users, Homes(sizes(**{"-5ao-c3-ab": 3})))
    [family] = [one for one in families if one.name == HOME]
    [sample] = family.samples
    assert sample.labels == dict(
        zip(LABELS, ("prod", "none", "Zoë", "-5ao-c3-ab", "zo---c6a12698"), strict=True)
    )


def test_a_user_without_a_directory_has_no_series_and_never_0() -> None:
    assert series(user_families(RULES, MEMBERS, [], Homes(sizes(bob=7)))) == {("bob", "staff"): 7}
    assert series(user_families(RULES, MEMBERS, [])) == {}


def test_directories_of_nobody_are_counted_and_not_shown() -> None:
    homes = Homes({**sizes(ann=1, shared=9, **{"lost+found": 4}), ("staging", "ann"): 5})
    families = user_families(RULES, MEMBERS, [], homes)
    assert set(series(families)) == {("ann", "physics"), ("ann", "staff")}
    assert unknown(families) == 3


def test_a_directory_belongs_to_users_of_its_namespace() -> None:
    members = [Member("h", "g", "ann"), Member("other", "g", "ann")]
    homes = Homes({("prod", "ann"): 1, ("other", "ann"): 2})
    [family] = [f for f in user_families(RULES, members, [], homes) if f.name == HOME]
    assert {s.labels["namespace"]: s.value for s in family.samples} == {"prod": 1, "other": 2}


def test_a_user_of_two_hubs_of_one_namespace_has_one_home() -> None:
    rules = UserRules(namespaces={"h": "prod", "i": "prod"})
    members = [Member("h", "g", "ann"), Member("i", "g", "ann")]
    families = user_families(rules, members, [], Homes(sizes(ann=3)))
    assert series(families) == {("ann", "g"): 3}
    assert unknown(families) == 0


def test_a_home_may_be_named_as_either_scheme_or_as_the_user() -> None:
    name = "Ann.Smith@x"
    for directory in (slugs.escaped(name), slugs.safe(name), name):
        assert owned({("n", directory): 1.0}, [("n", name)]).sizes == {("n", name): 1}


def test_of_a_home_of_each_scheme_the_larger_one_counts() -> None:
    name = "ann@x"
    told = {("n", slugs.escaped(name)): 7.0, ("n", slugs.safe(name)): 3.0}
    found = owned(told, [("n", name)])
    assert (found.sizes, found.unknown) == ({("n", name): 7}, 0)


def test_a_directory_that_could_be_of_two_users_is_of_neither() -> None:
    # escaped, the one is called what the other is called as it stands
    users = [("n", "bob@x"), ("n", "bob-40x")]
    found = owned({("n", "bob-40x"): 7.0, ("n", "bob-2d40x"): 2.0}, users)
    assert found.sizes == {("n", "bob-40x"): 2}
    assert found.unknown == 1
    assert owned({("n", "bob-40x"): 7.0}, users[:1]).sizes == {("n", "bob@x"): 7}


NAMES = st.one_of(
    st.text("ab-2d40@.", min_size=1, max_size=6),
    st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
)


@given(st.sets(NAMES, max_size=8), st.sets(NAMES, max_size=8), st.sampled_from([0, 1, 2]))
def test_no_size_is_counted_twice_and_none_is_lost(
    users: set[str], others: set[str], scheme: int
) -> None:
    name_of = (slugs.escaped, slugs.safe, str)[scheme]
    told = {("n", name): 2.0**bit for bit, name in enumerate({*map(name_of, users), *others})}
    found = owned(told, [("n", user) for user in users])
    assert sorted({*found.sizes.values()}) == sorted(found.sizes.values())
    assert len(found.sizes) <= len(told) - found.unknown
    assert found.sizes.keys() <= {("n", user) for user in users}
    assert set(found.sizes.values()) <= set(told.values())
