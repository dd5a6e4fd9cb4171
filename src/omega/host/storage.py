"""Where an installation keeps its records, and the one place that decides with which adapter they are opened.

SQLite in OMEGA_HOME has one engine at a time; a PostgreSQL database (OMEGA_STORE) any number of them. The keys stay in OMEGA_HOME/keys in
both cases and are the same on every machine of an installation: the first one notes in the database which they are, and one that comes with
others is refused before it writes anything that nobody else could read.
"""

from __future__ import annotations

import os
import platform
import re
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from omega.adapters.keystore import KINDS
from omega.adapters.memory import MemoryWakeups
from omega.adapters.sqlite import SqliteInbox, SqliteReader, SqliteStore
from omega.host.settings import WAKEUPS, Settings
from omega.kernel.errors import InputError, StorageError
from omega.kernel.ports import Bus, Letter, Reader, Sequencer, Store, Wakeups

KEYS = "installation"
"""The kind of the document that says which keys the records belong to; its name is `keys`."""

EMBEDDED = "embedded"
"""The owner's name where there is only one engine at a time."""

_KEYS_ADVICE = "copy the folder `keys` of the OMEGA_HOME that made these records into this one"


class Held(Protocol):
    """Something open that is let go of."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Archives(Reader, Held, Protocol):
    """What is read of an installation: executions, logs, documents, letters."""

    @property
    def installation(self) -> str: ...

    def letters(self, after: int = 0) -> list[Letter]: ...

    def document(self, kind: str, name: str) -> bytes | None: ...

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]: ...


class Mailbox(Held, Protocol):
    """What any process may write beside the engines: letters and documents."""

    def post(self, execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> int: ...

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None: ...

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool: ...

    def drop_document(self, kind: str, name: str) -> bool: ...


class EngineStore(Store, Archives, Mailbox, Protocol):
    """Everything that an engine uses of its store."""

    owner: str

    def settle(self, number: int) -> None: ...

    def inbox_changed(self) -> bool: ...

    async def flush(self) -> None: ...

    async def purge(self, tenant: str) -> int: ...


@runtime_checkable
class Telling(Protocol):
    """Records on a server that tells the time."""

    async def wall_us(self) -> int: ...


@runtime_checkable
class Losing(Protocol):
    """Records whose writer stops for good when a commit fails: `lost` says why, and is empty while it writes."""

    @property
    def lost(self) -> str: ...


@runtime_checkable
class Inspecting(Protocol):
    """Records in a file whose pages can be checked."""

    def damage(self) -> list[str]: ...


def open_store(settings: Settings, *, sequencer: Sequencer, now_us: Callable[[], int], token: str, lease_us: int) -> EngineStore:
    """Become an engine on the records, with leases of `lease_us`; `token` tells this engine's name from that of any other.

    Raises StorageError (S codes).
    """
    if not settings.store.shared:
        return SqliteStore.open(settings.home, sequencer=sequencer, owner=EMBEDDED, now_us=now_us)
    from omega.adapters.postgres import PostgresStore

    machine = re.sub(r"[^A-Za-z0-9.-]", "-", platform.node())[:24] or "machine"
    owner = f"{machine}-{os.getpid()}-{token}"
    return PostgresStore.open(settings.store.dsn, sequencer=sequencer, owner=owner, now_us=now_us, lease_us=lease_us)


def demand_not_lost(store: EngineStore) -> None:
    """Raises StorageError (OMG-S004) when nothing can be written to `store` any more: it is to be closed, and another one opened."""
    if isinstance(store, Losing) and store.lost:
        raise StorageError("OMG-S004", f"the store has stopped: {store.lost}")


async def told_by(store: EngineStore) -> int:
    """The wall clock of a store that several engines share, in Unix microseconds. Raises StorageError."""
    if not isinstance(store, Telling):
        raise StorageError("OMG-S004", "these records have no clock of their own")
    return await store.wall_us()


def open_reader(settings: Settings) -> Archives:
    """Read the records, beside engines or without one. Raises StorageError (OMG-S002, OMG-S003), IntegrityError (OMG-S005)."""
    if not settings.store.shared:
        return SqliteReader.open(settings.home)
    from omega.adapters.postgres import PostgresReader

    return PostgresReader.open(settings.store.dsn)


def open_mailbox(settings: Settings) -> Mailbox:
    """Write letters and documents beside engines. Raises what `open_reader` raises."""
    if not settings.store.shared:
        return SqliteInbox.open(settings.home)
    from omega.adapters.postgres import PostgresInbox

    return PostgresInbox.open(settings.store.dsn)


async def open_wakeups(settings: Settings, *, listening: bool) -> Wakeups | None:
    """Where hints to workers travel; None where they need no way of their own, because the store itself gives them when it commits.

    Raises StorageError (OMG-S002) when the address cannot be reached, InputError (OMG-X001) for one that cannot be meant.
    """
    if settings.wakeups:
        if not settings.wakeups.startswith(("nats://", "tls://")):
            raise InputError(
                "OMG-X001", f"{WAKEUPS} is no address of a NATS server", advice="write it as nats://HOST:PORT or tls://HOST:PORT"
            )
        from omega.adapters.nats import NatsWakeups

        return await NatsWakeups.open(settings.wakeups, tls=_mutual(settings) if settings.wakeups.startswith("tls://") else None)
    if not settings.store.shared:
        return MemoryWakeups()
    if not listening:
        return None
    from omega.adapters.postgres import PostgresWakeups

    return PostgresWakeups.open(settings.store.dsn)


async def open_bus(settings: Settings) -> Bus:
    """What processes that share records tell each other by: the NATS server of the wake-ups, else the database itself.

    Raises StorageError (OMG-S002) when it cannot be reached.
    """
    if settings.wakeups:
        from omega.adapters.bus import NatsBus

        return await NatsBus.open(settings.wakeups, tls=_mutual(settings) if settings.wakeups.startswith("tls://") else None, name="omega")
    from omega.adapters.postgres import PostgresBus

    return await PostgresBus.open(settings.store.dsn)


def _mutual(settings: Settings) -> Callable[[], ssl.SSLContext] | None:
    """TLS with this installation's own certificate, where it has an authority; None leaves it to the roots of the system."""
    from omega.host.workload import calling, established

    return calling(settings, f"engine/{os.getpid()}") if established(settings) else None


