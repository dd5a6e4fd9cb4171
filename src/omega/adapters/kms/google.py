"""A key in Google Cloud KMS (or Cloud HSM), by the resource name of one of its versions:

    gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1

The algorithm is EC_SIGN_P256_SHA256, of which the digest is sent, or EC_SIGN_ED25519, of which the message is. Both ways carry CRC32C
(RFC 3720, B.4), as the service asks for: what it received and what came back are the bytes that were sent. Credentials are the Application
Default Credentials of `google-auth`; none is read or kept here. REST reference: cloud.google.com/kms/docs/reference/rest, v1.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from omega.adapters.kms.guard import DEADLINE_S, GuardedSigner, raw_public, raw_signature
from omega.adapters.kms.service import KeyService, Unanswered, options, text
from omega.kernel.errors import InputError

if TYPE_CHECKING:
    from omega.kernel.ports import Signer

ENDPOINT: Final = "https://cloudkms.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"
ECDSA, EDDSA = "EC_SIGN_P256_SHA256", "EC_SIGN_ED25519"
METADATA_S: Final = 2.0
"""Patience with the metadata server that gives credentials on Google's own machines."""

_WORD = r"[A-Za-z0-9_.:-]{1,100}"
_VERSION = re.compile(rf"projects/{_WORD}/locations/{_WORD}/keyRings/{_WORD}/cryptoKeys/{_WORD}/cryptoKeyVersions/[0-9]{{1,10}}")
_OPTIONS = {"endpoint": "another server that speaks this interface"}


class GoogleKey:
    """One version of a key. Implements `guard.RemoteKey`."""

    def __init__(self, service: KeyService, name: str, credentials: Any, deadline_s: float) -> None:
        from google.auth.exceptions import GoogleAuthError

        self.failures: tuple[type[Exception], ...] = (Unanswered, GoogleAuthError)
        self._service, self._name, self._credentials = service, name, credentials
        self._carrier = carrier(deadline_s)
        self._eddsa = False

    def public(self) -> bytes:
        """The public key. Raises ValueError for a key of another algorithm, and for one that came damaged."""
        found = self._ask("GET", f"/v1/{self._name}/publicKey")
        pem, algorithm = text(found, "pem"), text(found, "algorithm")
        if algorithm not in (ECDSA, EDDSA) or found.get("name") != self._name:
            raise ValueError(f"a key of the algorithm {algorithm[:40]}")
        if text(found, "pemCrc32c") != str(crc32c(pem.encode())):
            raise ValueError("the public key came damaged")
        self._eddsa = algorithm == EDDSA
        return raw_public(pem.encode(), pem=True)

    def sign(self, message: bytes) -> bytes:
        """The signature, r and s or EdDSA's. Raises ValueError for one that came damaged or is another version's."""
        sent = message if self._eddsa else sha256(message).digest()
        coded = base64.b64encode(sent).decode()
        word, value = ("data", coded) if self._eddsa else ("digest", {"sha256": coded})
        found = self._ask("POST", f"/v1/{self._name}:asymmetricSign", {word: value, f"{word}Crc32c": str(crc32c(sent))})
        if found.get("verifiedDataCrc32c" if self._eddsa else "verifiedDigestCrc32c") is not True:
            raise Unanswered("what was to be signed arrived damaged")
        raw = base64.b64decode(text(found, "signature"), validate=True)
        if text(found, "signatureCrc32c") != str(crc32c(raw)):
            raise ValueError("the signature came damaged")
        if found.get("name") != self._name:
            raise ValueError("another version of the key signed")
        return raw if self._eddsa else raw_signature(raw)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers: dict[str, str] = {}
        self._credentials.before_request(self._carrier, method, path, headers)
        return self._service.ask(method, path, body, headers)


def open_google(name: str, address: str, *, deadline_s: float = DEADLINE_S) -> Signer:
    """The signer of `projects/../cryptoKeyVersions/N`. Raises as `omega.adapters.kms.open_signer` does."""
    version, _, rest = address.partition("?")
    given = options(rest, _OPTIONS, "Google Cloud KMS")
    if _VERSION.fullmatch(version) is None:
        advice = "gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N"
        raise InputError("OMG-X001", "a key in Google Cloud KMS is named by one of its versions", advice=advice)
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
    except ImportError:
        raise InputError("OMG-X001", "a key in Google Cloud KMS takes google-auth", advice="pip install 'omega-platform[gcp]'") from None
    service = KeyService(given.get("endpoint", ENDPOINT), deadline_s=deadline_s)
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE], request=carrier(METADATA_S))
    except DefaultCredentialsError as error:
        advice = "set GOOGLE_APPLICATION_CREDENTIALS, or run where a service account is attached"
        raise InputError("OMG-X001", "there are no credentials for Google Cloud here", advice=advice) from error
    return GuardedSigner(name, GoogleKey(service, version, credentials, deadline_s), where="Google Cloud KMS", deadline_s=deadline_s)


def carrier(deadline_s: float) -> Any:
    """What google-auth fetches its tokens with (`google.auth.transport.Request`). It speaks http to the metadata server alone, which
    nothing else answers for on Google's machines."""
    from urllib.parse import urlsplit

    from google.auth.exceptions import TransportError
    from google.auth.transport import Request, Response

    class Answer(Response):  # type: ignore[misc, unused-ignore]
        def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
            self._status, self._headers, self._data = status, headers, data

        status = property(lambda self: self._status)
        headers = property(lambda self: self._headers)
        data = property(lambda self: self._data)

    class Carrier(Request):  # type: ignore[misc, unused-ignore]
        def __call__(
            self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: float | None = None, **_: Any
        ) -> Answer:
            parts = urlsplit(url)
            try:
                service = KeyService(f"{parts.scheme}://{parts.netloc}", deadline_s=min(timeout or deadline_s, deadline_s), near=METADATA)
                path = parts.path + (f"?{parts.query}" if parts.query else "")
                return Answer(*service.fetch(method, path or "/", body.encode() if isinstance(body, str) else body, headers))
            except (Unanswered, InputError, ValueError) as error:
                raise TransportError(str(error)) from error  # type: ignore[no-untyped-call, unused-ignore]

    return Carrier()


METADATA: Final = frozenset({"metadata.google.internal", "169.254.169.254"})
"""The server of credentials on Google's machines, which speaks http only (cloud.google.com/compute/docs/metadata)."""


def crc32c(data: bytes) -> int:
    """CRC32C (Castagnoli) of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _entry(number: int) -> int:
    for _ in range(8):
        number = (number >> 1) ^ (0x82F63B78 if number & 1 else 0)
    return number


_TABLE: Final = tuple(map(_entry, range(256)))
