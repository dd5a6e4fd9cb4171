"""Leaves: canonical bytes, commitments, and what is refused."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.chronicle.record import MAX_LEAF, Leaf, committed, decode, encode
from omega.kernel.errors import IntegrityError, StorageError
from omega.trust.sealing import Keyring

words = st.text(max_size=20)


@pytest.mark.promise("LOG-08")
@given(step=words, reason=words, actors=st.lists(words, max_size=3), rows=st.integers(0, 1 << 50))
@settings(max_examples=100, deadline=None)
def test_a_leaf_is_one_line_of_json_with_sorted_keys(step: str, reason: str, actors: list[str], rows: int) -> None:
    leaf = Leaf(kind="outcome", tenant="acme", step=step, reason=reason, actors=tuple(actors), rows=rows)
    raw = encode(leaf)
    assert b"\n" not in raw
    assert list(json.loads(raw)) == sorted(json.loads(raw))
    assert decode(raw) == leaf
    assert encode(decode(raw)) == raw


def test_fields_stand_in_the_order_of_the_keys() -> None:
    assert list(Leaf.__struct_fields__) == sorted(Leaf.__struct_fields__)


def test_every_leaf_names_its_format_and_leaves_defaults_out() -> None:
    assert encode(Leaf(kind="admin", tenant="acme")) == b'{"kind":"admin","tenant":"acme","v":1}'


def test_names_that_are_not_utf8_are_shown_as_escapes() -> None:
    leaf = Leaf(kind="admit", tenant="acme", reason="cannot read caf\udce9.txt", policies=("a\udcff",))
    assert decode(encode(leaf)).reason == "cannot read caf\\udce9.txt"
    assert decode(encode(leaf)).policies == ("a\\udcff",)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"kind":"admit"}', b'{"kind":1,"tenant":"a","v":1}', b" " * (MAX_LEAF + 1)])
def test_bytes_that_are_no_leaf_are_refused(raw: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        decode(raw)
    assert caught.value.code == "OMG-S005"


def test_a_newer_leaf_an_unknown_kind_and_a_huge_leaf_are_refused() -> None:
    with pytest.raises(StorageError) as newer:
        decode(b'{"kind":"admit","tenant":"a","v":2}')
    assert newer.value.code == "OMG-S003"
    with pytest.raises(IntegrityError):
        encode(Leaf(kind="gossip", tenant="a"))
    with pytest.raises(IntegrityError):
        encode(Leaf(kind="deny", tenant="a", reason="x" * MAX_LEAF))


@pytest.mark.promise("LOG-06")
def test_committed_fields_say_nothing_without_the_key() -> None:
    root = os.urandom(32)
    ring = Keyring(root, entropy=os.urandom)
    _, ours = ring.create("exe_1")
    _, theirs = ring.create("exe_2")
    secret = {"ssn": b"078-05-1120", "copy": b"078-05-1120"}
    first, second = committed(secret, ours.commit), committed(secret, theirs.commit)
    assert list(first) == ["copy", "ssn"]
    assert first == committed(secret, ours.commit)
    assert len({*first.values(), *second.values()}) == 4, "equal values in other fields or executions must not look equal"
    raw = encode(Leaf(kind="outcome", tenant="acme", fields=first))
    assert b"078-05-1120" not in raw
