"""Turns what a driver of PostgreSQL raises into this software's own exceptions.

Called by both monitors. No message carries a password: the drivers' own texts hold none but where
an address cannot be read, and then theirs is not passed on.
"""

from __future__ import annotations

from typing import Final

from ..errors import ConfigurationError, DatabaseUnavailable, MetricsError, SchemaMismatch

_NO_SCHEMA: Final = ("42883", "3F000")
"""undefined_function, invalid_schema_name"""

_REFUSED: Final = ("22023", "42602", "42P07", "42P01", "54000")
"""What the ring's functions raise themselves; the text is fit for people."""

_BAD_SAMPLE: Final = ("22", "23")
"""Classes data_exception and integrity_constraint_violation."""


class SampleRefused(MetricsError):
    """The database refuses values of a sample and always will."""


def failure(error: BaseException) -> MetricsError:
    """What an error of asyncpg, psycopg or psycopg2 means."""
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
    text = " ".join(str(error).split("CONTEXT:")[0].split()) or type(error).__name__
    if code in _NO_SCHEMA:
        return SchemaMismatch(
            f"found a database without the functions of the ring ({text}); expected them; run "
            "jupyterhub-metrics db migrate against it"
        )
    if code in _REFUSED:
        return ConfigurationError(text)
    if code == "42501":
        return DatabaseUnavailable(
            f"the database forbids what samplers need: {text}; expected the role sampler; run "
            "jupyterhub-metrics db roles --create"
        )
    if code.startswith(_BAD_SAMPLE):
        return SampleRefused(
            f"the database refuses a sample: {text}; expected what the ring's columns hold"
        )
    return DatabaseUnavailable(
        f"the database is not available: {text}; expected it to answer; check that it runs and "
        "can be reached"
    )
