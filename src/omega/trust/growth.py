"""The proof that a log went on, from what was kept of the old tree and the leaves since: no need to hold the tree, nor to read it again.

Theory. A consistency proof (RFC 9162, 2.1.4.1) from `old` to `size` leaves is made of two kinds of nodes. Those left of where the old tree
ended are full nodes of it, and the ones on the way are exactly its peaks, which the compact range of the old tree is. Those right of it
cover leaves since. So log2(old) hashes and the new leaves are enough, and a proof costs what has been added, not what there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from omega.trust.merkle import HASH_SIZE, Range, node_hash


def went_on(old: Range, hashes: Sequence[bytes]) -> list[bytes]:
    """The proof that the tree of `old` is a prefix of the one with the leaves of these `hashes` added. Empty for an empty `old`, and where
    nothing was added."""
    size = old.size + len(hashes)
    if not old.size or not hashes:
        return []
    nodes = _nodes(old, hashes)
    border = _border(nodes, size)
    node, last, level = old.size - 1, size - 1, 0
    while node & 1:
        node, last, level = node >> 1, last >> 1, level + 1
    proof = [nodes[level, node]] if node else []
    while last:
        sibling = node ^ 1
        if sibling < last:
            proof.append(nodes[level, sibling])
        elif sibling == last:
            proof.append(border[level])
        node, last, level = node >> 1, last >> 1, level + 1
    return proof


def grown(old: Range, hashes: Sequence[bytes]) -> Range:
    """The range with these leaves added; `old` stays as it is."""
    found = Range.restore(old.state())
    found.extend_hashed(list(hashes))
    return found


def _nodes(old: Range, hashes: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """The full nodes that are known, by (level, index): the peaks of the old tree, the new leaves, and what lies above those."""
    state, at = old.state(), 8
    nodes: dict[tuple[int, int], bytes] = {}
    for level in range(old.size.bit_length()):
        if old.size >> level & 1:
            nodes[level, (old.size >> level) - 1] = state[at : at + HASH_SIZE]
            at += HASH_SIZE
    first, end = old.size, old.size + len(hashes)
    nodes.update(((0, old.size + number), each) for number, each in enumerate(hashes))
    level = 0
    while first < end:
        first, end, level = first >> 1, end >> 1, level + 1
        for index in range(first, end):
            left, right = nodes.get((level - 1, 2 * index)), nodes.get((level - 1, 2 * index + 1))
            if left is not None and right is not None:
                nodes[level, index] = node_hash(left, right)
    return nodes


def _border(nodes: dict[tuple[int, int], bytes], size: int) -> list[bytes]:
    """The last node of each level of the tree of `size`, leaf first (see `omega.trust.merkle`)."""
    last, level = size - 1, 0
    here = nodes[0, last]
    border = [here]
    while last:
        if last & 1:
            here = node_hash(nodes[level, last - 1], here)
        border.append(here)
        last, level = last >> 1, level + 1
    return border
