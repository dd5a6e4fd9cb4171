"""Levels: what is left of an execution's values once it has ended, for tenants that do not keep them in full (docs/adr/0029).

While it runs, an execution needs its values as they are: it goes on from them after a crash. When it has ended, whatever the rules leave of
each value is sealed under a new data key, and the first key is destroyed with everything sealed under it. The rows with their commitments
stay as they were, so digests and proofs hold; the commitments can no longer be compared with anything: their salt went with the key.

What is left can be shown and exported, never replayed or forked (OMG-C005).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from omega.chronicle.redact import MARK
from omega.kernel.journal import Kind, Row
from omega.kernel.packing import pack
from omega.runtime.payloads import REDACTED, is_redacted, place_of
from omega.runtime.recovery import load
from omega.runtime.world import World

LEVEL_LABEL = "omega.level"
"""The label that says what is to be done once the execution has ended; it goes when that is done."""

Redaction = Callable[[Row, Any], Any]
"""What is left of a value (plain data), given the row that holds it, so that rules can go by the step; of the first row it is the input."""


async def redact(world: World, execution: str, redaction: Redaction) -> bool:
    """Leave of the values of `execution` what `redaction` does; whether it was done (see `kernel.ports.Store.redact`).

    Raises InputError (OMG-I003), IntegrityError (OMG-T004, OMG-S005) for values that cannot be read, StorageError.
    """
    line = world.reader.line(execution)
    if line is None or line.origin:
        return False
    past, book, _ = load(world, execution)
    wrapped, sealer = world.keyring.create(execution)
    payloads: dict[int, bytes] = {}
    for row in past.rows:
        if row.payload is None or is_redacted(row):
            continue
        if row.kind == Kind.STARTED:
            record = json.loads(book.open(row))
            left: Any = record | {"input": redaction(row, record["input"])}
        else:
            left = redaction(row, _read(book.open(row)))
        plain = json.dumps(left, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        payloads[row.seq] = REDACTED + sealer.seal(pack(plain)[0], place_of(row))
    return bool(payloads) and await world.store.redact(line.tenant, execution, payloads, wrapped, LEVEL_LABEL)


def _read(plain: bytes) -> Any:
    """A value as data; what is none is taken out as a whole."""
    try:
        return json.loads(plain)
    except ValueError:
        return MARK
