"""The database: events in, sessions out.

Called by the service and the command line. Everything that speaks to PostgreSQL is in here; the
statements themselves are in ``sql/``.
"""

from .capabilities import Capabilities
from .checks import Activity, CheckedSession, Observation
from .embedded import EmbeddedServer, dsn_of_running
from .present import ActiveUsers, Member, OpenSessions, Present, UserRequests
from .queries import statement_names
from .store import IngestResult, PoolSize, Refusal, Store, open_store
from .upkeep import DUTIES, Duty, UpkeepRound, UpkeepRules

__all__ = [
    "DUTIES",
    "ActiveUsers",
    "Activity",
    "Capabilities",
    "CheckedSession",
    "Duty",
    "EmbeddedServer",
    "IngestResult",
    "Member",
    "Observation",
    "OpenSessions",
    "PoolSize",
    "Present",
    "Refusal",
    "Store",
    "UpkeepRound",
    "UpkeepRules",
    "UserRequests",
    "dsn_of_running",
    "open_store",
    "statement_names",
]
