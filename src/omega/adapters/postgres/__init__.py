"""The system of record in a PostgreSQL database: any number of engines write it at once, each its own executions."""

from omega.adapters.postgres.bus import PostgresBus
from omega.adapters.postgres.records import PostgresInbox, PostgresReader
from omega.adapters.postgres.store import PostgresStore
from omega.adapters.postgres.wakeups import PostgresWakeups

__all__ = ["PostgresBus", "PostgresInbox", "PostgresReader", "PostgresStore", "PostgresWakeups"]
