"""Where the service's database is: found in the order of ``docs/service.md``, then opened.

Called by ``service.database``, again at each attempt, so that a corrected file counts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..dsn import check_dsn, dsn_from_environment
from ..errors import DatabaseUnavailable
from ..store import EmbeddedServer, Store, open_store
from .credentials import read_secret


def find_dsn(dsn: str, dsn_file: str, data_dir: Path, environment: Mapping[str, str]) -> str | None:
    """The database's address: ``dsn``, the text of ``dsn_file``, ``secrets/dsn`` of the data
    folder, the environment; None, which means the embedded server, if none of them is there.

    Raises ConfigurationError for one that is there and cannot be used.
    """
    if dsn:
        return check_dsn(dsn)
    if dsn_file:
        found = read_secret(Path(dsn_file))
        if found is None:
            raise DatabaseUnavailable(
                f"found no file {dsn_file}; expected the database's DSN in it; "
                "write it or correct MetricsService.dsn_file"
            )
        return check_dsn(found)
    found = read_secret(data_dir / "secrets" / "dsn")
    return check_dsn(found) if found else dsn_from_environment(environment)


class ConfiguredSource:
    """Opens the configured database, or starts the embedded server and opens that."""

    def __init__(
        self, dsn: Callable[[], str | None], data_dir: Path, *, pool_connections: int
    ) -> None:
        self._dsn = dsn
        self._data_dir = data_dir
        self._pool_connections = pool_connections
        self._server: EmbeddedServer | None = None
        self._embedded_dsn = ""

    async def open(self) -> Store:
        """An open store over a schema that this code knows.

        An empty database is migrated; the embedded one always. Raises DatabaseUnavailable,
        SchemaMismatch or ConfigurationError.
        """
        dsn = self._dsn()
        if dsn is not None:
            return await open_store(dsn, migrate="if_empty", max_connections=self._pool_connections)
        if self.ended():
            await self.close()
        if self._server is None:
            server = EmbeddedServer(self._data_dir)
            self._embedded_dsn = await server.start()
            self._server = server
        return await open_store(
            self._embedded_dsn, migrate="always", max_connections=self._pool_connections
        )

    def ended(self) -> bool:
        """Whether the embedded server was started and has ended by itself."""
        return self._server is not None and self._server.pid is None

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
