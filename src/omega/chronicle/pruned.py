"""Pruned leaves: what of a leaf stays when its time is over, so that every proof still holds.

A log is pruned from its beginning, and each leaf gives way to its hash: 33 bytes in the place of some hundred. The tree, all checkpoints
and every proof of inclusion and consistency stay exactly as they were; whoever kept a leaf can still show that it stood in the log. Only
what the pruned leaves said is gone here.

    stored      # | hash of the leaf (32 bytes)
    exported    # | hash (base64), a line like a leaf's; the header says below which index such lines may stand

A leaf is JSON and begins with a brace, so neither can be taken for the other. Leaves that hand the log over to another key are never
pruned: without them no verifier could follow the keys.
"""

from __future__ import annotations

import base64

from omega.trust.merkle import HASH_SIZE, leaf_hash

PRUNED = b"#"

_HANDOVER = b'"kind":"handover"'


def prune(leaf: bytes) -> bytes:
    """What stays of `leaf`: itself when it was pruned before or hands the log over."""
    return leaf if is_pruned(leaf) or _HANDOVER in leaf else PRUNED + leaf_hash(leaf)


def is_pruned(stored: bytes) -> bool:
    """Whether `stored` is the hash that stands for a leaf."""
    return stored[:1] == PRUNED and len(stored) == 1 + HASH_SIZE


def hash_of(stored: bytes) -> bytes:
    """The hash of a leaf, from itself or from what stayed of it."""
    return stored[1:] if is_pruned(stored) else leaf_hash(stored)


def line_of(stored: bytes) -> bytes:
    """The line that stands for it in an export."""
    return PRUNED + base64.b64encode(stored[1:]) if is_pruned(stored) else stored
