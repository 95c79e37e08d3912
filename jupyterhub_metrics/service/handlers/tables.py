"""Shows usage of many: everyone, groups, one group, any dimension, and what runs now."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from ...store import Window
from ..api import asking
from ..api.asking import Question
from ..api.parameters import BY, CURSOR, DIMENSIONS, GROUP, HUB, SEARCH, SORT, BadRequest
from ..charts import chart_of
from ..figures import added_up, figures_of
from ..page_period import Period
from ..periods import in_zone
from ..session_rows import running_of
from .page import VisitedPage, api_link
from .usage import place_of, session_place

ROWS: Final = 50
MAX_VALUES: Final = 200
"""Values of a dimension that a page lists; the API has all."""

MAX_CHART_DAYS: Final = 400


class UsersHandler(VisitedPage):
    """``users``: everyone with their usage, for operators."""

    parameters = (SEARCH, SORT, HUB, CURSOR)

    async def show(self, *names: str) -> None:
        self.viewer.require_operator("users")
        question, period = await self.question()
        question = with_values(question, limit=ROWS)
        place = self.place(period, "users")
        if place is not None:
            question = question.continued(place)
        answer = await asking.users(question)
        further = None if answer.place is None else question.place_after(answer.place)
        arguments = {**period.time_arguments, "limit": "1000"}
        arguments |= {k: v for k, v in period.given.items() if k in ("search", "sort", "hub")}
        self.render_page(
            "users.html",
            period=period,
            rows=answer.rows,
            total=answer.total,
            known=any(row["full_name"] or row["department"] for row in answer.rows),
            order=asking.user_order(question),
            searchable=not question.privacy.pseudonyms,
            exports=api_link(self.wiring.prefix, "users", arguments),
            cursor=self.cursor(period, "users", further),
            first=place is None,
        )


class GroupsHandler(VisitedPage):
    """``groups``: the groups whose usage the visitor may see."""

    parameters = (HUB,)

    async def show(self, *names: str) -> None:
        question, period = await self.question()
        answer = await asking.groups(with_values(question, limit=1000))
        rows = sorted(answer.rows, key=lambda row: -row["seconds"])
        self.render_page(
            "groups.html",
            period=period,
            rows=rows,
            exports=api_link(
                self.wiring.prefix, "groups", {**period.time_arguments, "limit": "1000"}
            ),
        )


class GroupHandler(VisitedPage):
    """``groups/NAME``: one group, for its owners and for operators."""

    parameters = (SORT, HUB)

    async def show(self, *names: str) -> None:
        [group] = names
        question, period = await self.question()
        hub, reading, viewer = question.hub, question.reading, question.viewer
        viewer.require_group(group, hub)
        self.note_visit(viewer, group=group)
        question = with_values(question, group=group, limit=1000)
        usage = await reading.usage_of_group(hub, group, period.window, "group")
        before = await reading.usage_of_group(hub, group, Window(*period.before), "group")
        members = await asking.users(question)
        running = await reading.running([hub], None, group, None, ROWS)
        by_profile = await reading.usage_of_group(hub, group, days_of(period), "profile")
        arguments = {"group": group, **period.time_arguments, "limit": "1000"}
        if hub != viewer.hub:
            arguments["hub"] = hub
        prefix = self.wiring.prefix
        self.render_page(
            "group.html",
            group=group,
            period=period,
            figures=figures_of(added_up(usage), added_up(before)),
            rows=members.rows,
            more=members.place is not None,
            order=asking.user_order(question),
            running=shown_running(question, running),
            chart=chart_of(by_profile, moments_of(period)),
            exports=api_link(prefix, "users", arguments),
            sessions=api_link(prefix, "sessions", arguments),
        )


class UsageByHandler(VisitedPage):
    """``usage``: everybody's usage by a dimension, for operators."""

    parameters = (BY, HUB)

    async def show(self, *names: str) -> None:
        self.viewer.require_operator("usage")
        question, period = await self.question()
        by = question.values.get("by", "profile")
        if by in ("user", "server"):
            raise BadRequest("by", "found a dimension with a page of its own; see Users")
        reading, hubs = question.reading, question.hubs
        rows = await reading.usage_of_all(hubs, period.window, by)
        before = await reading.usage_of_all(hubs, Window(*period.before), "hub")
        days = (
            await reading.usage_of_all(hubs, days_of(period), by)
            if by == "group"
            else await reading.seconds_over_time(hubs, days_of(period), by)
        )
        rows.sort(key=lambda row: -row.seconds)
        arguments = {"by": by, **period.time_arguments, "limit": "1000"}
        # who is in several groups counts in each
        totals = await reading.usage_of_all(hubs, period.window, "hub") if by == "group" else rows
        self.render_page(
            "by.html",
            period=period,
            by=by,
            dimensions=[name for name in DIMENSIONS if name not in ("user", "server")],
            rows=rows[:MAX_VALUES],
            hidden_count=max(0, len(rows) - MAX_VALUES),
            total_seconds=sum(row.seconds for row in rows) or 1.0,
            figures=figures_of(added_up(totals), added_up(before)),
            several_hubs=len(hubs) > 1,
            chart=chart_of(days, moments_of(period)),
            exports=api_link(self.wiring.prefix, "usage", arguments),
        )


