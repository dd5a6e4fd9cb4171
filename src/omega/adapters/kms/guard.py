"""The guard around every key that lies elsewhere. Three things go wrong there that a key in memory never does:

it is slow     a call has a deadline; the caller goes on with a coded error while the call may still hang, and until that one comes back
               every other is refused at once: one stuck call costs one thread, not one per request
it is down     whatever its library raises becomes OMG-T005, with the words of the library and never with what was to be signed
it lies        every signature is verified under the public key that was read at the start (OMG-T006): a faulty device, a key that was
               exchanged behind our back or a bit that fell over on the way shows before anybody relies on it
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from omega.kernel.errors import IntegrityError, OmegaError, UpstreamError

DEADLINE_S = 5.0
"""Longest wait for one signature: an HSM takes milliseconds, a cloud store some tens."""

MAX_WORDS = 200
"""Longest piece of a library's own words repeated in an error."""

SIGNATURE_SIZE = 64
POINT_SIZE = 65
EDWARDS_SIZE = 32


class RemoteKey(Protocol):
    """One key elsewhere, ES256 or Ed25519. `failures` are the exceptions of its library that mean it cannot be reached or refuses."""

    failures: tuple[type[Exception], ...]

    def public(self) -> bytes:
        """The public key: an uncompressed point of P-256 (65 bytes), or a key of Ed25519 (32). Raises ValueError for another kind."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, 64 bytes: r and s of ES256 (RFC 7518, 3.4), or that of Ed25519 (RFC 8032)."""
        ...


class GuardedSigner:
    """Implements `omega.kernel.ports.Signer` for a key elsewhere."""

    def __init__(self, name: str, key: RemoteKey, *, where: str, deadline_s: float = DEADLINE_S) -> None:
        """Reads the public key. `where` names the place in errors. Raises UpstreamError (OMG-T005), IntegrityError (OMG-T006)."""
        self.name = name
        self._key = key
        self._where = where
        self._deadline_s = deadline_s
        self._busy = threading.Lock()
        self.public = self._asked(key.public)
        if len(self.public) not in (POINT_SIZE, EDWARDS_SIZE):
            raise IntegrityError("OMG-T006", f"{where} holds no key of P-256 or Ed25519")

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, verified. Raises UpstreamError (OMG-T005), IntegrityError (OMG-T006)."""
        signature = self._asked(lambda: self._key.sign(message))
        if not _verifies(self.public, signature, message):
            raise IntegrityError("OMG-T006", f"{self._where} gave a signature of {self.name} that its public key does not verify")
        return signature

    def _asked(self, call: Callable[[], bytes]) -> bytes:
        """The result of `call`, made in a thread of its own so that the deadline holds whatever the library does."""
        if not self._busy.acquire(timeout=self._deadline_s):
            raise UpstreamError("OMG-T005", f"{self._where} has not answered an earlier call yet")
        answers: list[bytes | Exception] = []
        done = threading.Event()

        def work() -> None:
            try:
                answers.append(call())
            except Exception as error:  # noqa: BLE001 - handed to the caller's thread, which sorts it
                answers.append(error)
            finally:
                self._busy.release()
                done.set()

        threading.Thread(target=work, name=f"omega-{self.name}", daemon=True).start()
        if not done.wait(self._deadline_s):
            raise UpstreamError("OMG-T005", f"{self._where} did not answer within {self._deadline_s:g} s")
        found = answers[0]
        if isinstance(found, bytes):
            return found
        raise self._sorted(found) from found

    def _sorted(self, error: Exception) -> Exception:
        if isinstance(error, OmegaError):
            return error
        words = f"{type(error).__name__} {error}"[:MAX_WORDS].strip()
        if isinstance(error, self._key.failures):
            return UpstreamError("OMG-T005", f"{self._where} does not sign: {words}")
        if isinstance(error, ValueError):
            return IntegrityError("OMG-T006", f"{self._where} gave what cannot be such a key or a signature of it: {words}")
        return error

    def __repr__(self) -> str:
        return f"<signer {self.name} at {self._where}>"


def raw_signature(der: bytes) -> bytes:
    """An ECDSA signature in DER as r and s, 64 bytes. Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(der)
    if r.bit_length() > 256 or s.bit_length() > 256:
        raise ValueError("a signature of another curve")
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_point(spki: bytes) -> bytes:
    """The public key in an SPKI form (DER) as an uncompressed point. Raises ValueError unless it is of P-256."""
    found = raw_public(spki)
    if len(found) != POINT_SIZE:
        raise ValueError("not a key of P-256")
    return found


def raw_public(spki: bytes, *, pem: bool = False) -> bytes:
    """The public key in an SPKI form (DER or PEM): an uncompressed point of P-256, or the 32 bytes of Ed25519. Raises ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key, load_pem_public_key

    try:
        found = load_pem_public_key(spki) if pem else load_der_public_key(spki)
    except UnsupportedAlgorithm as error:
        raise ValueError("not a key of P-256 or Ed25519") from error
    if isinstance(found, Ed25519PublicKey):
        return found.public_bytes_raw()
    if not isinstance(found, EllipticCurvePublicKey) or found.curve.name != "secp256r1":
        raise ValueError("not a key of P-256 or Ed25519")
    return found.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    if len(signature) != SIGNATURE_SIZE:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        if len(public) == EDWARDS_SIZE:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        else:
            EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public).verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True
