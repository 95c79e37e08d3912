"""Kubernetes quantities become whole bytes."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_metrics.sources.quantity import parse_bytes

BINARY = {f"{prefix}i": 1024**power for power, prefix in enumerate("KMGTPE", 1)}
DECIMAL = {prefix: 1000**power for power, prefix in enumerate(["", "k", "M", "G", "T", "P", "E"])}
LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4Gi", 4 * 2**30),
        ("512Mi", 512 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("4G", 4 * 10**9),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("129E6", 129_000_000),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("128974848000m", 128974848),
        ("1m", 1),
        (".5Ki", 512),
        ("5.", 5),
        ("+1k", 1000),
        ("0", 0),
        ("1e-3", 1),
        ("9223372036854775807", LARGEST),
        ("9223372036854775808", None),
        ("8Ei", None),
        ("1e999", None),
        ("-1Gi", None),
        ("", None),
        ("Gi", None),
        ("1 Gi", None),
        ("1gi", None),
        ("1K", None),
        ("1e", None),
        ("1e1Ki", None),
        ("٣Gi", None),
        ("nan", None),
        ("1" * 100, None),
    ],
)
def test_a_quantity_is_its_bytes_or_none(text: str, expected: int | None) -> None:
    assert parse_bytes(text) == expected


@given(
    st.decimals(min_value=0, max_value=10**6, places=4, allow_nan=False),
    st.sampled_from([*BINARY.items(), *DECIMAL.items()]),
)
def test_amount_times_suffix_rounded_up(amount: Decimal, suffix: tuple[str, int]) -> None:
    exact = (amount * suffix[1]).to_integral_value(rounding=ROUND_CEILING)
    expected = int(exact) if exact <= LARGEST else None
    assert parse_bytes(f"{amount:f}{suffix[0]}") == expected


@given(st.text(max_size=80))
def test_any_text_is_bytes_in_range_or_none(text: str) -> None:
    found = parse_bytes(text)
    assert found is None or 0 <= found <= LARGEST
