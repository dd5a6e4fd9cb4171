"""The proof that a log went on, from the old compact range and the new leaves: the same as from the whole tree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.trust.growth import grown, went_on
from omega.trust.merkle import Range, Tree, leaf_hash, verify_consistency

LEAVES = [b"leaf %d" % number for number in range(300)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
TREE = Tree(LEAVES)


def ranged(size: int) -> Range:
    found = Range()
    found.extend_hashed(HASHES[:size])
    return found


@pytest.mark.promise("LOG-40")
def test_every_proof_of_a_small_tree_is_that_of_the_whole_tree() -> None:
    for size in range(34):
        for old in range(size + 1):
            assert went_on(ranged(old), HASHES[old:size]) == TREE.consistency(old, size), (old, size)


@pytest.mark.promise("LOG-40")
@given(sizes=st.tuples(st.integers(1, 300), st.integers(1, 300)).map(sorted))
@settings(max_examples=50, deadline=None)
def test_proofs_hold_and_the_range_grows(sizes: list[int]) -> None:
    old, size = sizes
    proof = went_on(ranged(old), HASHES[old:size])
    assert proof == TREE.consistency(old, size)
    assert verify_consistency(old, size, proof, TREE.root(old), TREE.root(size))
    before = ranged(old)
    after = grown(before, HASHES[old:size])
    assert (after.size, after.root(), before.size, before.root()) == (size, TREE.root(size), old, TREE.root(old))
