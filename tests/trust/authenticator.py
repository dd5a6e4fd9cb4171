"""A security key in software, with every wrong thing that a test wants of it. Formats: WebAuthn Level 3 (6.1, 6.5), RFC 8949, RFC 9053."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256

from omega.trust.passkeys import encoded

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
ES256, EDDSA = -7, -8


@dataclass
class Authenticator:
    """One key. `alg` is how it signs, `step` by how much its count grows (0: it keeps none), `flags` what it says of the person."""

    alg: int = ES256
    id: bytes = b"a key of a test."
    step: int = 1
    flags: int = PRESENT | VERIFIED
    count: int = 0
    handle: bytes = b""
    _private: Any = field(default=None)

    def __post_init__(self) -> None:
        made = ec.generate_private_key(ec.SECP256R1()) if self.alg == ES256 else ed25519.Ed25519PrivateKey.generate()
        self._private = self._private or made

    def public(self) -> bytes:
        """The COSE key (RFC 9053, 7)."""
        public = self._private.public_key()
        if self.alg == ES256:
            numbers = public.public_numbers()
            facts = {1: 2, 3: ES256, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        else:
            facts = {1: 1, 3: EDDSA, -1: 6, -2: public.public_bytes_raw()}
        found: bytes = cbor2.dumps(facts)
        return found

    def sign(self, data: bytes) -> bytes:
        found: bytes = self._private.sign(data, ec.ECDSA(SHA256())) if self.alg == ES256 else self._private.sign(data)
        return found

    def data(self, domain: str, attested: bytes = b"") -> bytes:
        """Authenticator data (6.1); the count grows."""
        self.count += self.step
        flags = self.flags | (ATTESTED if attested else 0)
        return sha256(domain.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big") + attested

    def create(self, options: Mapping[str, Any], origin: str, *, packed: bool = False, domain: str = "", **facts: Any) -> dict[str, Any]:
        """The answer to `navigator.credentials.create`; `facts` go into what the browser says."""
        client = _client("webauthn.create", options["challenge"], origin, facts)
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + self.public()
        data = self.data(domain or options["rp"]["id"], attested)
        statement = {"alg": self.alg, "sig": self.sign(data + sha256(client).digest())} if packed else {}
        made = cbor2.dumps({"fmt": "packed" if packed else "none", "attStmt": statement, "authData": data})
        return self.said({"clientDataJSON": client, "attestationObject": made})

    def get(self, options: Mapping[str, Any], origin: str, *, domain: str = "", **facts: Any) -> dict[str, Any]:
        """The answer to `navigator.credentials.get`."""
        client = _client("webauthn.get", options["challenge"], origin, facts)
        data = self.data(domain or options["rpId"])
        parts = {"clientDataJSON": client, "authenticatorData": data, "signature": self.sign(data + sha256(client).digest())}
        return self.said(parts | ({"userHandle": self.handle} if self.handle else {}))

    def said(self, parts: Mapping[str, bytes]) -> dict[str, Any]:
        """An answer as the page sends it."""
        name = encoded(self.id)
        return {"id": name, "rawId": name, "type": "public-key", "response": {part: encoded(data) for part, data in parts.items()}}


def _client(kind: str, challenge: str, origin: str, facts: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False} | dict(facts)).encode()
