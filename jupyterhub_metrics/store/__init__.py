"""The database: events in, sessions out.

Called by the service and the command line. Everything that speaks to PostgreSQL is in here; the
statements themselves are in ``sql/``.
"""

from .capabilities import Capabilities
from .checks import Activity, CheckedSession, Observation
from .embedded import EmbeddedServer, dsn_of_running
from .opening import open_store
from .people import PEOPLE_SOURCES, Person, Statement
from .present import ActiveUsers, Member, OpenSessions, Present, UserRequests
from .queries import statement_names
from .read_rows import (
    STEPS,
    USER_ORDERS,
    DayRow,
    Dimension,
    DrawnSession,
    HowSeen,
    KnownGroup,
    KnownServer,
    PseudonymKey,
    SecondsRow,
    SeenSession,
    SessionPlace,
    Step,
    UsageRow,
    UserOrder,
    UserRow,
    Window,
)
from .reading import Reading
from .rebuild import Differences, Progress
from .resources import Measured, Overasking, Resources
from .store import IngestResult, PoolSize, Refusal, Store
from .upkeep import DUTIES, Duty, UpkeepRound, UpkeepRules

__all__ = [
    "DUTIES",
    "PEOPLE_SOURCES",
    "STEPS",
    "USER_ORDERS",
    "ActiveUsers",
    "Activity",
    "Capabilities",
    "CheckedSession",
    "DayRow",
    "Differences",
    "Dimension",
    "DrawnSession",
    "Duty",
    "EmbeddedServer",
    "HowSeen",
    "IngestResult",
    "KnownGroup",
    "KnownServer",
    "Measured",
    "Member",
    "Observation",
    "OpenSessions",
    "Overasking",
    "Person",
    "PoolSize",
    "Present",
    "Progress",
    "PseudonymKey",
    "Reading",
    "Refusal",
    "Resources",
    "SecondsRow",
    "SeenSession",
    "SessionPlace",
    "Statement",
    "Step",
    "Store",
    "UpkeepRound",
    "UpkeepRules",
    "UsageRow",
    "UserOrder",
    "UserRequests",
    "UserRow",
    "Window",
    "dsn_of_running",
    "open_store",
    "statement_names",
]
