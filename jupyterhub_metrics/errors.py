"""The exception family. A message says what was found, what was expected, and the remedy."""

from __future__ import annotations


class MetricsError(Exception):
    """Anything this software raises on purpose; its text is one line fit for a person to read."""


class ConfigurationError(MetricsError):
    """A setting is missing, malformed or contradicts another."""


class MalformedEvent(MetricsError):
    """An event breaks the wire format; :attr:`field` names what broke it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class DatabaseUnavailable(MetricsError):
    """The database cannot be reached or refused the credentials."""


class SchemaMismatch(MetricsError):
    """The database's schema is not the one this code knows."""


class SourceUnavailable(MetricsError):
    """The Hub's REST API, the cluster or another source gave no answer, or not all of one."""


class BackupRefused(MetricsError):
    """A backup cannot be written where it should, or is not one that can be restored there."""


class UnknownZone(MetricsError):
    """The database knows no time zone of that name."""
