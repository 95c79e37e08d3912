"""The Hub's page names every setting and every moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyterhub_metrics.hub.delivery import Delivery
from jupyterhub_metrics.hub.recorder import MetricsRecorder
from jupyterhub_metrics.model import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
TRAITS = [
    (cls.__name__, trait)
    for cls in (MetricsRecorder, Delivery)
    for trait in cls.class_traits(config=True)
]


@pytest.mark.parametrize(("owner", "trait"), TRAITS)
def test_every_setting_is_documented(owner, trait):
    assert f"`{owner}.{trait}`" in PAGE
    assert MetricsRecorder.class_traits().get(trait, Delivery.class_traits().get(trait)).help


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "corrected"])
def test_every_moment_is_documented(kind):
    assert f"\n| {kind} |" in PAGE
