"""The columns of the API's answers, and what the OpenAPI document says of each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "text": {"type": "string"},
    "moment": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "flag": {"type": "boolean"},
    "texts": {"type": "array", "items": {"type": "string"}},
}


@dataclass(frozen=True)
class Column:
    """``kind`` is one of ``TYPES``; where ``nullable``, null is what is not known."""

    name: str
    kind: str
    description: str
    nullable: bool = False

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the values."""
        schema = dict(TYPES[self.kind])
        if self.nullable:
            schema["type"] = [schema["type"], "null"]
        return {**schema, "description": self.description}


AMOUNTS: Final = (
    Column("seconds", "number", "Seconds that servers ran, waiting included"),
    Column("active_seconds", "number", "Seconds with activity that checks saw", nullable=True),
    Column("gib_hours", "number", "Hours times the GiB of memory requested", nullable=True),
    Column("core_hours", "number", "Hours times the cores requested", nullable=True),
    Column("gpu_hours", "number", "Hours times the GPUs requested", nullable=True),
    Column("starts", "integer", "Sessions that were requested in the window"),
    Column("failures", "integer", "Those of them that failed"),
)

USAGE: Final = (
    Column("bucket", "moment", "When the bucket begins, in UTC; the first is cut by `since`"),
    Column("hub", "text", "The Hub"),
    Column("value", "text", "Value of the dimension in `by`", nullable=True),
    Column("users", "integer", "Users with a server that ran"),
    Column("waiting_seconds", "number", "The part of seconds until servers were ready"),
    *AMOUNTS,
)

USERS: Final = (
    Column("hub", "text", "The Hub"),
    Column("username", "text", "Name in the Hub, or a pseudonym"),
    Column("full_name", "text", "As sources tell it", nullable=True),
    Column("department", "text", "As sources tell it", nullable=True),
    *AMOUNTS,
)

GROUPS: Final = (
    Column("hub", "text", "The Hub"),
    Column("group", "text", "Name of the group"),
    Column("members", "integer", "Who is in it now", nullable=True),
    Column("users", "integer", "Users with a server that ran"),
    *AMOUNTS,
)

RUNNING: Final = (
    Column("id", "uuid", "The session", nullable=True),
    Column("hub", "text", "The Hub"),
    Column("username", "text", "Name in the Hub, or a pseudonym"),
    Column("server_name", "text", "Name of the server; empty: the default one", nullable=True),
    Column("display_name", "text", "Its name for people", nullable=True),
    Column("state", "text", "starting, running, ended or failed"),
    Column("started_at", "moment", "When it was requested"),
    Column("ready_at", "moment", "When it answered first", nullable=True),
    Column("seconds", "number", "Seconds that it ran so far"),
    Column("active_seconds", "number", "Seconds with activity that checks saw", nullable=True),
    Column("last_activity_at", "moment", "The last activity that a check saw", nullable=True),
    Column("profile", "text", "What was chosen", nullable=True),
    Column("image", "text", "The container image", nullable=True),
    Column("node", "text", "Where it runs", nullable=True),
    Column("groups", "texts", "Groups that the Hub named when it was requested"),
    Column("cpu_guarantee_cores", "number", "Cores guaranteed", nullable=True),
    Column("cpu_limit_cores", "number", "Most cores", nullable=True),
    Column("memory_guarantee_bytes", "integer", "Memory guaranteed", nullable=True),
    Column("memory_limit_bytes", "integer", "Most memory", nullable=True),
    Column("gpus", "number", "GPUs requested", nullable=True),
    Column("memory_peak_bytes", "integer", "Most memory it used at any sample", nullable=True),
    Column("memory_mean_bytes", "number", "Memory it used in the mean", nullable=True),
    Column("cpu_peak_cores", "number", "Most cores it used over a sample", nullable=True),
    Column("cpu_mean_cores", "number", "Cores it used in the mean", nullable=True),
    Column("sampled_until", "moment", "The last sample of these", nullable=True),
    Column("simulated", "flag", "Whether it was made up"),
)

MEASURED: Final = frozenset(
    {
        "memory_peak_bytes",
        "memory_mean_bytes",
        "cpu_peak_cores",
        "cpu_mean_cores",
        "sampled_until",
    }
)
"""Those of them that samplers tell."""

OVERASKING: Final = (
    Column("hub", "text", "The Hub"),
    Column("profile", "text", "What was chosen", nullable=True),
    Column("image_name", "text", "The image without tag and digest", nullable=True),
    Column("sessions", "integer", "Sessions that were measured"),
    Column("hours", "number", "Hours that were measured", nullable=True),
    Column("memory_requested_bytes", "number", "Asked for, in the mean", nullable=True),
    Column("memory_mean_bytes", "number", "Used, in the mean", nullable=True),
    Column(
        "memory_peak_p95_bytes",
        "number",
        "What 95 % of the sessions never used more than",
        nullable=True,
    ),
    Column("memory_peak_bytes", "integer", "Most that any session used", nullable=True),
    Column(
        "memory_unused_gib_hours",
        "number",
        "GiB-hours that were asked for and that no moment touched",
        nullable=True,
    ),
    Column("cpu_requested_cores", "number", "Asked for, in the mean", nullable=True),
    Column("cpu_mean_cores", "number", "Used, in the mean", nullable=True),
    Column(
        "cpu_peak_p95_cores",
        "number",
        "What 95 % of the sessions never used more than",
        nullable=True,
    ),
    Column("cpu_peak_cores", "number", "Most that any session used", nullable=True),
)

SESSIONS: Final = (
    *RUNNING,
    Column("ended_at", "moment", "Best estimate of the end", nullable=True),
    Column("ended_after", "moment", "The end is not before this", nullable=True),
    Column("ended_before", "moment", "The end is not after this", nullable=True),
    Column("end_reason", "text", "Why it ended", nullable=True),
    Column("end_source", "text", "Who saw the end", nullable=True),
    Column("ended_by", "text", "Who asked for it", nullable=True),
    Column("exit_status", "integer", "Exit status", nullable=True),
    Column("inferred", "flag", "Whether some of it was concluded and not seen"),
)

ME: Final = (
    Column("name", "text", "Name of the user or service"),
    Column("hub", "text", "The Hub"),
    Column("operator", "flag", "Whether everyone's usage may be read"),
    Column("groups", "texts", "Groups whose usage may be read by scope"),
    Column("hubs", "texts", "Hubs whose usage may be read"),
    Column("pseudonyms", "flag", "Whether others are shown by pseudonyms"),
)
