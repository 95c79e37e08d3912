"""The database: events in, sessions out.

Called by the service and the command line. Everything that speaks to PostgreSQL is in here; the
statements themselves are in ``sql/``.
"""

from .capabilities import Capabilities
from .checks import Activity, CheckedSession, Observation
from .embedded import EmbeddedServer, dsn_of_running
from .people import PEOPLE_SOURCES, Person, Statement
from .rebuild import Differences, Progress
from .store import IngestResult, Refusal, Store, open_store
from .upkeep import DUTIES, Duty, UpkeepRound, UpkeepRules

__all__ = [
    "DUTIES",
    "PEOPLE_SOURCES",
    "Activity",
    "Capabilities",
    "CheckedSession",
    "Differences",
    "Duty",
    "EmbeddedServer",
    "IngestResult",
    "Observation",
    "Person",
    "Progress",
    "Refusal",
    "Statement",
    "Store",
    "UpkeepRound",
    "UpkeepRules",
    "dsn_of_running",
    "open_store",
]
