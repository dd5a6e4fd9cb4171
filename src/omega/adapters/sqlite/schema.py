"""The tables of format 1, how a database is opened, and what SQLite's errors mean to us.

    meta         format version, engine epoch, installation id
    executions   one line per execution; `number` is its short name inside this file
    begun        when executions of queues with a rate were taken up
    journal      the rows, in the order they were written; (execution, seq) is unique
    blobs        payloads above INLINE_LIMIT, so that journal pages stay dense
    keys         the wrapped data key of each execution: destroying it destroys the payloads
    leaves       the tenant logs; logs: where each one stands; checkpoints: every signed note
    inbox        letters from other processes; documents: small configuration

The journal is a plain append-only table with an index over two integers rather than a table clustered by (execution, seq): two hundred
executions that each add a row then dirty a dozen pages instead of two hundred. Measured with 200 executions x 50 rows and one commit per
round: 2.5 us of CPU per row against 8-10 us, and a ninth of the bytes in the write-ahead log.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from omega.adapters.sqlite.folder import DATABASE, FILE_MODE
from omega.kernel.errors import IntegrityError, OmegaError, StorageError
from omega.kernel.journal import FORMAT

APPLICATION_ID = 0x4F4D4547
"""`OMEG` in the header of the file, so that `file` and a stranger's tool can tell what it is."""

INLINE_LIMIT = 64 << 10
"""Largest payload kept inside its journal row, in bytes."""

BUSY_S = 30.0
"""How long to wait for a letter writer in another process, which holds the file for a millisecond or so."""

CHECKED_BYTES = 8 << 20
"""Files up to this size are checked page by page when an engine opens them; larger ones only by `damage`, which doctor calls."""

JOURNAL_SIZE_LIMIT = 64 << 20
"""Longest write-ahead log that is left on disk after it was emptied, in bytes."""

CACHE_KIB = 2_000

