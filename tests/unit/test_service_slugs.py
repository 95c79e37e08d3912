"""The slugs of users are KubeSpawner's own, for any name."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from kubespawner.slugs import escape_slug, safe_slug

from jupyterhub_metrics.service import slugs

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80) | st.from_regex(
    r"\A[a-zA-Z0-9@._-]{1,80}\Z"
)


@given(NAMES)
@example("a--b")
@example("ann\n")
@example("a" * 48)
@example("a" * 49)
@example("1ab-")
@example("x" * 36 + "-y" * 10)
def test_slugs_are_those_of_kubespawner(name: str) -> None:
    assert slugs.escaped(name) == escape_slug(name)
    # KubeSpawner's own limit where it fills in templates
    assert slugs.safe(name) == safe_slug(name, max_length=slugs.MAX_USERNAME_CHARACTERS)
