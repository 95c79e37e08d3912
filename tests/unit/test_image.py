"""Image references, split by the distribution grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.image import ImageReference, parse_image

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("reference", "name", "tag", "digest"),
    [
        ("lab", "lab", None, None),
        ("lab:1.2", "lab", "1.2", None),
        (
            "quay.io/jupyter/scipy-notebook:2026-01",
            "quay.io/jupyter/scipy-notebook",
            "2026-01",
            None,
        ),
        ("registry:5000/lab", "registry:5000/lab", None, None),
        ("registry:5000/lab:1", "registry:5000/lab", "1", None),
        (f"lab@{DIGEST}", "lab", None, DIGEST),
        (f"registry:5000/a/lab:1@{DIGEST}", "registry:5000/a/lab", "1", DIGEST),
        ("lab@sha256:short", "lab@sha256:short", None, None),
        ("lab:" + "x" * 129, "lab:" + "x" * 129, None, None),
        ("lab:", "lab:", None, None),
        (":1", ":1", None, None),
        ("", "", None, None),
    ],
)
def test_a_reference_is_split(
    reference: str, name: str, tag: str | None, digest: str | None
) -> None:
    assert parse_image(reference) == ImageReference(name, tag, digest)


def test_the_base_is_the_last_part_of_the_path() -> None:
    assert parse_image("quay.io/jupyter/scipy-notebook:1").base == "scipy-notebook"


@given(st.text(alphabet="ab1:/@.-_") | st.text())
def test_nothing_of_a_reference_is_lost(reference: str) -> None:
    parsed = parse_image(reference)
    tag = f":{parsed.tag}" if parsed.tag is not None else ""
    digest = f"@{parsed.digest}" if parsed.digest is not None else ""
    assert parsed.name + tag + digest == reference
