"""How each resource of the API is asked, within what the visitor may see.

Called by ``handlers.api``, the pages and :mod:`.resources`. Who may see what, ``access`` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ...model import isoformat
from ...store import Reading, SeenSession, SessionPlace, UsageRow, UserOrder, UserRow, Window
from ..access import Forbidden, Viewer
from ..privacy import Privacy
from . import columns
from .columns import Column
from .parameters import (
    DEFAULT_LIMIT,
    BadRequest,
    window_of,
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """One request, its arguments read. ``place`` is where the page before ended.

    ``now`` is the moment of the first page: what has run since then changes no order.
    """

    viewer: Viewer
    values: Mapping[str, Any]
    reading: Reading
    privacy: Privacy
    now: datetime
    place: list[Any] | None = None

    @property
    def limit(self) -> int:
        return int(self.values.get("limit", DEFAULT_LIMIT))

    @property
    def window(self) -> Window:
        window = window_of(self.values, self.now)
        is_open = window.since < self.now < window.until
        return replace(window, until=self.now) if is_open else window

    def place_after(self, place: list[Any]) -> list[Any]:
        """What a cursor carries to the next page, for :meth:`continued`."""
        return [isoformat(self.now), *place]

    def continued(self, carried: list[Any]) -> Question:
        """The same question for the page after that place."""
        now = datetime.fromisoformat(carried[0].replace("Z", "+00:00"))
        return replace(self, now=now, place=carried[1:])

    @property
    def hubs(self) -> tuple[str, ...]:
        """The Hubs that are asked for. Raises Forbidden for one that may not be."""
        hub = self.values.get("hub")
        if hub is None:
            return self.viewer.hubs
        self.viewer.require_hub(hub)
        return (hub,)

    @property
    def hub(self) -> str:
        """The one Hub that is asked for; the visitor's own unless told."""
        hub: str = self.values.get("hub", self.viewer.hub)
        self.viewer.require_hub(hub)
        return hub

    async def subject(self) -> tuple[str | None, str | None]:
        """The user or the group that is asked for; neither for everyone.

        Raises Forbidden if the visitor may not see them, BadRequest for both at once.
        """
        user, group = self.values.get("user"), self.values.get("group")
        if user is not None and group is not None:
            raise BadRequest("group", "found a user and a group; expected one of them")
        if group is not None:
            self.viewer.require_group(group, self.hub)
            return None, group
        if user is None:
            if self.viewer.is_operator:
                return None, None
            if self.viewer.username is None:
                raise Forbidden("user", "found a service without a scope to read; grant it one")
            return self.viewer.username, None
        name = await self.privacy.name_of(self.reading, self.viewer, self.hub, user)
        # someone who may not see any other user does not learn which pseudonyms there are
        self.viewer.require_user(user if name is None else name, self.hub)
        return ("" if name is None else name), None


@dataclass(frozen=True)
class Answer:
    """A page of rows; ``place`` is where the next one begins, None after the last."""

    rows: Sequence[Row]
    place: list[Any] | None = None
    total: int | None = None


async def me(question: Question) -> Answer:
    viewer = question.viewer
    return Answer(
        [
            {
                "name": viewer.name,
                "hub": viewer.hub,
                "operator": viewer.is_operator,
                "groups": sorted(viewer.owned_groups),
                "hubs": list(viewer.hubs),
                "pseudonyms": question.privacy.pseudonyms,
            }
        ]
    )


async def usage(question: Question) -> Answer:
    window = question.window
    by = question.values.get("by", "hub")
    user, group = await question.subject()
    if by == "server" and question.privacy.pseudonyms and user != question.viewer.username:
        raise BadRequest("by", "found server; names of servers are hidden where pseudonyms are")
    reading = question.reading
    if user is not None:
        if by == "group":
            raise BadRequest("by", "found group for one user; expected another dimension")
        rows = await reading.usage_of_user(question.hub, user, window, by)
    elif group is not None:
        rows = await reading.usage_of_group(question.hub, group, window, by)
    else:
        rows = await reading.usage_of_all(question.hubs, window, by)
    shown = [_usage_row(question, row, by) for row in rows]
    shown.sort(key=_usage_place)
    if question.place is not None:
        bucket, hub, unknown, value = question.place
        after = (bucket, hub, unknown, value)
        shown = [row for row in shown if _usage_place(row) > after]
    return _page(question, shown, lambda row: list(_usage_place(row)), None)


