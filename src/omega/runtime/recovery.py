"""Recovery: what is recorded of an execution, opened and checked, so that it can be gone on with, decided about, replayed or shown."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from omega.kernel.compose import AnyFlow
from omega.kernel.errors import FlowError, InputError, IntegrityError, StorageError
from omega.kernel.journal import FORMAT, Row, Status
from omega.kernel.packing import unpack
from omega.kernel.past import Past, outline_change
from omega.kernel.ports import Line, Outcome, Reader
from omega.runtime.book import Book
from omega.runtime.payloads import Payloads, is_redacted, place_of, sealed_of
from omega.runtime.world import World
from omega.trust.sealing import ExecutionSealer, Keyring

MAX_ANCESTORS = 64
"""Longest chain of forks of forks: each link is one more look-up for whoever reads the youngest."""


_dump = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class StartRecord:
    """What is sealed when an execution starts, and decides what may continue it: input, authority, limits and the outline of the flow.

    `input` is plain data, or a `msgspec.Raw` where it is JSON already.
    """

    format: int
    digest: str
    outline: list[list[str]]
    claims: dict[str, Any]
    budget: dict[str, Any]
    deadline: float | None
    trace: str
    input: Any
    target: str

    def encode(self) -> bytes:
        """As JSON, the way it is sealed."""
        return _dump({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def decode(cls, data: bytes) -> StartRecord:
        """From the sealed JSON. Raises StorageError (OMG-S003) for a newer format."""
        fields = json.loads(data)
        if fields["format"] > FORMAT:
            raise StorageError("OMG-S003", f"an execution was started in format {fields['format']}; this release reads up to {FORMAT}")
        return cls(**fields)


def load(world: World, execution: str) -> tuple[Past, Book, StartRecord]:
    """What is recorded of `execution`, opened. Raises InputError (OMG-I003), IntegrityError (OMG-S005, OMG-T004)."""
    line = world.reader.line(execution)
    if line is None:
        raise InputError("OMG-I003", f"{execution[:80]} is not recorded here")
    past = Past(world.reader.rows(execution))
    sealer = sealer_of(world.reader, world.keyring, line)
    if sealer is None or past.start is None:
        raise IntegrityError("OMG-T004", f"the key of {execution} was destroyed: its payloads cannot be read")
    first = past.rows[0]
    book = Book(
        world.store,
        Payloads(sealer, past.rows, attic=world.attic(line.tenant), reread=lambda: world.reader.rows(execution)),
        execution=execution,
        epoch=line.epoch,
        scope=world.authority.recall(_claims(sealer, first)),
        flow_digest=past.start.digest,
        trace="",
        past=past,
    )
    sealed = book.open(first)
    record = StartRecord.decode(sealed)
    # Of what was sealed, not of what is read from it: the same number can be written in two ways.
    whole = is_redacted(first) or book.commitment(sealed) == past.start.record
    if not whole or record.digest != past.start.digest:
        raise IntegrityError("OMG-S005", f"the start record of {execution} is not what was sealed")
    book.trace = record.trace
    if past.migrated is not None:
        record = replace(record, **json.loads(book.open(past.migrated)))
        book.flow_digest = record.digest
    return past, book, record


def demand_whole(past: Past) -> None:
    """Raises IntegrityError (OMG-C005) when the content of an execution was redacted: what is left can be shown, not repeated."""
    if past.rows and is_redacted(past.rows[0]):
        raise IntegrityError("OMG-C005", f"what {past.rows[0].execution} was given and gave was redacted once it had ended")


def sealer_of(reader: Reader, keyring: Keyring, line: Line) -> ExecutionSealer | None:
    """The sealer of an execution; that of its root when it is a fork (docs/adr/0011). None when the key was destroyed.

    Raises IntegrityError: OMG-T004 for a key that does not open, OMG-S005 for a fork whose origin is missing or its own ancestor.
    """
    for _ in range(MAX_ANCESTORS):
        if not line.origin:
            wrapped = reader.key(line.execution)
            return None if wrapped is None else keyring.open(line.execution, wrapped)
        above = reader.line(line.origin)
        if above is None or above.tenant != line.tenant:
            break
        line = above
    raise IntegrityError("OMG-S005", f"the origin of the fork {line.execution} is missing, or more than {MAX_ANCESTORS} forks away")


def pin_of(flow: AnyFlow) -> str:
    """What an execution of `flow` is pinned to, and what workers ask the store for: its definition and the code of its parts."""
    return flow.pin


def _claims(sealer: Any, first: Row) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(unpack(sealer.open(sealed_of(first), place_of(first))))["claims"]
    return claims


def check_unchanged(record: StartRecord, flow: AnyFlow, execution: str) -> None:
    """Compare `flow` with what `execution` was started with. Raises FlowError (OMG-R014) naming both steps with file and line."""
    change = outline_change(record.outline, flow.outline())
    if change is not None:
        was, now = change["recorded"], change["now"]
        raise FlowError(
            "OMG-R014",
            f"recorded {_spoken(was)}, now {_spoken(now)}"
            + (": same name and version, other code" if was["step"] == now["step"] and was["version"] == now["version"] else ""),
            details=change | {"execution": execution},
        )
    if record.digest != flow.digest:
        raise FlowError(
            "OMG-R014",
            f"{flow.name} joins its steps in another way than when {execution} was started",
            details={
                "recorded": {"step": flow.name, "digest": record.digest, "where": ""},
                "now": {"step": flow.name, "digest": flow.digest, "where": flow.where},
            },
        )


def read_outcome(world: World, execution: str) -> Outcome:
    """How `execution` ended or stands, from what is recorded."""
    line = world.reader.line(execution)
    if line is None:
        raise InputError("OMG-I003", f"{execution[:80]} is not recorded here")
    past, book, _ = load(world, execution)
    facts: dict[str, Any] = {"execution": execution, "status": line.status, "tenant": line.tenant, "cost_micros": past.spent.cost_micros}
    if past.finished is None:
        return Outcome(**facts)
    payload = json.loads(book.open(past.finished))
    return Outcome(**facts, value=payload) if line.status == Status.DONE else Outcome(**facts, error=payload)


def _spoken(leaf: dict[str, str]) -> str:
    return f"{leaf['step']} {leaf['version']} ({leaf['where'] or 'no source'})"
