"""An archive: the records of an installation opened for reading alone, beside live engines or without one.

Everything that only looks (`runs`, `show`, `replay`, `verify`, `policy explain`, `mcp list`) stands on it. Its world can open what is
sealed and can do nothing else: its store refuses, it has no effectors, and its warden has no policies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn

from omega.adapters.blobs import open_blobs
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.lasting import lasting_signer
from omega.host.presence import holder
from omega.host.settings import Settings
from omega.host.storage import Archives, demand_keys, open_reader
from omega.host.tools import Catalogue
from omega.kernel.errors import StorageError
from omega.kernel.ports import Batch, Committed, Erased, Line, Signer, Taken, Want
from omega.runtime.world import World
from omega.trust.checkpoint import VerifierKey, parse
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

    async def release(self, execution: str) -> None:
        self._refuse()

    async def take(self, want: Want) -> list[Taken]:
        self._refuse()

    async def wake(self, executions: Sequence[str], now_us: int) -> None:
        self._refuse()

    async def next_due(self, queues: Sequence[str], now_us: int) -> int | None:
        self._refuse()

    async def compact(self, tenant: str, ended_before_us: int, limit: int) -> int:
        self._refuse()

    async def erase(self, tenant: str, executions: Sequence[str]) -> Erased:
        self._refuse()

    async def redact(self, tenant: str, execution: str, payloads: Mapping[int, bytes], key: bytes, label: str) -> bool:
        self._refuse()

    async def prune(self, tenant: str, leaves: Mapping[int, bytes]) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StorageError("OMG-S002", "the records were opened for reading alone")


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive. Make one with `Archive.open`, and close it."""

    settings: Settings
    reader: Archives
    identity: Identity
    catalogue: Catalogue
    world: World

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None) -> Archive:
        """Read the records of the folder `home` (OMEGA_HOME unless given), or of the database that OMEGA_STORE names.

        Raises StorageError: OMG-S002 when there is no data, OMG-S003 when it is newer, OMG-T003 when its keys are missing or not the
        owner's alone; IntegrityError (OMG-S005) when it is damaged.
        """
        return cls.of(Settings.load(home))

    @classmethod
    def of(cls, settings: Settings) -> Archive:
        """The same, of an installation that is known already. Raises what `open` raises."""
        reader = open_reader(settings)
        try:
            demand_keys(settings)
            clock, entropy = SystemClock(), SystemEntropy()
            identity = Identity.load(settings, entropy)
            catalogue = Catalogue(reader)
            blobs = open_blobs(settings.blobs) if settings.blobs else None
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
            blobs=blobs,
        )
        return cls(settings, reader, identity, catalogue, world)

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The public key of each tenant's log, as this installation holds it."""
        return tuple(self.log_key(tenant) for tenant in self.reader.tenants())

    def log_key(self, tenant: str) -> VerifierKey:
        """The public key of one tenant's log."""
        return self.identity.sequencer.key(tenant)

    def log_keys(self, tenant: str) -> tuple[VerifierKey, ...]:
        """The same, with that of the second signature (ML-DSA-65) once a checkpoint carries it."""
        first, *lasting = self.identity.sequencer.keys(tenant)
        notes = [parse(note) for _, note in reversed(self.reader.checkpoints(tenant))] if lasting else []
        begun = [key for key in lasting if any(line.key_id == key.key_id for note in notes for line in note.signatures)]
        return (first, *begun)

    def lasting(self) -> Signer | None:
        """What signs a second time what is taken away to be kept (`omega.host.lasting`). Raises StorageError (OMG-T003)."""
        return lasting_signer(self.identity.keys, self.reader)

    def lasting_key(self, tenant: str) -> VerifierKey | None:
        """The public key of that for one tenant's log. Raises StorageError (OMG-T003)."""
        signer = self.lasting()
        return None if signer is None else VerifierKey.of(self.log_key(tenant).name, signer.public)

    def live(self) -> bool:
        """Whether the one engine of the folder works now; where several share a database, each line tells by its lease (`in_hands`)."""
        return not self.settings.store.shared and holder(self.settings.home) is not None

    def in_hands(self, line: Line) -> bool:
        """Whether an engine has `line` in hand, as far as can be told from here."""
        if self.settings.store.shared:
            return line.lease_us > self.world.clock.now_us()
        return self.live()

    def close(self) -> None:
        """Let go of the database."""
        self.reader.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
