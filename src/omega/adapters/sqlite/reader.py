"""Reading a data folder from any process, beside a live engine or without one."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from omega.adapters.sqlite.folder import existing
from omega.adapters.sqlite.records import Records
from omega.adapters.sqlite.schema import open_reading


class SqliteReader(Records):
    """A Reader on its own read-only connection. It takes no lock that an engine would wait for."""

    @classmethod
    def open(cls, folder: Path) -> SqliteReader:
        """Read `folder`. Raises StorageError (OMG-S002 nothing there, OMG-S003 newer format) or IntegrityError (OMG-S005 damaged)."""
        folder = existing(folder)
        return cls(open_reading(folder), folder)

    def close(self) -> None:
        """Let go of the file."""
        self._reading.close()

    def __enter__(self) -> SqliteReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
