"""The database: events in, sessions out.

Called by the service and the command line. Everything that speaks to PostgreSQL is in here; the
statements themselves are in ``sql/``.
"""

from .capabilities import Capabilities
from .checks import Activity, CheckedSession, Observation
from .embedded import EmbeddedServer, dsn_of_running
from .rebuild import Differences, Progress
from .store import IngestResult, Refusal, Store, open_store
from .upkeep import DUTIES, Duty, UpkeepRound, UpkeepRules

__all__ = [
    "DUTIES",
    "Activity",
    "Capabilities",
    "CheckedSession",
    "Differences",
    "Duty",
    "EmbeddedServer",
    "IngestResult",
    "Observation",
    "Progress",
    "Refusal",
    "Store",
    "UpkeepRound",
    "UpkeepRules",
    "dsn_of_running",
    "open_store",
]
