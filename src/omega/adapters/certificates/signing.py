"""A `kernel.ports.Signer` as the private key that a certificate is signed with, so that the key may lie in an HSM or a cloud's store.

The two classes implement what the X.509 builder of `cryptography` asks of a private key: its public half, and a signature. What would show
the key refuses.
"""

from __future__ import annotations

from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from omega.kernel.errors import StorageError
from omega.kernel.ports import Signer

_ED25519 = 32
_P256 = 65
_COORDINATE = 32


class _Remote:
    """What both kinds share."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def private_bytes(self, *args: object, **kwargs: object) -> NoReturn:
        """The key is the signer's alone."""
        raise StorageError("OMG-T003", f"the key {self._signer.name} is not shown")

    private_bytes_raw = private_bytes
    private_numbers = private_bytes
    exchange = private_bytes

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


class _Ed25519(_Remote, ed25519.Ed25519PrivateKey):
    def public_key(self) -> ed25519.Ed25519PublicKey:
        return ed25519.Ed25519PublicKey.from_public_bytes(self._signer.public)

    def sign(self, data: Any) -> bytes:
        return self._signer.sign(bytes(data))


class _P256Key(_Remote, ec.EllipticCurvePrivateKey):
    @property
    def curve(self) -> ec.EllipticCurve:
        return ec.SECP256R1()

    @property
    def key_size(self) -> int:
        return 256

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self._signer.public)

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """The signature in DER; signers give r and s side by side (RFC 7518, 3.4)."""
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        raw = self._signer.sign(bytes(data))
        return encode_dss_signature(int.from_bytes(raw[:_COORDINATE], "big"), int.from_bytes(raw[_COORDINATE:], "big"))


def key_of(public: bytes) -> ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey:
    """The public key of those raw bytes. Raises StorageError (OMG-T003) for a kind that certificates are not signed with here."""
    if len(public) == _ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(public)
    if len(public) == _P256:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    raise StorageError("OMG-T003", f"no certificate is signed with a key of {len(public)} bytes", advice="use Ed25519 or P-256")


def private_key_of(signer: Signer) -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
    """`signer` as a private key. Raises StorageError (OMG-T003), as `key_of` does."""
    return _Ed25519(signer) if isinstance(key_of(signer.public), ed25519.Ed25519PublicKey) else _P256Key(signer)
