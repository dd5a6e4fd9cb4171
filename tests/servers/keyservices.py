"""A stand-in for three key services, with real keys and real signatures: Google Cloud KMS, Azure Key Vault and Vault's transit engine.

It speaks the published interfaces (the addresses are in the adapters), as far as reading a public key and signing go. What holds it to them
is not our own client alone: the libraries of Google, Microsoft and `hvac` work against it in the same tests. It checks what it is sent as
the services do: the bearer of each request, checksums, digests of the right length, versions that exist.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import google_crc32c
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RING = "projects/acme/locations/eu/keyRings/omega/cryptoKeys"
BEARER = "bearer-of-the-stand-in"
VAULT_TOKEN = "hvs.token-of-the-stand-in"
LOGGED_IN = "hvs.login"
SECRET_ID = "secret-id-of-the-role"
Key = EllipticCurvePrivateKey | Ed25519PrivateKey
KINDS: dict[str, Callable[[], Key]] = {
    "p256": lambda: generate_private_key(SECP256R1()),
    "p384": lambda: generate_private_key(SECP384R1()),
    "ed25519": Ed25519PrivateKey.generate,
}
TYPES = {"ecdsa-p256": "p256", "ecdsa-p384": "p384", "ed25519": "ed25519"}


class Refused(Exception):
    """What the service answers instead."""

    def __init__(self, status: int, words: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.headers = status, headers or {}


@dataclass
class KeyServices:
    """The state of the stand-in: keys by name and version (from 1), what was asked, and how the next signatures go wrong.

    `fault` is applied to requests that sign: `again` (503 so many `times`, then well), `throttled` (429 for ever), `redirect`, `truncated`,
    `no json`, `endless`, `slow`, `other key`, `other version`, `checksum`, `unverified`, `gone`.
    """

    keys: dict[str, list[tuple[str, Key]]] = field(default_factory=dict)
    account: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    fault: str = ""
    times: int = 0
    signed: int = 0
    logins: int = 0
    connections: int = 0
    token: str = LOGGED_IN
    url: str = ""

    def make(self, name: str, *kinds: str) -> None:
        """A key of as many versions as there are kinds."""
        self.keys[name] = [(kind, KINDS[kind]()) for kind in kinds]

    def at(self, name: str, version: str) -> tuple[str, Key]:
        """One version. Raises Refused."""
        found = self.keys.get(name, [])
        if not version.isdigit() or not 0 < int(version) <= len(found):
            raise Refused(404, f"{name} has no version {version}")
        return found[int(version) - 1]

    def signature(self, name: str, version: str, message: bytes, *, hashed: bool) -> bytes:
        """DER or EdDSA's; under another key where that is the fault."""
        kind, key = self.at(name, version)
        if self.fault == "other key":
            key = KINDS[kind]()
        self.signed += 1
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(message)
        return key.sign(message, ECDSA(Prehashed(SHA256()) if hashed else SHA256()))

    # -- Google

    def google(self, method: str, path: str, body: dict[str, Any], headers: Any) -> dict[str, Any]:
        if headers.get("Authorization") != f"Bearer {BEARER}":
            raise Refused(401, "no credentials")
        name, _, verb = path.removeprefix("/v1/").partition(":")
        name = name.removesuffix("/publicKey")
        key, _, version = name.removeprefix(f"{RING}/").partition("/cryptoKeyVersions/")
        kind, held = self.at(key, version)
        if method == "GET":
            pem = held.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            algorithm = {"p256": "EC_SIGN_P256_SHA256", "p384": "EC_SIGN_P384_SHA384", "ed25519": "EC_SIGN_ED25519"}[kind]
            return {"pem": pem, "algorithm": algorithm, "pemCrc32c": _crc(pem.encode()), "name": name, "protectionLevel": "HSM"}
        if verb != "asymmetricSign":
            raise Refused(404, "no such method")
        word = "data" if kind == "ed25519" else "digest"
        given = base64.b64decode(body["data"] if word == "data" else body["digest"]["sha256"], validate=True)
        if word == "digest" and len(given) != 32:
            raise Refused(400, "a digest of 32 bytes is wanted")
        if body.get(f"{word}Crc32c") not in (None, _crc(given)):
            raise Refused(400, "the checksum does not match")
        raw = self.signature(key, version, given, hashed=True)
        told = f"{RING}/{key}/cryptoKeyVersions/{int(version) + (self.fault == 'other version')}"
        crc = _crc(raw + b"x") if self.fault == "checksum" else _crc(raw)
        seen = f"{word}Crc32c" in body and self.fault != "unverified"
        verified = "verifiedDataCrc32c" if word == "data" else "verifiedDigestCrc32c"
        return {"signature": base64.b64encode(raw).decode(), "signatureCrc32c": crc, verified: seen, "name": told, "protectionLevel": "HSM"}

    def google_token(self, form: dict[str, list[str]]) -> dict[str, Any]:
        """RFC 7523: an assertion signed by the account."""
        head, claims, signature = form["assertion"][0].split(".")
        try:
            self.account.public_key().verify(_un64(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise Refused(400, "invalid_grant") from error
        if "https://www.googleapis.com/auth/cloudkms" not in json.loads(_un64(claims))["scope"]:
            raise Refused(400, "invalid_scope")
        return {"access_token": BEARER, "expires_in": 3600, "token_type": "Bearer"}

    # -- Azure

    def azure(self, method: str, path: str, body: dict[str, Any], headers: Any) -> dict[str, Any]:
        if headers.get("Authorization") != f"Bearer {BEARER}":
            challenge = 'Bearer authorization="https://login.microsoftonline.com/common", resource="https://vault.azure.net"'
            raise Refused(401, "no token", {"WWW-Authenticate": challenge})
        _, _, name, *rest = path.split("/")
        version = rest[0] if rest and rest[0] else str(len(self.keys.get(name, [])))
        kind, held = self.at(name, version)
        if isinstance(held, Ed25519PrivateKey):
            raise Refused(400, "not a kind of this service")
        told = f"{self.url}/keys/{name}/{int(version) + (self.fault == 'other version' and method == 'POST')}"
        if method == "GET":
            numbers = held.public_key().public_numbers()
            size = held.key_size // 8
            x, y = (_64(each.to_bytes(size, "big")) for each in (numbers.x, numbers.y))
            curve = {"p256": "P-256", "p384": "P-384"}[kind]
            key = {"kid": told, "kty": "EC", "crv": curve, "x": x, "y": y, "key_ops": ["sign", "verify"]}
            return {"key": key, "attributes": {"enabled": True, "created": 1, "updated": 1}}
        digest = _un64(body["value"])
        if rest[1] != "sign" or body["alg"] != "ES256" or len(digest) != 32:
            raise Refused(400, "BadParameter")
        r, s = decode_dss_signature(self.signature(name, version, digest, hashed=True))
        return {"kid": told, "value": _64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}

    # -- Vault

    def vault(self, method: str, path: str, body: dict[str, Any], headers: Any) -> dict[str, Any]:
        if path.startswith("/v1/auth/"):
            return self.vault_login(path, body)
        if headers.get("X-Vault-Token") not in (VAULT_TOKEN, self.token):
            raise Refused(403, "permission denied")
        _, _, _, verb, name, *rest = path.split("/")
        if verb == "keys" and rest == ["rotate"]:
            self.keys[name].append((self.keys[name][0][0], KINDS[self.keys[name][0][0]]()))
            return {}
        if verb == "keys" and method != "GET":
            self.make(name, TYPES[body["type"]])
            return {}
        if name not in self.keys:
            raise Refused(404, "no such key")
        if verb == "keys":
            return {"data": self.vault_key(name)}
        version = str(body.get("key_version") or len(self.keys[name]))
        kind, _ = self.at(name, version)
        given = base64.b64decode(body["input"], validate=True)
        hashed = bool(body.get("prehashed"))
        if (hashed and len(given) != 32) or (hashed and kind == "ed25519"):
            raise Refused(400, "invalid input length for prehashed")
        raw = self.signature(name, version, given, hashed=hashed)
        told = int(version) + (self.fault == "other version")
        if body.get("marshaling_algorithm") == "jws":
            raise Refused(400, "not spoken here")
        return {"data": {"signature": f"vault:v{told}:{base64.b64encode(raw).decode()}", "key_version": told}}

    def vault_login(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """AppRole and Kubernetes."""
        good = path == "/v1/auth/approle/login" and body == {"role_id": "omega", "secret_id": SECRET_ID}
        good = good or (path == "/v1/auth/kubernetes/login" and body == {"role": "omega", "jwt": "header.claims.signature"})
        if not good:
            raise Refused(400, "invalid role or secret ID")
        self.logins += 1
        return {"auth": {"client_token": self.token, "lease_duration": 3600, "renewable": True}}

    def vault_key(self, name: str) -> dict[str, Any]:
        found = {}
        for at, (kind, key) in enumerate(self.keys[name], 1):
            if kind == "ed25519":
                public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
            else:
                public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            found[str(at)] = {"public_key": public, "name": kind, "creation_time": "2026-01-01T00:00:00Z"}
        kind = next(word for word, each in TYPES.items() if each == self.keys[name][0][0])
        return {"type": kind, "keys": found, "latest_version": len(found), "supports_signing": True, "name": name}

    # -- all

    def answer(self, method: str, target: str, raw: bytes, headers: Any) -> dict[str, Any]:
        """What a request gives. Raises Refused."""
        parts = urlsplit(target)
        if parts.path == "/token":
            return self.google_token(parse_qs(raw.decode()))
        if parts.path == "/msi/token":
            if headers.get("X-IDENTITY-HEADER") != "stand-in" or parse_qs(parts.query)["resource"] != ["https://vault.azure.net"]:
                raise Refused(401, "no identity")
            return {"access_token": BEARER, "expires_on": str(int(time.time()) + 3600), "resource": "x", "token_type": "Bearer"}
        body = json.loads(raw) if raw else {}
        if parts.path.startswith("/keys/"):
            return self.azure(method, parts.path, body, headers)
        if parts.path.startswith(("/v1/transit/", "/v1/auth/")):
            return self.vault(method, parts.path, body, headers)
        return self.google(method, parts.path, body, headers)

    def signs(self, method: str, target: str) -> bool:
        """Whether a request asks for a signature."""
        return method == "POST" and ("/sign" in target or ":asymmetricSign" in target)


class Server(ThreadingHTTPServer):
    """Serves `state` until `leaving` is set."""

    daemon_threads = True

    def __init__(self, state: KeyServices) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state, self.leaving = state, threading.Event()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        self.server.state.connections += 1
        with suppress(ConnectionError):  # whoever hung up has had enough
            super().handle()

    def answer(self) -> None:
        """Answer one request, well or as the fault in force has it."""
        state = self.server.state
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if state.signs(self.command, self.path) and self.spoiled(state):
            return
        try:
            found, status, headers = state.answer(self.command, self.path, raw, self.headers), 200, {}
        except Refused as refused:
            found, status, headers = {"errors": [str(refused)], "error": {"message": str(refused)}}, refused.status, refused.headers
        self.tell(status, json.dumps(found).encode(), headers)

    def spoiled(self, state: KeyServices) -> bool:
        """Whether the fault in force has answered."""
        fault = state.fault
        if fault == "again" and state.times:
            state.times -= 1
            self.tell(503, b"{}", {"Retry-After": "0"})
        elif fault in SPOILED:
            status, body, headers, length = SPOILED[fault]
            self.tell(status, body, headers, length)
            self.close_connection = length is not None
        elif fault in ("slow", "gone"):
            self.server.leaving.wait(30 if fault == "slow" else 0)
            self.close_connection = True
        else:
            return False
        return True

    def tell(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        """Send an answer that says it is `length` bytes long."""
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) if length is None else length))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_LIST = answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


SPOILED: dict[str, tuple[int, bytes, dict[str, str], int | None]] = {
    "throttled": (429, b'{"errors": ["too many"]}', {"Retry-After": "0"}, None),
    "redirect": (307, b"", {"Location": "/elsewhere"}, None),
    "truncated": (200, b'{"sig', {}, 4_000),
    "no json": (200, b"<html>", {}, None),
    "endless": (200, b" " * 300_000, {}, None),
}


@contextmanager
def serving(state: KeyServices, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve for as long as the context lasts; gives the URL."""
    server = Server(state)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state.url
    finally:
        server.leaving.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def digest(message: bytes) -> bytes:
    """SHA-256."""
    return sha256(message).digest()


def _crc(data: bytes) -> str:
    return str(google_crc32c.value(data))


def _64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _un64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
