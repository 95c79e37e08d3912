"""What the README says the Overview answers is what its panels give for the simulated people."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import asyncpg
from dashboards import all_panels
from grafana_macros import View

from jupyterhub_metrics.demo.history import events, history
from jupyterhub_metrics.store import Store

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SINCE = datetime(2026, 4, 1, tzinfo=timezone.utc)
UNTIL = datetime(2026, 4, 30, 15, tzinfo=timezone.utc)
LATER = UNTIL + timedelta(days=1)
"""By then everything has ended that ran until then; only what has ended is simulated."""
PANELS = {panel.title: panel.statements[0] for panel in all_panels() if "overview" in panel.uid}


async def overview(connection: asyncpg.Connection) -> list[str]:
    """The README's table, row by row."""
    view = View(SINCE, UNTIL, {"hub": ["campus"]})

    async def rows(title: str) -> list[asyncpg.Record]:
        return await connection.fetch(view.sends(PANELS[title]))

    async def number(title: str) -> int:
        return (await rows(title))[0][0]

    users = [await number(f"Users, last {length}") for length in
             ("hour", "24 hours", "30 days", "year")]  # fmt: skip
    hour = (await rows("Last hour"))[0]
    busiest = max(await rows("Applications"), key=lambda row: row["servers"])
    week = max(await rows("Hours of the week"), key=lambda row: row["servers"])
    top = (await rows("Top users"))[:3]
    images = (await rows("Applications used"))[:2]
    ends = await rows("Why sessions ended")
    failed = (await rows("Failed starts"))[0]["share"]
    answers = {
        "Users in the last hour, 24 hours, 30 days, year": ", ".join(map(str, users)),
        "Servers, images and nodes in the last hour": ", ".join(map(str, hour)),
        "The busiest hour, and hour of the week": f"{busiest['time']:%d %B %H:00}, "
        f"{busiest['servers']:.1f} servers; {week['weekday'][2:]} {week['hour']}:00, "
        f"{week['servers']:.1f} on average",
        "Who ran servers longest": "; ".join(
            f"{row['username']} {row['hours']:.1f} h in {row['starts']} starts" for row in top
        ),
        "With which images": "; ".join(
            f"{row['image_base']}:{row['image_version']} {row['hours']:.0f} h of "
            f"{row['users']} users"
            for row in images
        ),
        "Why sessions ended": "; ".join(f"`{row['reason']}` {row['sessions']}" for row in ends[:3]),
        "Starts that failed": f"{failed:.1%}",
    }
    return [f"| {question} | {answer} |" for question, answer in answers.items()]


async def test_the_readme_shows_what_the_overview_answers(store: Store, postgres_dsn: str) -> None:
    told = [
        event
        for session in history(seed=1, user_count=20, since=SINCE, until=LATER)
        for event in events("campus", session)
    ]
    for begin in range(0, len(told), 600):
        await store.ingest(told[begin : begin + 600])
    connection = await asyncpg.connect(postgres_dsn)
    rows = await overview(connection)
    await connection.close()
    assert "\n".join(rows) in README, "\n" + "\n".join(rows)
