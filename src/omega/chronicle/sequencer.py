"""The sequencer: orders a tenant's leaves, grows its tree and signs what it has become. A pure function of state and leaves.

The store calls it inside its own transaction with the state that it kept last time, and writes leaves, state and checkpoint together; so
there is never a leaf without a checkpoint over it, nor a checkpoint over a leaf that is not on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omega.kernel.ports import Grown, Signer
from omega.trust.checkpoint import Checkpoint, VerifierKey, sign
from omega.trust.merkle import Range


class LogSequencer:
    """Implements `omega.kernel.ports.Sequencer` with one signing key for all tenants of an installation, each under its own origin."""

    def __init__(self, signer: Signer, *, origin: Callable[[str], str]) -> None:
        """`origin` gives the name of a tenant's log, for example `omega.local/acme`; it must never change for a tenant."""
        self._signer = signer
        self._origin = origin

    def grow(self, tenant: str, state: bytes, leaves: Sequence[bytes], *, at_us: int) -> Grown:
        """The log after `leaves`. Raises IntegrityError (OMG-S005) when `state` is damaged.

        `at_us` is not written: a checkpoint says what the log holds, the leaves say when, and witnesses add times of their own.
        """
        grown = Range.restore(state)
        grown.extend(leaves)
        note = sign(Checkpoint(self._origin(tenant), grown.size, grown.root()), self._signer)
        return Grown(state=grown.state(), size=grown.size, checkpoint=note)

    def key(self, tenant: str) -> VerifierKey:
        """The public key of a tenant's log, to hand to whoever verifies it."""
        return VerifierKey(self._origin(tenant), self._signer.public)
