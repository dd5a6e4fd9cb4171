"""Hand-overs: the old key of a log names its successor, and the successor agrees, in a note that both sign.

    omega log key handover 1
    omega.local/acme                                       the log
    omega.local/acme+Az3grk..+AQ..                         the old key, as a verifier key
    omega.local/acme+4f0c11..+AQ..                         the new one

    — omega.local/acme Az3gr...                            signed by the old
    — omega.local/acme TwwRa...                            signed by the new

The note stands in a leaf of the log itself. The checkpoint over that leaf, and every later one, is signed by the new key, and one by
the old key counts no more: so whoever holds the first key of a log follows it to the newest one, and whoever steals an old key cannot
continue the log from where it is. That both sign keeps a hostile log from claiming to go on with a key that it does not have.

The first line has spaces, which the name of a log never has, and a checkpoint has a number where this has a name: neither can be taken
for the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from omega.kernel.errors import IntegrityError
from omega.kernel.ports import Signer
from omega.trust.checkpoint import VerifierKey, signed_note, signers, split

TITLE = "omega log key handover 1"


@dataclass(frozen=True, slots=True)
class Handover:
    """That `new` goes on with the log `origin` where `old` stops."""

    origin: str
    old: VerifierKey
    new: VerifierKey

    def body(self) -> bytes:
        """The signed text."""
        return "\n".join((TITLE, self.origin, self.old.text(), self.new.text(), "")).encode()


def hand_over(origin: str, old: Signer, new: Signer) -> bytes:
    """The signed note that lets `new` go on where `old` stops. Raises IntegrityError (OMG-C001) when they are one key."""
    if old.public == new.public:
        raise IntegrityError("OMG-C001", "a key cannot hand over to itself")
    stated = Handover(origin, VerifierKey.of(origin, old.public), VerifierKey.of(origin, new.public))
    return signed_note(stated.body(), origin, (old, new))


def read(note: bytes, *, origin: str) -> Handover:
    """The hand-over in `note`, signed by both for this log. Raises IntegrityError (OMG-C001) for anything else."""
    body, signatures = split(note)
    lines = body.decode().split("\n")
    if len(lines) != 5 or lines[0] != TITLE or lines[1] != origin:
        raise IntegrityError("OMG-C001", "the hand-over of a key is not one of this log")
    found = Handover(origin, VerifierKey.parse(lines[2]), VerifierKey.parse(lines[3]))
    keys = (found.old, found.new)
    if found.old == found.new or any(key.name != origin for key in keys) or signers(body, signatures, keys) != keys:
        raise IntegrityError("OMG-C001", "the hand-over of a key is not signed by both")
    return found
