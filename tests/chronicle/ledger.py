"""A small log in memory for the tests of the chronicle: it grows by real commits and answers as a `Reader` does."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from omega.chronicle.export import write_export
from omega.chronicle.record import Leaf, encode
from omega.chronicle.sequencer import LogSequencer
from omega.kernel.journal import Kind, Note, Row, encode_meta
from omega.kernel.ports import Line

TENANT = "acme"


class SeededSigner:
    """An Ed25519 signer from a fixed seed, so that every run of the tests signs alike."""

    def __init__(self, seed: int) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.name = f"seed-{seed}"
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


OPERATOR = SeededSigner(1)
ATTACKER = SeededSigner(2)


def origin(tenant: str) -> str:
    return f"test.omega/{tenant}"


def sequencer(signer: SeededSigner = OPERATOR) -> LogSequencer:
    return LogSequencer(signer, origin=origin)


@dataclass
class Ledger:
    """One tenant's stored log: what a store holds and an attacker with the disk can rewrite."""

    tenant: str = TENANT
    stored: list[bytes] = field(default_factory=list)
    points: list[tuple[int, bytes]] = field(default_factory=list)
    state: bytes = b""
    journals: dict[str, list[Row]] = field(default_factory=dict)

    def commit(self, leaves: Sequence[bytes], signer: SeededSigner = OPERATOR) -> None:
        grown = sequencer(signer).grow(self.tenant, self.state, leaves, at_us=0)
        self.stored += leaves
        self.points.append((grown.size, grown.checkpoint))
        self.state = grown.state

    def copy(self) -> Ledger:
        return Ledger(self.tenant, list(self.stored), list(self.points), self.state, dict(self.journals))

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]:
        return self.stored[start:end]

    def checkpoints(self, tenant: str) -> list[tuple[int, bytes]]:
        return self.points

    def tenants(self) -> list[str]:
        return [self.tenant]

    def rows(self, execution: str) -> list[Row]:
        return self.journals.get(execution, [])

    def key(self, execution: str) -> bytes | None:
        return None

    def line(self, execution: str) -> Line | None:
        return next((line for line in self.lines() if line.execution == execution), None)

    def lines(self, *, tenant: str | None = None, status: str | None = None, limit: int = 50) -> list[Line]:
        return [
            Line(
                execution=execution,
                tenant=self.tenant,
                flow="f",
                version="1",
                status="done",
                principal="person:ada",
                target="",
                epoch=1,
                owner="",
                lease_us=0,
                started_us=0,
                updated_us=0,
            )
            for execution in self.journals
        ][:limit]

    def exported(self, executions: Iterable[str] = (), signer: SeededSigner = OPERATOR) -> bytes:
        out = io.BytesIO()
        write_export(self, self.tenant, out, keys=[sequencer(signer).key(self.tenant)], executions=executions)
        return out.getvalue()


def leaf(number: int, tenant: str = TENANT) -> bytes:
    return encode(Leaf(kind="admit", tenant=tenant, execution=f"exe_{number // 5}", step=f"step{number}", at_us=1_000_000 + number))


def ledger(sizes: Sequence[int] = (3, 1, 4, 2, 6, 1, 8), signer: SeededSigner = OPERATOR) -> Ledger:
    """A log that grew by commits of `sizes` leaves."""
    made = Ledger()
    for size in sizes:
        made.commit([leaf(len(made.stored) + at) for at in range(size)], signer)
    return made


def journal(execution: str, size: int) -> list[Row]:
    """`size` rows of one execution."""
    rows = [Row(execution, 0, Kind.STARTED, "", b"start")]
    rows += [Row(execution, at, Kind.VALUE, f"step{at}", encode_meta(Note(by="t", at_us=at)), b"sealed") for at in range(1, size)]
    return rows
