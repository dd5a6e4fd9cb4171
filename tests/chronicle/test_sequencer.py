"""The sequencer is a pure function of state and leaves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronicle.ledger import OPERATOR, leaf, sequencer
from omega.kernel.errors import IntegrityError
from omega.trust.checkpoint import verify
from omega.trust.merkle import Tree


@given(cuts=st.lists(st.integers(0, 9), max_size=8))
@settings(max_examples=50, deadline=None)
def test_the_same_leaves_in_any_portions_make_the_same_log(cuts: list[int]) -> None:
    leaves = [leaf(at) for at in range(sum(cuts))]
    state, start = b"", 0
    for cut in cuts:
        grown = sequencer().grow("acme", state, leaves[start : start + cut], at_us=start)
        state, start = grown.state, start + cut
        point = verify(grown.checkpoint, [sequencer().key("acme")], origin="test.omega/acme")
        assert (point.size, grown.size) == (start, start)
        assert point.root == Tree(leaves[:start]).root()
    assert state == sequencer().grow("acme", b"", leaves, at_us=0).state or not cuts


def test_tenants_share_the_key_and_not_the_name() -> None:
    ours, theirs = sequencer().key("acme"), sequencer().key("globex")
    assert ours.public == theirs.public == OPERATOR.public
    assert ours.key_id != theirs.key_id
    note = sequencer().grow("globex", b"", [leaf(1)], at_us=0).checkpoint
    with pytest.raises(IntegrityError) as caught:
        verify(note, [ours], origin="test.omega/acme")
    assert caught.value.code == "OMG-C001"


@pytest.mark.parametrize("state", [b"x", b"\x00" * 7, b"\x00" * 7 + b"\x03" + b"r" * 32, b"\xff" * 8 + b"r" * 64 * 32])
def test_a_damaged_state_is_refused(state: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        sequencer().grow("acme", state, [leaf(1)], at_us=0)
    assert caught.value.code == "OMG-S005"
