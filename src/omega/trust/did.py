"""Decentralised identifiers: who vouches for a credential, and with which key. Pure: fetching is an adapter's (`omega.adapters.did`).

    did:key:z6Mk...              the key itself, as multicodec in base58 (W3C CCG did:key); nothing is fetched
    did:web:example.com:team     the document at https://example.com/team/did.json (W3C CCG did:web)

Only keys that may assert (`assertionMethod`) are read from a document, and only from one whose `id` is the identifier asked for: a web
server never speaks for another's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import unquote

from omega.kernel.errors import Denied, StorageError
from omega.trust.jws import strict_json
from omega.trust.keys import ED25519, ES256, PublicKey, point_of, public_of_jwk

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ED25519_CODE = b"\xed\x01"
P256_CODE = b"\x80\x24"
"""Multicodec 0xed and 0x1200 as unsigned varints."""

MAX_DID = 512
MAX_DOCUMENT = 64 << 10
"""Largest did:web document in bytes."""

MAX_KEYS = 32
"""Most keys read from one document: each is tried when a credential does not say which."""

_HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]{1,5})?")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class Documents(Protocol):
    """Where documents of did:web are fetched. Implemented by `omega.adapters.did`."""

    def fetch(self, address: str) -> bytes:
        """What lies at `address` (https). Raises UpstreamError when it cannot be had."""
        ...


def keys_of(did: str, documents: Documents | None = None) -> dict[str, PublicKey]:
    """The keys with which `did` asserts, by their full names (`did#fragment`).

    Raises Denied (OMG-T007) for an identifier that is none or a document that does not hold, and what `documents` raises.
    """
    if did.startswith("did:key:"):
        return {f"{did}#{did.removeprefix('did:key:')}": key_of(did)}
    address = address_of(did)
    if documents is None:
        raise _refused("documents of did:web are not fetched here")
    return read_document(did, documents.fetch(address))


def key_of(did: str) -> PublicKey:
    """The key of a did:key. Raises Denied (OMG-T007)."""
    text = did.removeprefix("did:key:")
    if len(did) > MAX_DID or text == did or not text.startswith("z"):
        raise _refused("this is no did:key")
    return _multikey(text)


def did_of(key: PublicKey) -> str:
    """The did:key of an Ed25519 or P-256 key. Raises Denied (OMG-T007) for another kind."""
    if key.algorithm == ED25519:
        return "did:key:z" + base58(ED25519_CODE + key.raw)
    if key.algorithm == ES256:
        return "did:key:z" + base58(P256_CODE + bytes([2 + (key.raw[-1] & 1)]) + key.raw[1:33])
    raise _refused(f"keys of {key.algorithm} have no did:key")


def address_of(did: str) -> str:
    """Where the document of a did:web lies. Raises Denied (OMG-T007): hosts are names, not numbers, and paths have plain segments."""
    parts = did.split(":")
    if len(did) > MAX_DID or parts[:2] != ["did", "web"] or len(parts) < 3:
        raise _refused("this is no did:web")
    host, path = unquote(parts[2]).lower(), parts[3:]
    if not _HOST.fullmatch(host) or host.partition(":")[0].rpartition(".")[2].isdigit():
        raise _refused("the host of this did:web is no name")
    if any(not _SEGMENT.fullmatch(segment) or segment in (".", "..") for segment in path):
        raise _refused("the path of this did:web is not plain")
    return f"https://{host}/" + ("/".join(path) + "/did.json" if path else ".well-known/did.json")


def read_document(did: str, raw: bytes) -> dict[str, PublicKey]:
    """The asserting keys in a document of `did`. Keys of kinds unknown here are left out. Raises Denied (OMG-T007)."""
    try:
        document = strict_json(raw) if len(raw) <= MAX_DOCUMENT else {}
    except (ValueError, RecursionError):
        document = {}
    if document.get("id") != did:
        raise _refused("the document is not that of the identifier")
    methods = {each["id"]: each for each in _listed(document, "verificationMethod") if isinstance(each.get("id"), str)}
    found: dict[str, PublicKey] = {}
    for stated in _entries(document, "assertionMethod"):
        method = methods.get(_absolute(did, stated)) or methods.get(stated) if isinstance(stated, str) else stated
        if not isinstance(method, dict) or method.get("controller") != did or not isinstance(method.get("id"), str):
            continue
        key = _method_key(method)
        if key is not None:
            found[_absolute(did, method["id"])] = key
    if not found:
        raise _refused("the document names no key that may assert and that is known here")
    return found


def document_of(did: str, key: PublicKey) -> dict[str, Any]:
    """The document of the did:web `did` that says that it asserts with `key`, to be served at `address_of(did)`.

    Raises Denied (OMG-T007) for what is no did:web.
    """
    address_of(did)
    method = f"{did}#{key.kid}"
    entry = {"id": method, "type": "JsonWebKey2020", "controller": did, "publicKeyJwk": key.jwk()}
    contexts = ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"]
    return {"@context": contexts, "id": did, "verificationMethod": [entry], "assertionMethod": [method]}


def base58(raw: bytes) -> str:
    """Bitcoin's base58 of `raw`."""
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = ALPHABET[rest] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def unbase58(text: str) -> bytes:
    """The bytes that `text` writes. Raises ValueError."""
    number = 0
    for letter in text:
        number = number * 58 + ALPHABET.index(letter)
    body = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return b"\0" * (len(text) - len(text.lstrip("1"))) + body


def _multikey(text: str) -> PublicKey:
    """The key in a `publicKeyMultibase`. Raises Denied (OMG-T007)."""
    try:
        raw = unbase58(text[1:]) if text.startswith("z") and len(text) <= MAX_DID else b""
        if raw.startswith(ED25519_CODE) and len(raw) == 34:
            return PublicKey(raw[2:])
        if raw.startswith(P256_CODE) and len(raw) == 35:
            return PublicKey(_uncompressed(raw[2:]))
    except (ValueError, StorageError) as error:
        raise _refused("the key in the identifier cannot be read") from error
    raise _refused("the key in the identifier is of no known kind")


def _uncompressed(point: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return point_of(point).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _method_key(method: Mapping[str, Any]) -> PublicKey | None:
    try:
        if isinstance(method.get("publicKeyMultibase"), str):
            return _multikey(method["publicKeyMultibase"])
        if isinstance(method.get("publicKeyJwk"), dict):
            return public_of_jwk(method["publicKeyJwk"])
    except (ValueError, Denied):
        return None
    return None


def _listed(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return [each for each in _entries(document, name) if isinstance(each, dict)]


def _entries(document: Mapping[str, Any], name: str) -> list[Any]:
    found = document.get(name, [])
    if not isinstance(found, list) or len(found) > MAX_KEYS:
        raise _refused(f"the {name} of the document is no short list")
    return found


def _absolute(did: str, name: str) -> str:
    return did + name if name.startswith("#") else name


def _refused(cause: str) -> Denied:
    return Denied("OMG-T007", cause)