def missing_keys(settings: Settings) -> list[str]:
    """The keys of an installation that are not in its key store."""
    return [name for name in KINDS if not os.path.lexists(settings.keys / f"{name}.key")]


def demand_keys(settings: Settings) -> None:
    """Raises StorageError (OMG-T003) when the key store lacks keys: what is sealed in the records could not be opened."""
    missing = missing_keys(settings)
    if missing:
        cause = f"{settings.keys} has no key {missing[0]}: what is sealed in {settings.place} cannot be opened"
        raise StorageError("OMG-T003", cause, advice="restore the folder keys from the same backup as the database")


def may_make_keys(settings: Settings) -> None:
    """Before keys are made: raises StorageError (OMG-T003) when shared records belong to others already."""
    if not settings.store.shared or not missing_keys(settings):
        return
    try:
        reader = open_reader(settings)
    except StorageError as error:
        if error.code != "OMG-S002":
            raise
        return  # no tables yet, or no server: whoever opens the store next says which
    with reader:
        if reader.document(KEYS, "keys") is not None:
            raise StorageError("OMG-T003", f"{settings.place} is in use with keys that {settings.keys} does not hold", advice=_KEYS_ADVICE)


def note_keys(settings: Settings, store: EngineStore, public: bytes, at_us: int) -> None:
    """Note whose keys shared records belong to, or compare. Raises StorageError (OMG-T003) when they are another installation's."""
    if not settings.store.shared:
        return
    known = store.document(KEYS, "keys")
    if known is None:
        store.put_document(KEYS, "keys", public.hex().encode(), at_us)
    elif known != public.hex().encode():
        cause = f"the keys in {settings.keys} are not those that {settings.place} was written with"
        raise StorageError("OMG-T003", cause, advice=_KEYS_ADVICE)
