"""Sealing with two key exchanges at once: opens for its recipient and purpose alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.kernel.errors import IntegrityError, StorageError
from omega.trust.hybrid import MAX_LINE, Opening, Recipient

MINE, THEIRS = Opening.generate(), Opening.generate()


@pytest.mark.promise("TRUST-10")
@given(plain=st.binary(max_size=300), purpose=st.binary(max_size=20))
@settings(max_examples=15, deadline=None)
def test_what_is_sealed_opens_for_its_recipient_and_purpose_alone(plain: bytes, purpose: bytes) -> None:
    sealed = Recipient.parse(MINE.recipient.line()).sealed(plain, purpose)
    assert Opening.parse(MINE.line()).opened(sealed, purpose) == plain
    for opening, why in ((THEIRS, purpose), (MINE, purpose + b"x")):
        with pytest.raises(IntegrityError) as caught:
            opening.opened(sealed, why)
        assert caught.value.code == "OMG-T004"


@pytest.mark.promise("TRUST-10")
@given(place=st.integers(0, 1_152))
@settings(max_examples=30, deadline=None)
def test_a_changed_or_missing_byte_is_refused(place: int) -> None:
    sealed = MINE.recipient.sealed(b"root", b"p")
    for wrong in (sealed[:place], sealed[:place] + bytes([sealed[place % len(sealed)] ^ 1]) + sealed[place + 1 :]):
        if wrong == sealed:
            continue
        with pytest.raises(IntegrityError):
            MINE.opened(wrong, b"p")


@pytest.mark.parametrize(
    "line", [b"", b"omega-hybrid-private 1 AAAA\n", b"omega-hybrid-private 2 AAAA\n", MINE.recipient.line(), b"x" * MAX_LINE * 2]
)
def test_a_line_that_is_no_private_half(line: bytes) -> None:
    with pytest.raises(StorageError) as caught:
        Opening.parse(line)
    assert caught.value.code == "OMG-T003"


def test_neither_half_shows_the_private_one() -> None:
    assert MINE.raw.hex() not in repr(MINE) and repr(MINE.raw) not in repr(MINE)
    with pytest.raises(StorageError):
        Recipient.parse(MINE.line())
