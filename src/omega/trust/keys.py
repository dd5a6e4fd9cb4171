"""Keys as the world sees them: public keys, what they are called, and which of them count when.

The raw forms of the three kinds have three lengths, so the bytes of a public key say which algorithm it is for, and no header that a
stranger writes ever does:

    Ed25519     32 bytes    RFC 8032                      signature 64 bytes
    ES256       65 bytes    uncompressed point, SEC 1     signature 64 bytes, r and s (RFC 7518, 3.4); for HSMs and cloud key stores
    ML-DSA-65   1952 bytes  FIPS 204                      signature 3309 bytes; for what must hold for decades

A purpose (passports, the log) has a *ring*: the key that signs, one that will sign next and is published beforehand, and those that
signed until lately. Rotation moves along the ring, so nothing that was signed a moment ago stops counting in the moment of the change.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from omega.kernel.errors import StorageError
from omega.kernel.ports import Signer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

ED25519 = "Ed25519"
ES256 = "ES256"
ML_DSA_65 = "ML-DSA-65"

SIZES = {32: ED25519, 65: ES256, 1952: ML_DSA_65}
"""Bytes of a raw public key, by algorithm (JOSE names: RFC 9864, RFC 7518, RFC 9964)."""

P256_COORDINATE = 32
FOREVER = 1 << 40
"""Unix seconds that no clock reaches: a key that counts without end."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key in its raw form. Raises StorageError (OMG-T003) for bytes of no known length."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) not in SIZES or (len(self.raw) == 65 and self.raw[0] != 4):
            raise StorageError("OMG-T003", f"a public key of {len(self.raw)} bytes is of no known kind")

    @property
    def algorithm(self) -> str:
        """Its JOSE name: `Ed25519`, `ES256` or `ML-DSA-65`."""
        return SIZES[len(self.raw)]

    @property
    def kid(self) -> str:
        """Its thumbprint (RFC 7638; for ML-DSA RFC 9964): the name under which tokens refer to it."""
        members = json.dumps(self._members(), sort_keys=True, separators=(",", ":"))
        return b64url(sha256(members.encode()).digest())

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message`. Never raises for what a stranger wrote."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def jwk(self) -> dict[str, str]:
        """The key as JWK (RFC 7517; RFC 8037 for Ed25519, RFC 7518 for P-256, RFC 9964 for ML-DSA)."""
        return {**self._members(), "alg": self.algorithm, "kid": self.kid, "use": "sig"}

    def _members(self) -> dict[str, str]:
        """The members that a thumbprint covers."""
        if self.algorithm == ED25519:
            return {"crv": "Ed25519", "kty": "OKP", "x": b64url(self.raw)}
        if self.algorithm == ES256:
            half = 1 + P256_COORDINATE
            return {"crv": "P-256", "kty": "EC", "x": b64url(self.raw[1:half]), "y": b64url(self.raw[half:])}
        return {"alg": ML_DSA_65, "kty": "AKP", "pub": b64url(self.raw)}

    def _verify(self, signature: bytes, message: bytes) -> None:
        if self.algorithm == ED25519:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        elif self.algorithm == ES256:
            _verify_es256(self.raw, signature, message)
        else:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

            MLDSA65PublicKey.from_public_bytes(self.raw).verify(signature, message)


@dataclass(frozen=True, slots=True)
class Retired:
    """A key that signs no more. What it signed counts until `until_s` (Unix seconds)."""

    public: bytes
    until_s: int = FOREVER


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of one purpose: what signs, what will sign next, and what signed before, oldest first."""

    current: Signer
    upcoming: tuple[Signer, ...] = ()
    retired: tuple[Retired, ...] = ()

    def accepted(self) -> dict[str, tuple[PublicKey, int]]:
        """Every key that counts, by its `kid`, with the moment when it ceases to: the current one first."""
        found = {key.kid: (key, FOREVER) for key in (PublicKey(signer.public) for signer in (self.current, *self.upcoming))}
        for each in reversed(self.retired):
            key = PublicKey(each.public)
            found.setdefault(key.kid, (key, each.until_s))
        return found

    def signer(self, public: bytes) -> Signer | None:
        """The signer of that public key, when it is held."""
        return next((signer for signer in (self.current, *self.upcoming) if signer.public == public), None)


def public_of_jwk(jwk: dict[str, Any]) -> PublicKey:
    """The key that a JWK holds. Raises ValueError when it is of no kind known here, is malformed, or holds a private part."""
    if not isinstance(jwk, dict) or jwk.keys() & {"d", "priv", "k"}:
        raise ValueError("not a public key")
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if (kind, curve) == ("OKP", "Ed25519"):
        raw = unb64url(jwk.get("x"))
    elif (kind, curve) == ("EC", "P-256"):
        raw = b"\x04" + unb64url(jwk.get("x")) + unb64url(jwk.get("y"))
        point_of(raw)  # a point beside the curve is refused here, not at the first signature
    elif (kind, jwk.get("alg")) == ("AKP", ML_DSA_65):
        raw = unb64url(jwk.get("pub"))
    else:
        raise ValueError("a key of no known kind")
    try:
        key = PublicKey(raw)
    except StorageError as error:
        raise ValueError("a key of no known kind") from error
    if key.algorithm != {"OKP": ED25519, "EC": ES256}.get(str(kind), ML_DSA_65):
        raise ValueError("a key of another length than its kind has")
    return key


def es256_of_der(signature: bytes) -> bytes:
    """An ECDSA signature as HSMs and cloud stores give it (DER) in the form of JOSE: r and s, 32 bytes each. Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(signature)
    try:
        return r.to_bytes(P256_COORDINATE, "big") + s.to_bytes(P256_COORDINATE, "big")
    except OverflowError as error:
        raise ValueError("a signature of another curve") from error


def der_of_es256(signature: bytes) -> bytes:
    """The same the other way round. Raises ValueError for anything but 64 bytes."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    if len(signature) != 2 * P256_COORDINATE:
        raise ValueError("not a signature of ES256")
    r, s = (int.from_bytes(half, "big") for half in (signature[:P256_COORDINATE], signature[P256_COORDINATE:]))
    return encode_dss_signature(r, s)


def point_of(raw: bytes) -> EllipticCurvePublicKey:
    """The P-256 key of an uncompressed point. Raises ValueError for a point that is not on the curve."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)


def b64url(raw: bytes) -> str:
    """base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: object) -> bytes:
    """The bytes of `text`, which must be written in the one canonical way. Raises ValueError."""
    if not isinstance(text, str) or not text.isascii():
        raise ValueError("not base64url")
    raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    if b64url(raw) != text:
        raise ValueError("not base64url as it should be written")
    return raw


def _verify_es256(raw: bytes, signature: bytes, message: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    point_of(raw).verify(der_of_es256(signature), message, ECDSA(SHA256()))