OLDEST_SQLITE = (3, 37)
"""The first SQLite with STRICT tables (2021)."""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE executions (
    number INTEGER PRIMARY KEY,
    execution TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    flow TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL,
    principal TEXT NOT NULL,
    target TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    lease_us INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    digest TEXT NOT NULL,
    queue TEXT NOT NULL,
    key TEXT NOT NULL,
    priority INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    parent TEXT NOT NULL,
    labels TEXT NOT NULL,
    origin TEXT NOT NULL,
    origin_rows INTEGER NOT NULL,
    woken_us INTEGER NOT NULL DEFAULT 0,
    compacted INTEGER NOT NULL DEFAULT 0,
    ready_us INTEGER GENERATED ALWAYS AS (max(due_us, lease_us)) VIRTUAL
) STRICT;
CREATE INDEX executions_by_status ON executions (status, number);
CREATE INDEX executions_by_parent ON executions (parent, number) WHERE parent <> '';
CREATE INDEX executions_by_origin ON executions (origin) WHERE origin <> '';
CREATE INDEX executions_by_end ON executions (tenant, updated_us) WHERE status IN ('done', 'failed', 'cancelled') AND compacted = 0;
CREATE INDEX executions_running ON executions (queue, lease_us) WHERE status = 'running' AND queue <> '';
CREATE INDEX executions_by_turn ON executions (queue, digest, priority, tenant, ready_us) WHERE due_us > 0;
CREATE INDEX executions_by_key ON executions (queue, digest, priority, tenant, key, ready_us) WHERE due_us > 0;
CREATE INDEX executions_by_moment ON executions (queue, ready_us) WHERE due_us > 0;
CREATE TABLE begun (queue TEXT NOT NULL, at_us INTEGER NOT NULL) STRICT;
CREATE INDEX begun_by_moment ON begun (queue, at_us);
CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    execution INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    position TEXT NOT NULL,
    meta BLOB NOT NULL,
    payload BLOB,
    blob INTEGER
) STRICT;
CREATE UNIQUE INDEX journal_by_execution ON journal (execution, seq);
CREATE TABLE blobs (id INTEGER PRIMARY KEY, execution INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE keys (execution INTEGER PRIMARY KEY, wrapped BLOB NOT NULL) STRICT;
CREATE TABLE leaves (tenant TEXT NOT NULL, idx INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (tenant, idx)) STRICT, WITHOUT ROWID;
CREATE TABLE logs (tenant TEXT PRIMARY KEY, size INTEGER NOT NULL, state BLOB NOT NULL, checkpoint BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
    tenant TEXT NOT NULL, size INTEGER NOT NULL, note BLOB NOT NULL, PRIMARY KEY (tenant, size)
) STRICT, WITHOUT ROWID;
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    execution TEXT NOT NULL,
    verb TEXT NOT NULL,
    body BLOB NOT NULL,
    at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE documents (
    kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, at_us INTEGER NOT NULL, PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
"""

_TABLES = frozenset({"meta", "executions", "journal", "blobs", "keys", "leaves", "logs", "checkpoints", "inbox", "documents", "begun"})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNUSABLE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOLFS})


def create(folder: Path, *, installation: str) -> None:
    """Make the database of a new folder under another name and rename it into place: none is seen half-made, so an empty one is damage."""
    check_library()
    fresh = folder / f"{DATABASE}.new"
    try:
        for leftover in (fresh, fresh.with_name(fresh.name + "-wal"), fresh.with_name(fresh.name + "-shm")):
            leftover.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            _lay_out(connection, installation)
        finally:
            connection.close()
        fresh.rename(folder / DATABASE)
        sync_folder(folder)
    except OSError as error:
        raise StorageError("OMG-S002", f"{folder} cannot hold a database: {(error.strerror or 'unknown').lower()}") from error
    except sqlite3.Error as error:
        raise opening_error(error, folder) from error


def _lay_out(connection: sqlite3.Connection, installation: str) -> None:
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.executescript(f"BEGIN;{SCHEMA}")
    values = [("format", FORMAT), ("engine", 0), ("installation", installation)]
    connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", values)
    connection.execute("COMMIT")


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_writing(folder: Path) -> sqlite3.Connection:
    """A connection that may write, for the writer thread or a letter writer. It never empties the write-ahead log on its own."""
    connection = _connect(folder, "mode=rw")
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={JOURNAL_SIZE_LIMIT}")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        check_format(connection, folder)
    except sqlite3.Error as error:
        connection.close()
        raise opening_error(error, folder) from error
    except OmegaError:
        connection.close()
        raise
    return connection


def open_reading(folder: Path) -> sqlite3.Connection:
    """A connection that only reads, beside a live engine or without one; also from a folder that nobody can write."""
    connection = _connect(folder, "mode=ro")
    try:
        check_format(connection, folder)
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in _UNUSABLE or _pending(folder):
            raise opening_error(error, folder) from error
        # Without a folder to put its shared memory into, SQLite reads a log-less database only when told that nobody writes it.
        connection = _connect(folder, "mode=ro&immutable=1")
        _check_or_close(connection, folder)
    except sqlite3.Error as error:
        connection.close()
        raise opening_error(error, folder) from error
    except OmegaError:
        connection.close()
        raise
    return connection


def _check_or_close(connection: sqlite3.Connection, folder: Path) -> None:
    try:
        check_format(connection, folder)
    except sqlite3.Error as error:
        connection.close()
        raise opening_error(error, folder) from error
    except OmegaError:
        connection.close()
        raise


def _pending(folder: Path) -> bool:
    log = folder / f"{DATABASE}-wal"
    return log.exists() and log.stat().st_size > 0


def check_library() -> None:
    """Raises StorageError (OMG-S002) when the SQLite of this Python is too old for the tables."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        cause = f"this Python has SQLite {sqlite3.sqlite_version}, 3.37 or later is needed"
        raise StorageError("OMG-S002", cause, advice="use a Python with a newer SQLite, for example one installed by uv")


def _connect(folder: Path, mode: str) -> sqlite3.Connection:
    check_library()
    path = folder / DATABASE
    try:
        if path.stat().st_size == 0:
            raise IntegrityError("OMG-S005", f"{path} is empty")
        return sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
    except OSError as error:
        raise StorageError("OMG-S002", f"{path} cannot be opened: {(error.strerror or 'unknown').lower()}") from error
    except sqlite3.Error as error:
        raise opening_error(error, folder) from error


def check_format(connection: sqlite3.Connection, folder: Path) -> None:
    """Refuse what this release cannot read: StorageError OMG-S003 (newer format), IntegrityError OMG-S005 (tables missing)."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "meta" not in tables:
        raise IntegrityError("OMG-S005", f"{folder / DATABASE} is not a database of omega")
    found = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    if found is None or not isinstance(found[0], int):
        raise IntegrityError("OMG-S005", f"{folder / DATABASE} does not say its format")
    if found[0] > FORMAT:
        raise StorageError(
            "OMG-S003", f"{folder} has format {found[0]}, this release reads up to {FORMAT}", details={"found": found[0], "known": FORMAT}
        )
    if missing := _TABLES - tables:
        raise IntegrityError("OMG-S005", f"{folder / DATABASE} lacks tables", details={"tables": sorted(missing)})


def damage(connection: sqlite3.Connection, *, limit: int = 20) -> list[str]:
    """What SQLite finds wrong with its pages and indexes, one sentence each; empty when sound. Reads the whole file."""
    try:
        found = [str(line) for (line,) in connection.execute(f"PRAGMA integrity_check({limit})")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def check_pages(connection: sqlite3.Connection, folder: Path) -> None:
    """Compare the length of the file with what it says, and read every page of a small one. Raises IntegrityError (OMG-S005)."""
    size = (folder / DATABASE).stat().st_size
    (pages,), (page_size,) = connection.execute("PRAGMA page_count").fetchone(), connection.execute("PRAGMA page_size").fetchone()
    if not _pending(folder) and size < pages * page_size:
        raise IntegrityError("OMG-S005", f"{folder / DATABASE} has {size} bytes, not {pages * page_size}")
    if size > CHECKED_BYTES:
        return
    first = connection.execute("PRAGMA quick_check(1)").fetchone()
    if first != ("ok",):
        raise IntegrityError("OMG-S005", f"{folder / DATABASE} is damaged", details={"found": str(first and first[0])[:200]})


def opening_error(error: sqlite3.Error, folder: Path) -> OmegaError:
    """What a failure to open or read `folder` means: damaged (OMG-S005), not usable (OMG-S002), or failed (OMG-S004)."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code, the rest refines it
    if code in _DAMAGED:
        return IntegrityError("OMG-S005", f"{folder / DATABASE} is damaged: {error}")
    if code in _UNUSABLE:
        return StorageError("OMG-S002", f"{folder} cannot be used: {error}")
    return StorageError("OMG-S004", f"{folder} failed: {error}")
