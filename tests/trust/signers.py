"""Signers of all three kinds with keys from fixed seeds or made anew, for the tests of trust."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from omega.trust.keys import es256_of_der


class P256Signer:
    """ES256, as an HSM gives it."""

    def __init__(self, seed: int) -> None:
        self._key = derive_private_key(seed + 1_000, SECP256R1())
        self.name = f"p256-{seed}"
        self.public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(self, message: bytes) -> bytes:
        return es256_of_der(self._key.sign(message, ECDSA(SHA256())))


class LatticeSigner:
    """ML-DSA-65."""

    def __init__(self, seed: int) -> None:
        self._key = MLDSA65PrivateKey.from_seed_bytes(bytes([seed]) * 32)
        self.name = f"lattice-{seed}"
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)
