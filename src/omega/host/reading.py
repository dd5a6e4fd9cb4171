"""An archive: a data folder opened for reading alone, beside a live engine or without one.

Everything that only looks (`runs`, `show`, `replay`, `verify`, `policy explain`, `mcp list`) stands on it. Its world can open what is
sealed and can do nothing else: its store refuses, it has no effectors, and its warden has no policies.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn

from omega.adapters.keystore import KINDS
from omega.adapters.sqlite import SqliteReader
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.presence import holder
from omega.host.settings import Settings
from omega.host.tools import Catalogue
from omega.kernel.errors import StorageError
from omega.kernel.ports import Batch, Committed
from omega.runtime.world import World
from omega.trust.checkpoint import VerifierKey
from omega.warden.admit import Warden


class _Closed:
    """A store that keeps nothing."""

    async def commit(self, batch: Batch) -> Committed:
        self._refuse()

    def behind(self, batch: Batch) -> None:
        self._refuse()

    async def claim(self, execution: str, *, owner: str, lease_us: int, now_us: int) -> int:
        self._refuse()

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StorageError("OMG-S002", "the data folder was opened for reading alone")


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive. Make one with `Archive.open`, and close it."""

    settings: Settings
    reader: SqliteReader
    identity: Identity
    catalogue: Catalogue
    world: World

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None) -> Archive:
        """Read the folder `home` (OMEGA_HOME unless given).

        Raises StorageError: OMG-S002 when there is no data, OMG-S003 when it is newer, OMG-T003 when its keys are missing or not the
        owner's alone; IntegrityError (OMG-S005) when it is damaged.
        """
        settings = Settings.load(home)
        reader = SqliteReader.open(settings.home)
        try:
            missing = [name for name in KINDS if not os.path.lexists(settings.keys / f"{name}.key")]
            if missing:
                raise StorageError(
                    "OMG-T003",
                    f"{settings.keys} has no key {missing[0]}: what is sealed here cannot be opened",
                    advice="restore the folder keys from the same backup as the database",
                )
            clock, entropy = SystemClock(), SystemEntropy()
            identity = Identity.load(settings, entropy)
            catalogue = Catalogue(reader)
        except BaseException:
            reader.close()
            raise
        world = World(
            store=_Closed(),
            reader=reader,
            clock=clock,
            entropy=entropy,
            warden=Warden(None),
            keyring=identity.keyring,
            authority=identity.authority,
            effectors={},
            bind=catalogue.bind,
        )
        return cls(settings, reader, identity, catalogue, world)

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The public key of each tenant's log, as this installation holds it."""
        return tuple(self.log_key(tenant) for tenant in self.reader.tenants())

    def log_key(self, tenant: str) -> VerifierKey:
        """The public key of one tenant's log."""
        return self.identity.sequencer.key(tenant)

    def live(self) -> bool:
        """Whether an engine works in this folder now."""
        return holder(self.settings.home) is not None

    def close(self) -> None:
        """Let go of the database."""
        self.reader.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
