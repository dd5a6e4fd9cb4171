"""The system of record in one SQLite folder: one engine writes it, any number of processes read it and leave it letters."""

from omega.adapters.sqlite.inbox import SqliteInbox
from omega.adapters.sqlite.reader import SqliteReader
from omega.adapters.sqlite.store import SqliteStore
from omega.adapters.sqlite.writer import Counts

__all__ = ["Counts", "SqliteInbox", "SqliteReader", "SqliteStore"]
