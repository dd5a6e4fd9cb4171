"""The suites for the small ports: `Clock`, `Entropy`, `Signer`, `Sealer` and `Sequencer`. Subclass one and override its fixture."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omega.kernel.errors import IntegrityError
from omega.kernel.ports import Clock, Entropy, Sealer, Sequencer, Signer

_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
"""One adapter serves all examples of a property; none of the suites changes it."""

EARLIEST_US = 1_577_836_800_000_000
"""The first of January 2020: no clock of ours is set before it."""


class ClockConformance:
    """What every clock promises: Unix microseconds of wall time, and a monotonic reading that never goes back."""

    @pytest.fixture
    def clock(self) -> Clock:
        """To be overridden."""
        raise pytest.UsageError("override the fixture clock")

    def test_wall_time_is_in_microseconds(self, clock: Clock) -> None:
        assert isinstance(clock.now_us(), int)
        assert clock.now_us() > EARLIEST_US

    def test_monotonic_never_goes_back(self, clock: Clock) -> None:
        readings = [clock.monotonic() for _ in range(1_000)]
        assert readings == sorted(readings)


class EntropyConformance:
    """What every source of randomness promises: as many bytes as asked for, and others each time."""

    @pytest.fixture
    def entropy(self) -> Entropy:
        """To be overridden."""
        raise pytest.UsageError("override the fixture entropy")

    @pytest.mark.parametrize("size", [0, 1, 12, 32, 4_096])
    def test_it_gives_as_many_bytes_as_asked_for(self, entropy: Entropy, size: int) -> None:
        assert len(entropy.take(size)) == size

    def test_it_does_not_repeat_itself(self, entropy: Entropy) -> None:
        assert len({entropy.take(16) for _ in range(1_000)}) == 1_000

    def test_every_bit_moves(self, entropy: Entropy) -> None:
        seen_set, seen_clear = bytearray(16), bytearray(16)
        for _ in range(64):
            for place, byte in enumerate(entropy.take(16)):
                seen_set[place] |= byte
                seen_clear[place] |= ~byte & 0xFF
        assert bytes(seen_set) == bytes(seen_clear) == b"\xff" * 16


class SignerConformance:
    """What every Ed25519 signer promises: signatures that its public key accepts, and no way to its private one."""

    @pytest.fixture
    def signer(self) -> Signer:
        """To be overridden."""
        raise pytest.UsageError("override the fixture signer")

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(message=st.binary(max_size=2_000))
    def test_its_public_key_accepts_what_it_signs(self, signer: Signer, message: bytes) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        public = Ed25519PublicKey.from_public_bytes(signer.public)
        signature = signer.sign(message)
        public.verify(signature, message)
        with pytest.raises(InvalidSignature):
            public.verify(signature, message + b"\0")

    def test_it_has_a_name_and_shows_no_key(self, signer: Signer) -> None:
        assert signer.name
        assert len(signer.public) == 32
        shown = repr(signer) + str(vars(signer) if hasattr(signer, "__dict__") else "")
        assert "PRIVATE" not in shown
        assert signer.public.hex() not in signer.name


class SealerConformance:
    """What every sealer promises: it opens what it sealed, in the same context only; its commitments are stable and say nothing."""

    @pytest.fixture
    def sealers(self) -> tuple[Sealer, Sealer]:
        """To be overridden: the sealers of two executions."""
        raise pytest.UsageError("override the fixture sealers")

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(plain=st.binary(max_size=2_000), context=st.binary(max_size=60))
    def test_it_opens_what_it_sealed(self, sealers: tuple[Sealer, Sealer], plain: bytes, context: bytes) -> None:
        mine, other = sealers
        sealed = mine.seal(plain, context)
        assert mine.open(sealed, context) == plain
        for sealer, where in ((other, context), (mine, context + b"x")):
            with pytest.raises(IntegrityError) as caught:
                sealer.open(sealed, where)
            assert caught.value.code == "OMG-T004"

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(plain=st.binary(min_size=1, max_size=200), place=st.integers(0, 10_000))
    def test_a_changed_byte_is_refused(self, sealers: tuple[Sealer, Sealer], plain: bytes, place: int) -> None:
        sealed = bytearray(sealers[0].seal(plain, b"here"))
        sealed[place % len(sealed)] ^= 0x40
        with pytest.raises(IntegrityError):
            sealers[0].open(bytes(sealed), b"here")

    def test_the_same_value_is_sealed_differently_each_time(self, sealers: tuple[Sealer, Sealer]) -> None:
        assert len({sealers[0].seal(b"same", b"") for _ in range(100)}) == 100

    def test_nothing_of_the_value_shows(self, sealers: tuple[Sealer, Sealer]) -> None:
        plain = b"a value that would be recognised"
        assert plain not in sealers[0].seal(plain, b"")
        assert plain not in sealers[0].commit(plain, b"")

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(plain=st.binary(max_size=200), context=st.binary(max_size=60))
    def test_commitments_are_stable_and_salted(self, sealers: tuple[Sealer, Sealer], plain: bytes, context: bytes) -> None:
        mine, other = sealers
        commitment = mine.commit(plain, context)
        assert len(commitment) == 32
        assert commitment == mine.commit(plain, context)
        assert (
            len({commitment, other.commit(plain, context), mine.commit(plain + b"\0", context), mine.commit(plain, context + b"\0")}) == 4
        )

    def test_context_and_value_do_not_run_into_each_other(self, sealers: tuple[Sealer, Sealer]) -> None:
        assert sealers[0].commit(b"bc", b"a") != sealers[0].commit(b"c", b"ab")


class SequencerConformance:
    """What every sequencer promises: a pure function of state and leaves, whatever the leaves were grouped into."""

    @pytest.fixture
    def sequencer(self) -> Sequencer:
        """To be overridden."""
        raise pytest.UsageError("override the fixture sequencer")

    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    @given(leaves=st.lists(st.binary(max_size=80).filter(lambda raw: b"handover" not in raw), max_size=20), cut=st.integers(0, 20))
    def test_grouping_does_not_matter(self, sequencer: Sequencer, leaves: list[bytes], cut: int) -> None:
        whole = sequencer.grow("ten_one", b"", leaves, at_us=1)
        first = sequencer.grow("ten_one", b"", leaves[:cut], at_us=1)
        both = sequencer.grow("ten_one", first.state, leaves[cut:], at_us=1)
        assert (both.state, both.size, both.checkpoint) == (whole.state, whole.size, whole.checkpoint)
        assert whole.size == len(leaves)

    def test_it_keeps_nothing_in_mind(self, sequencer: Sequencer) -> None:
        first = sequencer.grow("ten_one", b"", [b"a"], at_us=1)
        sequencer.grow("ten_one", first.state, [b"never written"], at_us=1)
        assert sequencer.grow("ten_one", first.state, [b"b"], at_us=1).size == 2
        assert sequencer.grow("ten_one", b"", [b"a"], at_us=1) == first

    def test_order_and_tenant_matter(self, sequencer: Sequencer) -> None:
        notes = {
            sequencer.grow(tenant, b"", leaves, at_us=1).checkpoint
            for tenant, leaves in (("ten_one", [b"a", b"b"]), ("ten_one", [b"b", b"a"]), ("ten_two", [b"a", b"b"]))
        }
        assert len(notes) == 3
