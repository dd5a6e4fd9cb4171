"""Which tables an installation has, opened on first use: most runs touch none, and SQLAlchemy takes a fifth of a second to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omega.adapters.tables.place import DATABASE
from omega.kernel.errors import InputError
from omega.kernel.ports import Schema, Tables, Turn

_EXTRA = "install the extra `server` of this package: it brings SQLAlchemy"


def open_tables(folder: Path, dsn: str = "") -> Tables:
    """The tables in a data folder, or in the PostgreSQL database at `dsn`. Nothing is opened, and nothing loaded, before they are used."""
    return _Lazy(folder, dsn)


class _Lazy:
    """Tables that come into being when they are first asked."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self._folder, self._dsn = folder, dsn
        self._tables: Tables | None = None

    async def change(self, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn) -> Any:
        return await self._opened().change(schema, name, values, turn)

    async def look(self, schema: Schema, name: str, values: Mapping[str, Any], tenant: str) -> Any:
        return await self._opened().look(schema, name, values, tenant)

    async def stands(self) -> bool:
        return bool(self._dsn) or (self._folder / DATABASE).exists()

    async def erase(self, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn, executions: Sequence[str] = ()) -> Any:
        return await self._opened().erase(schema, name, values, turn, executions)

    async def purge(self, tenant: str) -> int:
        return await self._opened().purge(tenant)

    async def aclose(self) -> None:
        tables, self._tables = self._tables, None
        if tables is not None:
            await tables.aclose()

    def _opened(self) -> Tables:
        if self._tables is None:
            self._tables = self._open()
        return self._tables

    def _open(self) -> Tables:
        """Raises InputError (OMG-X001) when SQLAlchemy is not installed."""
        try:
            if self._dsn:
                from omega.adapters.tables.postgres import PostgresTables

                return PostgresTables(self._dsn)
            from omega.adapters.tables.sqlite import SqliteTables
        except ImportError as error:
            raise InputError("OMG-X001", "features with tables of their own need SQLAlchemy", advice=_EXTRA) from error
        return SqliteTables(self._folder)
