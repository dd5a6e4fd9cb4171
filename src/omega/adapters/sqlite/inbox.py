"""What other processes may write: letters to the engine, and small configuration documents. Neither needs the engine's lock.

Each call is one short transaction of its own. The engine reads letters in the order of their numbers, which are never given twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from omega.adapters.sql.batches import unknown
from omega.adapters.sql.letters import document_values, letter_values
from omega.adapters.sqlite.folder import existing
from omega.adapters.sqlite.schema import open_writing, opening_error

POST = "INSERT INTO inbox (execution, verb, body, at_us) VALUES (?, ?, ?, ?)"
SETTLE = "DELETE FROM inbox WHERE number = ?"
PUT = "INSERT OR REPLACE INTO documents (kind, name, body, at_us) VALUES (?, ?, ?, ?)"
SWAP = "UPDATE documents SET body = ?, at_us = ? WHERE kind = ? AND name = ? AND body = ?"
FIRST = "INSERT OR IGNORE INTO documents (kind, name, body, at_us) VALUES (?, ?, ?, ?)"
DROP = "DELETE FROM documents WHERE kind = ? AND name = ?"


class SqliteInbox:
    """Writes letters and documents into a folder that an engine may be using."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._connection = connection
        self.folder = folder

    @classmethod
    def open(cls, folder: Path) -> SqliteInbox:
        """Raises what `SqliteReader.open` raises."""
        folder = existing(folder)
        return cls(open_writing(folder), folder)

    def post(self, execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> int:
        """Leave a letter about `execution`; gives its number. Raises InputError: OMG-I003 for an unknown execution, OMG-X001 for a verb."""
        values = letter_values(execution, verb, body, at_us)
        if not self._run("SELECT 1 FROM executions WHERE execution = ?", (execution,)).fetchall():
            raise unknown(execution)
        return self._run(POST, values).lastrowid or 0

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None:
        """Store a document in place of the one of that name."""
        self._run(PUT, document_values(kind, name, body, at_us))

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool:
        """Store a document in the very place of `was` (None: of none); whether that was still there."""
        return self._run(*swapping(kind, name, was, body, at_us)).rowcount > 0

    def drop_document(self, kind: str, name: str) -> bool:
        """Remove a document; whether there was one."""
        return self._run(DROP, (kind, name)).rowcount > 0

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> SqliteInbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self, sql: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise opening_error(error, self.folder) from error


def swapping(kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> tuple[str, tuple[Any, ...]]:
    """The statement, and its values, that store a document in the place of `was`. Raises FlowError (OMG-R003) for one that is too large."""
    values = document_values(kind, name, body, at_us)
    return (FIRST, values) if was is None else (SWAP, (body, at_us, kind, name, was))
