"""Sealing to somebody's public key so that it holds against quantum computers too: HPKE (RFC 9180) with X25519 and ML-KEM-768 together.

The suite is HPKE's own hybrid (MLKEM768-X25519, HKDF-SHA256, AES-256-GCM) as `cryptography` implements it; nothing is combined here by
hand. What is sealed stays closed as long as either of the two key exchanges holds.

    public half     omega-hybrid-public 1 <base64 of 1216 bytes>     ML-KEM-768 (1184), X25519 (32)
    private half    omega-hybrid-private 1 <base64 of 96 bytes>      the seed of ML-KEM-768 (64), X25519 (32)
    sealed          1 | encapsulated key (1120) | ciphertext and tag
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omega.kernel.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import Suite

PUBLIC = b"omega-hybrid-public"
PRIVATE = b"omega-hybrid-private"
VERSION = b"1"
FORMAT = b"\x01"

ML_KEM_PUBLIC, ML_KEM_SEED, X25519_SIZE = 1184, 64, 32
MAX_LINE = 4096


@dataclass(frozen=True, slots=True)
class Recipient:
    """The public half: whoever has it can seal."""

    raw: bytes

    @classmethod
    def parse(cls, line: bytes) -> Recipient:
        """The public half that `line` writes. Raises StorageError (OMG-T003)."""
        return cls(_parsed(line, PUBLIC, ML_KEM_PUBLIC + X25519_SIZE))

    def line(self) -> bytes:
        """The half as a line of text."""
        return _line(PUBLIC, self.raw)

    def sealed(self, plain: bytes, purpose: bytes) -> bytes:
        """`plain` sealed for `purpose`: opens for the same purpose only. Raises StorageError (OMG-T003) for a half that is no key."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
        from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

        try:
            lattice = MLKEM768PublicKey.from_public_bytes(self.raw[:ML_KEM_PUBLIC])
            curve = X25519PublicKey.from_public_bytes(self.raw[ML_KEM_PUBLIC:])
        except ValueError as error:
            raise StorageError("OMG-T003", "the public half is no key") from error
        return FORMAT + _suite().encrypt(plain, MLKEM768X25519PublicKey(lattice, curve), info=purpose)


@dataclass(frozen=True, slots=True)
class Opening:
    """The private half."""

    raw: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Opening:
        """A new pair of keys, from the random source of the operating system."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        return cls(MLKEM768PrivateKey.generate().private_bytes_raw() + X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, line: bytes) -> Opening:
        """The private half that `line` writes. Raises StorageError (OMG-T003)."""
        return cls(_parsed(line, PRIVATE, ML_KEM_SEED + X25519_SIZE))

    def line(self) -> bytes:
        """The half as a line of text, to be kept as secret as what it opens."""
        return _line(PRIVATE, self.raw)

    @property
    def recipient(self) -> Recipient:
        """The public half."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        lattice = MLKEM768PrivateKey.from_seed_bytes(self.raw[:ML_KEM_SEED]).public_key().public_bytes_raw()
        return Recipient(lattice + X25519PrivateKey.from_private_bytes(self.raw[ML_KEM_SEED:]).public_key().public_bytes_raw())

    def opened(self, sealed: bytes, purpose: bytes) -> bytes:
        """The plain value. Raises IntegrityError (OMG-T004) when it was sealed to another, for another purpose, or changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

        lattice = MLKEM768PrivateKey.from_seed_bytes(self.raw[:ML_KEM_SEED])
        curve = X25519PrivateKey.from_private_bytes(self.raw[ML_KEM_SEED:])
        if sealed[:1] != FORMAT:
            raise IntegrityError("OMG-T004", "a sealed value has no known form")
        try:
            return _suite().decrypt(sealed[1:], MLKEM768X25519PrivateKey(lattice, curve), info=purpose)
        except (InvalidTag, ValueError) as error:
            raise IntegrityError("OMG-T004", "a sealed value was sealed to another key, for another purpose, or was changed") from error


def _suite() -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _line(word: bytes, raw: bytes) -> bytes:
    return b"%b %b %b\n" % (word, VERSION, base64.b64encode(raw))


def _parsed(line: bytes, word: bytes, size: int) -> bytes:
    words = line.split() if len(line) <= MAX_LINE else []
    if len(words) != 3 or words[:2] != [word, VERSION]:
        raise StorageError("OMG-T003", f"this is no line of {word.decode()}")
    try:
        raw = base64.b64decode(words[2], validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != size:
        raise StorageError("OMG-T003", f"this is no line of {word.decode()}")
    return raw
