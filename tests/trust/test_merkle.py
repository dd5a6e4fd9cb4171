"""The Merkle tree against the definitions of RFC 9162, section 2.1, written out naively."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import IntegrityError
from omega.trust.merkle import EMPTY_ROOT, MAX_LEVELS, Range, Tree, leaf_hash, verify_consistency, verify_inclusion

LEAVES = [b"leaf %d" % at for at in range(70)]
TREE = Tree(LEAVES)


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of the RFC: split at the largest power of two below n."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of the RFC."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*naive_path(index, leaves[:split]), naive_root(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive_root(leaves[:split])]


def naive_consistency(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF of the RFC."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= split:
        return [*naive_consistency(old, leaves[:split], whole), naive_root(leaves[split:])]
    return [*naive_consistency(old - split, leaves[split:], False), naive_root(leaves[:split])]


def test_known_roots_of_the_reference_leaves() -> None:
    """Roots that Certificate Transparency's reference implementations give for their shared test leaves."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = {
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    tree = Tree(bytes.fromhex(text) for text in inputs)
    assert {size: tree.root(size).hex() for size in roots} == roots


@pytest.mark.promise("LOG-04")
def test_roots_and_proofs_equal_the_definition_for_every_size() -> None:
    for size in range(1, len(LEAVES) + 1):
        leaves = LEAVES[:size]
        assert TREE.root(size) == naive_root(leaves)
        for index in range(size):
            assert TREE.inclusion(index, size) == naive_path(index, leaves)
        for old in range(1, size + 1):
            assert TREE.consistency(old, size) == naive_consistency(old, leaves)


@pytest.mark.promise("LOG-04")
def test_every_proof_verifies_and_no_other_statement_does() -> None:
    for size in range(1, 36):
        root = TREE.root(size)
        for index in range(size):
            proof = TREE.inclusion(index, size)
            assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, root)
            assert not verify_inclusion(leaf_hash(LEAVES[index + 1]), index, size, proof, root)
            assert not any(verify_inclusion(leaf_hash(LEAVES[index]), other, size, proof, root) for other in range(size) if other != index)
            assert not verify_inclusion(leaf_hash(LEAVES[index]), index, size, [*proof, root], root)
        for old in range(size + 1):
            proof = TREE.consistency(old, size)
            assert verify_consistency(old, size, proof, TREE.root(old), root)
            assert not verify_consistency(old, size, proof, leaf_hash(b"other"), root)
            assert not verify_consistency(old, size, proof, TREE.root(old), leaf_hash(b"other")) or old == 0
            assert not verify_consistency(old, size, [*proof, root], TREE.root(old), root)


@pytest.mark.promise("LOG-04")
@given(size=st.integers(2, 70), data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_changed_proof_never_verifies(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size - 1))
    for kind, proof in (("inclusion", TREE.inclusion(index, size)), ("consistency", TREE.consistency(old, size))):
        changed = list(proof)
        at = data.draw(st.integers(0, len(proof) - 1))
        how = data.draw(st.sampled_from(["flip", "drop", "repeat", "cut"]))
        if how == "flip":
            changed[at] = bytes([changed[at][0] ^ 1]) + changed[at][1:]
        elif how == "drop":
            del changed[at]
        elif how == "repeat":
            changed.insert(at, changed[at])
        else:
            changed[at] = changed[at][:-1]
        if kind == "inclusion":
            assert not verify_inclusion(leaf_hash(LEAVES[index]), index, size, changed, TREE.root(size))
        else:
            assert not verify_consistency(old, size, changed, TREE.root(old), TREE.root(size))


def test_statements_that_make_no_sense_are_false_and_cheap() -> None:
    root = TREE.root(5)
    assert not verify_inclusion(root, -1, 5, [], root)
    assert not verify_inclusion(root, 5, 5, [], root)
    assert not verify_inclusion(root, 0, 0, [], root)
    assert not verify_inclusion(root, 0, 1 << 200, [root] * (MAX_LEVELS + 1), root)
    assert not verify_consistency(6, 5, [], root, root)
    assert not verify_consistency(3, 5, [], TREE.root(3), root)
    assert verify_consistency(0, 5, [], EMPTY_ROOT, root)
    assert not verify_consistency(0, 5, [], root, root)
    for call in (lambda: TREE.root(71), lambda: TREE.inclusion(5, 5), lambda: TREE.consistency(6, 5)):
        with pytest.raises(IndexError):
            call()


@given(cuts=st.lists(st.integers(0, 17), max_size=8))
@settings(max_examples=100, deadline=None)
def test_a_range_grown_in_any_portions_through_its_state_has_the_root_of_the_tree(cuts: list[int]) -> None:
    grown, start = Range(), 0
    for cut in cuts:
        leaves = [b"%d" % at for at in range(start, start + cut)]
        grown.extend(leaves)
        start += cut
        grown = Range.restore(grown.state())
        assert grown.size == start
        assert grown.root() == naive_root([b"%d" % at for at in range(start)])
    one = Range()
    for at in range(start):
        one.append(b"%d" % at)
    assert one.state() == grown.state() or not cuts


@pytest.mark.parametrize("state", [b"x", b"\x00" * 8 + b"x", (3).to_bytes(8, "big") + b"r" * 32, b"\xff" * 8 + b"r" * 64 * 32])
def test_a_state_that_does_not_fit_is_refused(state: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        Range.restore(state)
    assert caught.value.code == "OMG-S005"