def _usage_row(question: Question, row: UsageRow, by: str) -> Row:
    value = row.value
    if by == "user" and value is not None:
        value = question.privacy.shown(question.viewer, row.hub, value)
    return {
        "bucket": isoformat(max(row.bucket, question.window.since)),
        "hub": row.hub,
        "value": value,
        "users": row.users,
        "waiting_seconds": row.waiting_seconds,
        **amounts(row),
    }


def _usage_place(row: Row) -> tuple[str, str, bool, str]:
    return row["bucket"], row["hub"], row["value"] is None, row["value"] or ""


def amounts(row: UsageRow | UserRow) -> Row:
    """What usage is measured in."""
    return {
        "seconds": row.seconds,
        "active_seconds": row.active_seconds,
        "gib_hours": row.gib_hours,
        "core_hours": row.core_hours,
        "gpu_hours": row.gpu_hours,
        "starts": row.starts,
        "failures": row.failures,
    }


def user_order(question: Question) -> UserOrder:
    """How the table of users is ordered. Raises BadRequest for what pseudonyms forbid."""
    sort = question.values.get("sort", "-seconds")
    column = sort.removeprefix("-")
    search = question.values.get("search") or None
    if question.privacy.pseudonyms:
        if column == "username":
            raise BadRequest("sort", "found username; names are hidden, sort by another column")
        if search is not None:
            raise BadRequest("search", "found a search; names are hidden, so none can be searched")
    return UserOrder(column, sort.startswith("-"), search)


async def users(question: Question) -> Answer:
    order = user_order(question)
    if "group" in question.values:
        _, group = await question.subject()
        rows = await members(question, str(group), order)
        if question.place is not None:
            last = tuple(question.place)
            rows = [row for row in rows if _comes_after(_member_place(row, order), last, order)]
        return _page(
            question,
            [_user_row(question, row) for row in rows],
            lambda row: list(_member_place(rows[_index(row)], order)),
            None,
        )
    question.viewer.require_operator("group")
    after_row = None if question.place is None else _after(question.place)
    found = await question.reading.users(
        question.hubs, question.window, order, after_row, question.limit + 1
    )
    return _page(
        question,
        [_user_row(question, row) for row in found],
        lambda row: _user_place(found[_index(row)], order),
        found[0].total if found else None,
    )


def _index(row: Row) -> int:
    return int(row["#"])


async def members(question: Question, group: str, order: UserOrder) -> list[UserRow]:
    """Users of one group with their usage in it, in order."""
    usage = await question.reading.usage_of_group(question.hub, group, question.window, "user")
    rows = [
        UserRow(
            hub=row.hub,
            username=row.value or "",
            person_id=0,
            sort_key=0.0,
            full_name=None,
            department=None,
            total=len(usage),
            **amounts(row),
        )
        for row in usage
        if order.search is None or order.search.lower() in (row.value or "").lower()
    ]
    return sorted(rows, key=lambda row: _member_place(row, order), reverse=order.descending)


def _member_place(row: UserRow, order: UserOrder) -> tuple[float, str]:
    value = 0.0 if order.column == "username" else getattr(row, order.column)
    return (-1.0 if value is None else float(value)), row.username


def _comes_after(place: tuple[float, str], last: tuple[Any, ...], order: UserOrder) -> bool:
    return place < last if order.descending else place > last


def _user_row(question: Question, row: UserRow) -> Row:
    hidden = question.privacy.hides(question.viewer, row.hub, row.username)
    return {
        "hub": row.hub,
        "username": question.privacy.shown(question.viewer, row.hub, row.username),
        "full_name": None if hidden else row.full_name,
        "department": None if hidden else row.department,
        **amounts(row),
    }


def _user_place(row: UserRow, order: UserOrder) -> list[Any]:
    name = row.username if order.column == "username" else ""
    return [row.sort_key, name, row.hub, row.person_id]


def _after(place: list[Any]) -> UserRow:
    key, name, hub, person_id = place
    return UserRow(hub, name, 0, None, None, None, None, 0, 0, person_id, key, None, None, 0)


