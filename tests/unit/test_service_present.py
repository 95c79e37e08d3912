"""Series of what is true now and of single users, without a database."""

from __future__ import annotations

from prometheus_client import Metric

from jupyterhub_metrics.service.labels import MAX_LABEL_CHARACTERS
from jupyterhub_metrics.service.present_families import Disk, Seen, present_families
from jupyterhub_metrics.service.user_families import UserRules, user_families
from jupyterhub_metrics.store import ActiveUsers, Member, OpenSessions, UserRequests

GIB = 1024.0**3


def open_sessions(
    sessions: int = 1,
    *,
    hub: str = "campus",
    state: str = "running",
    profile: str | None = "small",
    image: str | None = "lab:1",
    node: str | None = "n1",
    gpus: float | None = None,
    memory: float | None = None,
) -> OpenSessions:
    requested_gpus = None if gpus is None else gpus * sessions
    return OpenSessions(
        hub, state, profile, image, node, gpus, sessions, memory, None, requested_gpus
    )


def seen(*sessions: OpenSessions, users: tuple[ActiveUsers, ...] = ()) -> Seen:
    return Seen(sessions, users, 8_000_000, None, Disk(1000, 250))


def values(families: list[Metric], name: str) -> dict[tuple[str, ...], float]:
    [found] = [family for family in families if family.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in found.samples}


def test_sessions_are_told_by_what_they_are() -> None:
    families = present_families(
        seen(
            open_sessions(2, gpus=1.0),
            open_sessions(3, node="n2", gpus=0.0),
            open_sessions(state="starting"),
            open_sessions(profile=None, image=None, node=None),
        ),
        ["campus", "idle"],
    )
    assert values(families, "jupyterhub_metrics_sessions_running") == {
        ("campus", "small", "lab:1", "n1", "1"): 2,
        ("campus", "small", "lab:1", "n2", "0"): 3,
        ("campus", "", "", "", ""): 1,
    }
    assert values(families, "jupyterhub_metrics_sessions_open") == {
        ("campus", "running"): 6,
        ("campus", "starting"): 1,
        ("idle", "running"): 0,
        ("idle", "starting"): 0,
    }
    assert values(families, "jupyterhub_metrics_gpus_requested") == {("campus",): 2, ("idle",): 0}


def test_what_nobody_knows_has_no_series() -> None:
    families = present_families(seen(open_sessions(2)), ["campus"])
    assert values(families, "jupyterhub_metrics_memory_requested_bytes") == {}
    names = [family.name for family in families]
    assert "jupyterhub_metrics_database_limit_bytes" not in names


def test_a_node_that_left_has_no_series() -> None:
    before = present_families(seen(open_sessions(node="n1")), ["campus"])
    after = present_families(seen(open_sessions(node="n2")), ["campus"])
    assert any("n1" in key for key in values(before, "jupyterhub_metrics_sessions_running"))
    assert not any("n1" in key for key in values(after, "jupyterhub_metrics_sessions_running"))


def test_each_period_counts_its_own_users() -> None:
    families = present_families(seen(users=(ActiveUsers("campus", 1, 2, 3, 4),)), ["idle"])
    assert values(families, "jupyterhub_metrics_users_active") == {
        **{("campus", period): n + 1 for n, period in enumerate(("now", "24h", "7d", "30d"))},
        **{("idle", period): 0 for period in ("now", "24h", "7d", "30d")},
    }


def test_long_values_are_cut_and_stay_apart() -> None:
    long = "x" * 10_000
    families = present_families(
        seen(open_sessions(image=long), open_sessions(image=long + "y")), []
    )
    keys = list(values(families, "jupyterhub_metrics_sessions_running"))
    assert len(keys) == 2
    assert all(len(part) <= MAX_LABEL_CHARACTERS for key in keys for part in key)


def test_values_that_become_alike_are_one_series() -> None:
    families = present_families(
        seen(open_sessions(image="a\udc80"), open_sessions(image="a\\udc80")), []
    )
    assert list(values(families, "jupyterhub_metrics_sessions_running").values()) == [2]


MEMBERS = [Member("h", "physics", "ann"), Member("h", "staff", "ann"), Member("h", "staff", "bob")]
USERS = [UserRequests("h", "ann", 2, 3 * GIB, 1.5), UserRequests("h", "Zoë", 0, None, None)]
INFO = "jupyterhub_user_group_info"
MEMORY = "jupyterhub_user_group_memory_requests_bytes"


def groups_of(families: list[Metric], name: str = INFO) -> dict[tuple[str, str], float]:
    return {(key[2], key[1]): value for key, value in values(families, name).items()}


def test_a_user_of_several_groups_counts_in_each() -> None:
    families = user_families(UserRules(), MEMBERS, USERS)
    assert groups_of(families) == {
        ("ann", "physics"): 1,
        ("ann", "staff"): 1,
        ("bob", "staff"): 1,
        ("Zoë", "none"): 1,
    }
    assert groups_of(families, MEMORY) == {
        ("ann", "physics"): 3 * GIB,
        ("ann", "staff"): 3 * GIB,
    }
    cores = "jupyterhub_user_group_cpu_requests_seconds"
    assert set(groups_of(families, cores).values()) == {1.5}


def test_or_under_multiple_so_that_sums_are_the_whole() -> None:
    families = user_families(UserRules(count_in_each=False), MEMBERS, USERS)
    assert groups_of(families) == {("ann", "multiple"): 1, ("bob", "staff"): 1, ("Zoë", "none"): 1}
    assert groups_of(families, MEMORY) == {("ann", "multiple"): 3 * GIB}


def test_groups_that_are_not_allowed_do_not_count() -> None:
    rules = UserRules(allowed_groups={"physics"}, count_in_each=False)
    assert groups_of(user_families(rules, MEMBERS, USERS)) == {
        ("ann", "physics"): 1,
        ("bob", "none"): 1,
        ("Zoë", "none"): 1,
    }


def test_labels_are_those_that_dashboards_join_on() -> None:
    rules = UserRules(namespaces={"h": "prod"})
    [family] = [one for one in user_families(rules, [], USERS[1:]) if one.name == INFO]
    assert family.samples[0].labels == {
        "namespace": "prod",
        "usergroup": "none",
        "username": "Zoë",
        "username_escaped": "-5ao-c3-ab",
        "username_safe": "zo---c6a12698",
    }


def test_over_the_limit_those_who_run_something_come_first() -> None:
    families = user_families(UserRules(limit=1), [Member("h", "g", "aaron"), *MEMBERS], USERS)
    assert {user for user, _ in groups_of(families)} == {"ann"}
    assert values(families, "jupyterhub_metrics_user_series_left_out") == {(): 3}
    assert values(families, "jupyterhub_metrics_user_series_limit") == {(): 1}
    assert values(families, "jupyterhub_metrics_user_series_users") == {(): 1}


def test_hubs_of_one_namespace_add_up_and_info_stays_one() -> None:
    rules = UserRules(namespaces={"h": "prod", "i": "prod"})
    users = [UserRequests(hub, "ann", 1, GIB, None) for hub in ("h", "i")]
    families = user_families(rules, [], users)
    assert groups_of(families) == {("ann", "none"): 1}
    assert groups_of(families, MEMORY) == {("ann", "none"): 2 * GIB}
