"""The book of one execution: makes its rows and leaves, in order, and hands them to the store.

Everything that is sealed, committed to or chained happens here, so nothing else holds the sealer. Rows are made and handed over without a
pause in between: their order in the store is their order in the digest, whatever branches run at the same time.
"""

from __future__ import annotations

import json
from typing import Any

from omega.chronicle.record import Leaf, encode
from omega.kernel.errors import OmegaError, from_record
from omega.kernel.journal import EMPTY_DIGEST, Kind, Note, Row, Start, Step, chain, encode_meta
from omega.kernel.past import Past
from omega.kernel.ports import Batch, Committed, Head, Sealer, Store
from omega.kernel.scope import Scope
from omega.kernel.verdict import Verdict

MAX_ROWS = 1_000_000
"""Most rows of one execution: more is a loop gone wrong, or work for several executions."""


class Book:
    """Writes one execution under one epoch."""

    __slots__ = ("_sealer", "_store", "closed", "digest", "epoch", "execution", "flow_digest", "scope", "seq", "trace")

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        *,
        execution: str,
        epoch: int,
        scope: Scope,
        flow_digest: str,
        trace: str,
        past: Past | None = None,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self.execution = execution
        self.epoch = epoch
        self.scope = scope
        self.flow_digest = flow_digest
        self.trace = trace
        self.seq = len(past.rows) if past is not None else 0
        self.digest = past.digest if past is not None else EMPTY_DIGEST
        self.closed = False

    # -- making

    def row(self, kind: Kind, position: str, meta: Step | Note | Start, plain: bytes | None = None) -> Row:
        """The next row, chained into the digest; `plain` is sealed as its payload."""
        seq = self.seq
        sealed = None if plain is None else self._sealer.seal(plain, b"%b %d" % (self.execution.encode(), seq))
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
        return self._sealer.commit(plain, b"")

    # -- reading

    def open(self, row: Row) -> bytes:
        """The payload of a row. Raises IntegrityError (OMG-T004) when it was erased or changed."""
        return self._sealer.open(row.payload or b"", b"%b %d" % (self.execution.encode(), row.seq))

    def error(self, row: Row) -> OmegaError:
        """The error that a FAILED or DENIED row holds."""
        return from_record(json.loads(self.open(row)))

    # -- handing over

    def behind(self, *rows: Row, leaves: tuple[bytes, ...] = (), head: Head | None = None, key: bytes | None = None) -> None:
        """Write `rows` and `leaves` soon: nothing outside depends on them yet."""
        self._store.behind(self._batch(rows, leaves, head, key))

    async def commit(self, *rows: Row, leaves: tuple[bytes, ...] = (), head: Head | None = None, key: bytes | None = None) -> Committed:
        """Write `rows` and `leaves`, and everything handed over before; return when it is on disk."""
        return await self._store.commit(self._batch(rows, leaves, head, key))

    def _batch(self, rows: tuple[Row, ...], leaves: tuple[bytes, ...], head: Head | None, key: bytes | None) -> Batch:
        return Batch(tenant=self.scope.tenant, execution=self.execution, epoch=self.epoch, rows=rows, leaves=leaves, head=head, key=key)
