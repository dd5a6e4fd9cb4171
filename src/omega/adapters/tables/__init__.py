"""Tables of features on SQLite and PostgreSQL (`kernel.ports.Tables`), and the effector that serves one feature's requests on them.

    statements   what a transaction may say, and that it says it for its own tenant alone
    shape        how tables are made, migrated and put under lock
    turns        one change per step: the change and the note of it are one transaction
    sqlite       `tables.db` in the data folder, one connection in one thread
    postgres     the schema of the records, one tenant-bound transaction per call

SQLAlchemy is loaded on first use, with the extra `server`. Nothing here knows a feature: what is changed and asked is a `Schema`.
"""

from omega.adapters.tables.effector import TablesEffector
from omega.adapters.tables.opening import open_tables

__all__ = ["TablesEffector", "open_tables"]
