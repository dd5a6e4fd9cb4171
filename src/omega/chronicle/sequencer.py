"""The sequencer: orders a tenant's leaves, grows its tree and signs what it has become. A pure function of state and leaves.

The store calls it inside its own transaction with the state that it kept last time, and writes leaves, state and checkpoint together; so
there is never a leaf without a checkpoint over it, nor a checkpoint over a leaf that is not on disk.

Which key signs is part of that state, log by log. A leaf that hands a log over (`omega.trust.handover`) changes it in the very commit that
writes the leaf: from that checkpoint on the successor signs, in whichever process. A log that was never handed over signs with the first
key of the ring, and its state is that of its tree alone; after a hand-over the state begins with the public key:

    tree          size (8 bytes, big-endian; its first byte is always 0) | peaks
    handed over   1 | length of the key (2 bytes) | public key | tree
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omega.chronicle.record import decode
from omega.kernel.errors import IntegrityError, StorageError
from omega.kernel.ports import Grown, Signer
from omega.trust import handover
from omega.trust.checkpoint import Checkpoint, VerifierKey, sign
from omega.trust.keys import Ring
from omega.trust.merkle import Range

HANDED_OVER = b"\x01"
_MARK = b'"kind":"handover"'


class LogSequencer:
    """Implements `omega.kernel.ports.Sequencer` for all tenants of an installation, each under its own origin."""

    def __init__(
        self,
        keys: Signer | Ring,
        *,
        origin: Callable[[str], str],
        lasting: Signer | None = None,
        news: Callable[[], Ring | None] | None = None,
    ) -> None:
        """`origin` gives the name of a tenant's log, for example `omega.local/acme`; it must never change for a tenant.

        `lasting` adds a second signature to each checkpoint (ML-DSA-65). `news` gives the ring anew when it has changed; it is asked when a
        log goes on with a key that is not in the ring.
        """
        self._ring = keys if isinstance(keys, Ring) else Ring(keys)
        self._origin = origin
        self._lasting = lasting
        self._news = news

    def grow(self, tenant: str, state: bytes, leaves: Sequence[bytes], *, at_us: int) -> Grown:
        """The log after `leaves`. Raises IntegrityError: OMG-S005 when `state` is damaged, OMG-C001 for a hand-over that does not hold;
        StorageError (OMG-T003) when the key that the log goes on with is not here.

        `at_us` is not written: a checkpoint says what the log holds, the leaves say when, and witnesses add times of their own.
        """
        stated, tree = _split(state)
        public = stated or (self._first if tree else self._ring.current.public)
        grown = Range.restore(tree)
        grown.extend(leaves)
        for leaf in leaves:
            if _MARK in leaf:
                public = self._successor(tenant, leaf, public)
        point = Checkpoint(self._origin(tenant), grown.size, grown.root())
        note = sign(point, self._signer(public), *((self._lasting,) if self._lasting is not None else ()))
        head = b"" if public == self._first else HANDED_OVER + len(public).to_bytes(2, "big") + public
        return Grown(state=head + grown.state(), size=grown.size, checkpoint=note)

    def key(self, tenant: str) -> VerifierKey:
        """The public key that signs a tenant's log, to hand to whoever verifies it: the log leads from it to those before and after."""
        self._look()
        return VerifierKey.of(self._origin(tenant), self._ring.current.public)

    def keys(self, tenant: str) -> tuple[VerifierKey, ...]:
        """The same, and the key of the second signature where there is one."""
        lasting = () if self._lasting is None else (VerifierKey.of(self._origin(tenant), self._lasting.public),)
        return (self.key(tenant), *lasting)

    @property
    def _first(self) -> bytes:
        """The key that signed before every hand-over."""
        return self._ring.retired[0].public if self._ring.retired else self._ring.current.public

    def _signer(self, public: bytes) -> Signer:
        found = self._ring.signer(public)
        if found is None:
            self._look()
            found = self._ring.signer(public)
        if found is None:
            raise StorageError("OMG-T003", "the log goes on with a key that is not in the key store")
        return found

    def _look(self) -> None:
        if self._news is not None:
            self._ring = self._news() or self._ring

    def _successor(self, tenant: str, leaf: bytes, public: bytes) -> bytes:
        """The key that goes on after a leaf of the kind `handover`. A user's leaf can contain the mark, but never be of the kind."""
        found = decode(leaf)
        if found.kind != "handover":
            return public
        stated = handover.read(found.note.encode(), origin=self._origin(tenant))
        if stated.old.public != public:
            raise IntegrityError("OMG-C001", "a hand-over of the log is not by the key that signs it")
        return stated.new.public


def _split(state: bytes) -> tuple[bytes, bytes]:
    """The public key that a state names (empty: none), and the state of the tree."""
    if state[:1] != HANDED_OVER:
        return b"", state
    size = int.from_bytes(state[1:3], "big")
    if len(state) <= 3 + size:
        raise IntegrityError("OMG-S005", "the state of a log is cut short")
    return state[3 : 3 + size], state[3 + size :]
