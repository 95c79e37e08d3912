"""The database: events in, sessions out.

Called by the service and the command line. Everything that speaks to PostgreSQL is in here; the
statements themselves are in ``sql/``.
"""
