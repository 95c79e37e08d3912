"""All dashboards, as the files that Grafana is given."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from . import demographics, nodes, overview, recorder, resources, user, users

FOLDER = Path(__file__).parents[1] / "dashboards"


def dashboards() -> list[Dashboard]:
    """Every dashboard, in the order of the links between them."""
    pages = (overview, users, user, demographics, nodes, resources, recorder)
    return [page.dashboard() for page in pages]


def files() -> dict[str, str]:
    """The text of each file by its name, which is the dashboard's uid and ``.json``."""
    return {
        f"{one.uid}.json": json.dumps(one, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for one in dashboards()
    }