class RunningHandler(VisitedPage):
    """``running``: what starts or runs now, of everyone, of a group or of the visitor."""

    parameters = (GROUP, HUB, CURSOR)

    async def show(self, *names: str) -> None:
        question, period = await self.question()
        user, group = await question.subject()
        self.note_visit(question.viewer, group=group)
        hubs = question.hubs if user is None and group is None else (question.hub,)
        place = self.place(period, "running")
        found = await question.reading.running(hubs, user, group, session_place(place), ROWS + 1)
        last = found[ROWS - 1].session if len(found) > ROWS else None
        next_place = None if last is None else place_of(last.started_at, str(last.id))
        arguments = {"limit": "1000", **({"group": group} if group else {})}
        self.render_page(
            "running.html",
            period=period,
            everyone=user is None,
            group=group,
            rows=shown_running(question, found[:ROWS]),
            total=found[0].total if found else 0,
            now=question.now,
            exports=api_link(self.wiring.prefix, "running", arguments),
            cursor=self.cursor(period, "running", next_place),
            first=place is None,
        )


def with_values(question: Question, **values: Any) -> Question:
    """The question with further arguments, as if they had been given."""
    return replace(question, values={**question.values, **values})


def shown_running(question: Question, found: Any) -> list[Any]:
    """Rows of what runs, as this visitor may see them."""
    privacy, viewer = question.privacy, question.viewer
    rows = []
    for seen in found:
        whose = (viewer, seen.session.hub, seen.session.username)
        hidden, name = privacy.hides(*whose), privacy.shown(*whose)
        rows.append(running_of(seen, question.now, hidden=hidden, username=name))
    return rows


def days_of(period: Period) -> Window:
    """The period by day, or by week or month where that would be too many days."""
    days = (period.until - period.since).days
    step: Any = "day" if days <= 62 else "week" if days <= MAX_CHART_DAYS else "month"
    return Window(period.since, period.until, period.zone, step)


def moments_of(period: Period) -> list[datetime]:
    """When the buckets of ``days_of`` begin, up to now."""
    zone = ZoneInfo(period.zone)
    window = days_of(period)
    day = period.since.astimezone(zone).date()
    if window.step == "week":
        day -= timedelta(days=day.weekday())
    elif window.step == "month":
        day = day.replace(day=1)
    moments = []
    while (moment := in_zone(day, period.zone)) < period.drawn_until:
        moments.append(moment)
        if window.step == "month":
            day = (day + timedelta(days=31)).replace(day=1)
        else:
            day += timedelta(days=7 if window.step == "week" else 1)
    return moments
