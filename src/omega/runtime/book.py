"""The book of one execution: makes its rows and leaves, in order, and hands them to the store.

Everything that is sealed, committed to or chained happens here, so nothing else holds the sealer. Rows are made and handed over without a
pause in between: their order in the store is their order in the digest, whatever branches run at the same time.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

from omega.chronicle.record import Leaf, encode
from omega.kernel.errors import OmegaError, StorageError, from_record
from omega.kernel.journal import EMPTY_DIGEST, Kind, Note, Row, Start, Step, chain, encode_meta
from omega.kernel.past import Past
from omega.kernel.ports import Batch, Committed, Head, Store
from omega.kernel.scope import Scope
from omega.kernel.verdict import Verdict
from omega.runtime.payloads import Payloads, Stowed, is_elsewhere

MAX_ROWS = 1_000_000
"""Most rows of one execution: more is a loop gone wrong, or work for several executions."""


class Book:
    """Writes one execution under one epoch."""

    __slots__ = ("_held", "_payloads", "_store", "closed", "digest", "epoch", "execution", "flow_digest", "scope", "seq", "trace")

    def __init__(
        self,
        store: Store,
        payloads: Payloads,
        *,
        execution: str,
        epoch: int,
        scope: Scope,
        flow_digest: str,
        trace: str,
        past: Past | None = None,
    ) -> None:
        self._store = store
        self._payloads = payloads
        self.execution = execution
        self.epoch = epoch
        self.scope = scope
        self.flow_digest = flow_digest
        self.trace = trace
        self.seq = len(past.rows) if past is not None else 0
        self.digest = past.digest if past is not None else EMPTY_DIGEST
        self.closed = False
        self._held: Batch | None = None

    def onward(self, execution: str, past: Past) -> Book:
        """The book of a fork named `execution`, which goes on from `past` under the same key and grant, in its first epoch."""
        return Book(
            self._store,
            self._payloads.onward(past.rows),
            execution=execution,
            epoch=1,
            scope=self.scope,
            flow_digest=self.flow_digest,
            trace=self.trace,
            past=past,
        )

    # -- making

    def row(self, kind: Kind, position: str, meta: Step | Note | Start, plain: bytes | Stowed | None = None) -> Row:
        """The next row, chained into the digest; `plain` is packed and sealed as its payload."""
        seq = self.seq
        sealed = None if plain is None else self._payloads.seal(self.execution, seq, position, plain)
        row = Row(self.execution, seq, int(kind), position, encode_meta(meta), sealed)
        self.seq = seq + 1
        self.digest = chain(self.digest, row)
        return row

    def leaf(
        self, kind: str, *, at_us: int, step: str = "", meta: Step | None = None, verdict: Verdict | None = None, **facts: Any
    ) -> bytes:
        """A leaf that covers every row made so far."""
        if meta is not None:
            facts |= {
                "flow": meta.flow,
                "effect": meta.effect,
                "input": meta.input.hex(),
                "output": meta.output.hex(),
                "took_us": meta.took_us,
                "cost_micros": meta.cost_micros,
                "tokens": meta.tokens,
                "code": meta.error["code"] if meta.error else "",
            }
        if verdict is not None:
            facts |= {
                "decision": verdict.decision.value,
                "policies": verdict.policies,
                "reason": verdict.reason,
                "bundle": verdict.bundle,
                "code": verdict.code,
            }
        scope = self.scope
        return encode(
            Leaf(
                kind=kind,
                at_us=at_us,
                tenant=scope.tenant,
                execution=self.execution,
                step=step,
                principal=scope.principal,
                actors=scope.actors,
                flow_digest=self.flow_digest,
                rows=self.seq,
                digest=self.digest.hex(),
                trace=self.trace,
                **facts,
            )
        )

    def commitment(self, plain: bytes) -> bytes:
        """The salted commitment to a value of this execution.

        The same value has the same one in every step: that is how data is followed.
        """
        return self._payloads.commit(plain)

    def is_large(self, plain: bytes) -> bool:
        """Whether `plain` is to be stowed before its row is made: where blobs are configured."""
        return self._payloads.is_large(plain)

    async def stowed(self, plain: bytes, position: str) -> Stowed:
        """A large value as `row` takes it: in a blob, or packed small enough for its row."""
        return await self._payloads.stow(plain, position)

    # -- reading

    def open(self, row: Row) -> bytes:
        """The value of a row. Raises what `Payloads.open` raises: IntegrityError (OMG-T004) when it was erased or changed."""
        return self._payloads.open(row)

    def lies_elsewhere(self, row: Row) -> bool:
        """Whether the value of `row` has to be brought before it can be opened."""
        return is_elsewhere(row)

    async def bring(self, row: Row) -> None:
        """Get what `open` will need from elsewhere, while others go on."""
        await self._payloads.bring(row)

    def error(self, row: Row) -> OmegaError:
        """The error that a FAILED or DENIED row holds."""
        return from_record(json.loads(self.open(row)))

    # -- handing over

    def hold(self, *rows: Row, leaves: tuple[bytes, ...] = (), head: Head | None = None, key: bytes | None = None) -> None:
        """Keep `rows` and `leaves` back until the next are handed over, which follows at once: then the store gets one batch, not two."""
        self._held = self._batch(rows, leaves, head, key)

    @property
    def unborn(self) -> bool:
        """Whether the store has not been handed the execution itself yet: its start is held back."""
        return self._held is not None and self._held.head is not None and self._held.head.create

    def let_go(self) -> None:
        """Hand over what is held back, where nothing follows any more. Raises nothing: a store that has stopped takes nothing."""
        if self._held is not None:
            with suppress(StorageError):
                self.behind()

    def behind(self, *rows: Row, leaves: tuple[bytes, ...] = (), head: Head | None = None, key: bytes | None = None) -> None:
        """Write `rows` and `leaves` soon: nothing outside depends on them yet."""
        self._store.behind(self._batch(rows, leaves, head, key))

    async def commit(
        self,
        *rows: Row,
        leaves: tuple[bytes, ...] = (),
        head: Head | None = None,
        key: bytes | None = None,
        wake: tuple[str, ...] = (),
    ) -> Committed:
        """Write `rows` and `leaves`, and everything handed over before; return when it is on disk. `wake` may go on from then."""
        return await self._store.commit(self._batch(rows, leaves, head, key, wake))

    def _batch(
        self, rows: tuple[Row, ...], leaves: tuple[bytes, ...], head: Head | None, key: bytes | None, wake: tuple[str, ...] = ()
    ) -> Batch:
        held, self._held = self._held, None
        if held is not None:
            rows, leaves, key = (*held.rows, *rows), (*held.leaves, *leaves), key or held.key
            head = _joined(held.head, head)
        return Batch(
            tenant=self.scope.tenant,
            execution=self.execution,
            epoch=self.epoch,
            rows=rows,
            leaves=leaves,
            head=head,
            key=key,
            wake=wake,
        )


def _joined(first: Head | None, then: Head | None) -> Head | None:
    """What a line says after two changes of it: one that is made says where it stands by then."""
    if first is None or then is None:
        return then or first
    return replace(
        first, status=then.status, started_us=first.at_us, at_us=then.at_us, due_us=first.due_us if then.due_us is None else then.due_us
    )
