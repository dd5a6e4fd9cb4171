"""Batches before they reach a database: their size, their limits, and the refusals that every store words alike."""

from __future__ import annotations

from omega.kernel.errors import FlowError, InputError, StorageError
from omega.kernel.journal import MAX_PAYLOAD, MAX_POSITION, Status
from omega.kernel.ports import Batch

CREATED_LEASE_US = 60_000_000
"""How long the maker of an execution owns it before it renews, in microseconds, where nobody else can."""

SEAL_OVERHEAD = 1 << 10
"""Bytes by which a sealed payload may exceed MAX_PAYLOAD: nonce, tag and header of the seal."""

ENDED = frozenset(status.value for status in Status if status.ended)
"""The statuses in which an execution is owned by nobody."""

_ENTRY_BYTES = 256


def measure(batch: Batch) -> int:
    """Bytes that a batch holds in the queue. Raises FlowError (OMG-R003, OMG-R016) above the limits, before anybody waits."""
    size = _ENTRY_BYTES
    for row in batch.rows:
        if row.execution != batch.execution:
            raise StorageError("OMG-S006", f"a row of {row.execution} cannot be written with a batch of {batch.execution}")
        payload = 0 if row.payload is None else len(row.payload)
        if payload > MAX_PAYLOAD + SEAL_OVERHEAD:
            raise FlowError("OMG-R003", f"the value of {row.position} has {payload} bytes, {MAX_PAYLOAD} are allowed")
        if len(row.position) > MAX_POSITION:
            raise FlowError("OMG-R016", f"a position of {batch.execution} has {len(row.position)} characters, {MAX_POSITION} are allowed")
        size += _ENTRY_BYTES + len(row.meta) + payload
    return size


def stale(execution: str, epoch: int, current: int) -> StorageError:
    """The refusal of a batch whose author has been replaced."""
    return StorageError("OMG-S006", f"{execution} is at epoch {current}, not {epoch}", details={"epoch": epoch, "current": current})


def unknown(execution: str) -> InputError:
    """The refusal of whatever names an execution that is not there."""
    return InputError("OMG-I003", f"there is no execution {execution}")
