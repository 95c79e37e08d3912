"""``started`` as the Hub's database stores it, which is what a session's id is derived from."""

from __future__ import annotations

from datetime import datetime, timedelta


def stored_started(started: datetime, dialect: str) -> datetime:
    """The value that the Hub's REST API will show for a start that is still in memory.

    SQLite and PostgreSQL keep microseconds. JupyterHub's column is a plain DATETIME, which on
    MySQL rounds to whole seconds and on MariaDB cuts to them
    (https://dev.mysql.com/doc/refman/8.4/en/fractional-seconds.html,
    https://mariadb.com/kb/en/microseconds-in-mariadb/). ``dialect`` is SQLAlchemy's name, with
    ``mariadb`` for a MariaDB behind the ``mysql`` dialect.
    """
    if dialect == "mariadb":
        return started.replace(microsecond=0)
    if dialect == "mysql":
        return (started + timedelta(microseconds=500_000)).replace(microsecond=0)
    return started
