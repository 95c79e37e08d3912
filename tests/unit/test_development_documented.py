"""Every variable that steers the tests stands in the documentation, and no other does."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_variable_that_the_tests_read_is_documented() -> None:
    read = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(
            r'"(JUPYTERHUB_METRICS_(?:TEST_\w+|SCHEDULES\w*))"', path.read_text()
        )
    }
    text = (ROOT / "docs" / "development.md").read_text()
    assert read == set(re.findall(r"`(JUPYTERHUB_METRICS_\w+)`", text))