async def groups(question: Question) -> Answer:
    viewer, window = question.viewer, question.window
    named = None if viewer.is_operator else sorted(viewer.owned_groups)
    rows = await question.reading.usage_by_groups(question.hubs, window, named)
    known = {
        (group.hub, group.group_name): group.members
        for group in await question.reading.groups(question.hubs)
        if viewer.may_see_group(group.group_name, group.hub)
    }
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row.hub, row.value or "")
        found[key] = {"users": row.users, **amounts(row)}
    nothing = {"users": 0, "seconds": 0.0, "active_seconds": None, "gib_hours": None}
    nothing |= {"core_hours": None, "gpu_hours": None, "starts": 0, "failures": 0}
    listed = [
        {
            "hub": hub,
            "group": group,
            "members": known.get((hub, group)),
            **found.get((hub, group), nothing),
        }
        for hub, group in sorted(found.keys() | known.keys())
    ]
    after = question.place
    if after is not None:
        listed = [row for row in listed if [row["hub"], row["group"]] > after]
    return _page(question, listed, lambda row: [row["hub"], row["group"]], None)


async def sessions(question: Question) -> Answer:
    user, group = await question.subject()
    server = question.values.get("server")
    if server is not None and question.privacy.pseudonyms and user != question.viewer.username:
        raise BadRequest("server", "names of servers are hidden where pseudonyms are shown")
    after, limit = _session_place(question.place), question.limit + 1
    if user is not None:
        found = await question.reading.sessions_of_user(
            question.hub, user, question.window, server, after, limit
        )
    elif group is not None:
        found = await question.reading.sessions_of_group(
            question.hub, group, question.window, server, after, limit
        )
    else:
        found = await question.reading.sessions_of_all(
            question.hubs, question.window, server, after, limit
        )
    return _session_page(question, found, columns.SESSIONS)


async def running(question: Question) -> Answer:
    user, group = await question.subject()
    hubs = question.hubs if user is None and group is None else (question.hub,)
    found = await question.reading.running(
        hubs, user, group, _session_place(question.place), question.limit + 1
    )
    return _session_page(question, found, columns.RUNNING)


async def overasking(question: Question) -> Answer:
    question.viewer.require_operator("overasking")
    found = [asdict(one) for one in await question.reading.overasking(question.hubs)]
    if question.place is not None:
        found = found[question.place[0] :]
    begun = 0 if question.place is None else question.place[0]
    return _page(question, found, lambda row: [begun + _index(row) + 1], begun + len(found))


def _session_place(place: list[Any] | None) -> SessionPlace | None:
    if place is None:
        return None
    return datetime.fromisoformat(place[0].replace("Z", "+00:00")), UUID(place[1])


def _session_page(
    question: Question, found: Sequence[SeenSession], wanted: Sequence[Column]
) -> Answer:
    def place(row: Row) -> list[Any]:
        session = found[_index(row)].session
        return [isoformat(session.started_at), str(session.id)]

    rows = [session_row(question, seen, wanted) for seen in found]
    return _page(question, rows, place, found[0].total if found else None)


_HIDDEN: Final = ("id", "server_name", "display_name", "ended_by")


def session_row(question: Question, seen: SeenSession, wanted: Sequence[Column]) -> Row:
    """A session as a row of these columns; what pseudonyms hide is None."""
    session = seen.session
    hidden = question.privacy.hides(question.viewer, session.hub, session.username)
    row: Row = {}
    for column in wanted:
        name = column.name
        if name == "username":
            row[name] = question.privacy.shown(question.viewer, session.hub, session.username)
        elif hidden and name in _HIDDEN:
            row[name] = None
        elif name == "seconds":
            row[name] = session.seconds(question.now)
        elif name in columns.MEASURED:
            row[name] = _plain(getattr(seen.measured, name, None))
        elif name in ("active_seconds", "last_activity_at"):
            row[name] = _plain(getattr(seen, name))
        else:
            row[name] = _plain(getattr(session, name))
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return isoformat(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, UUID) else value


def _page(
    question: Question,
    rows: Sequence[Row],
    place: Callable[[Row], list[Any]],
    total: int | None,
) -> Answer:
    """The first ``limit`` rows, of which one more than that may have been asked for."""
    shown = rows[: question.limit]
    more = len(rows) > question.limit
    last = None if not more else place({**shown[-1], "#": len(shown) - 1})
    return Answer(shown, last, total)
