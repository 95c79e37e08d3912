"""Where the service's database is: found in the order of ``docs/service.md``, then opened.

Called by ``service.database``, again at each attempt, so that a corrected file counts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .._private_files import read_secret
from ..dsn import check_dsn, dsn_from_environment
from ..errors import DatabaseUnavailable
from ..store import EmbeddedServer, Store, open_store


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
        self,
        dsn: Callable[[], str | None],
        data_dir: Path,
        *,
        pool_connections: int,
        on_query: Callable[[str, float], None] | None = None,
    ) -> None:
        self._dsn = dsn
        self._data_dir = data_dir
        self._pool_connections = pool_connections
        self._on_query = on_query
        self._server: EmbeddedServer | None = None
        self._opened = ""

    async def open(self) -> Store:
        """An open store over a schema that this code knows.

        An empty database is migrated; the embedded one always. Raises DatabaseUnavailable,
        SchemaMismatch or ConfigurationError.
        """
        dsn = self._dsn()
        if dsn is None:
            dsn = await self._start_embedded()
        else:
            await self.close()
        self._opened = dsn
        return await open_store(
            dsn,
            migrate="if_empty" if self._server is None else "always",
            max_connections=self._pool_connections,
            on_query=self._on_query,
        )

    def stale(self) -> bool:
        """Whether another address is configured now, or the embedded server ended by itself."""
        if self._server is not None:
            return self._server.pid is None
        return self._dsn() != self._opened

    async def close(self) -> None:
        """Stops the embedded server, if it was started."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    async def _start_embedded(self) -> str:
        if self._server is not None and self._server.pid is not None:
            return self._opened
        await self.close()
        # known before it runs, so that it is stopped whatever interrupts its start
        self._server = EmbeddedServer(self._data_dir)
        return await self._server.start()
