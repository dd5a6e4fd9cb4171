"""Sealing: every execution has a data key of its own, wrapped under the root; destroying it destroys the payloads and nothing else.

    root (32 bytes, key store)
      ├─ blob keys         HKDF(root), then per tenant        see `Vault`
      └─ wrapping key      HKDF(root)                         one per root; its id is written into what it wraps
           └─ data key     32 random bytes per execution      stored wrapped beside the execution
                ├─ sealing key       AES-256-GCM, a random 96-bit nonce per value, the caller's context as associated data
                └─ commitment key    HMAC-SHA256 over (length of context, context, value)

A commitment is a digest that may leave the store: without the data key it can be neither checked nor guessed, so erasing the key erases
what the digest says about the value while every Merkle proof over it still holds. Sealing and commitment keys are derived apart
(RFC 5869), so no commitment is ever a step towards opening a value.

Wrapped keys and sealed values begin with a version byte; a wrapped key also names the key that wraps it, so that keys per tenant or per
subject and rotation come in without a new format.

    wrapped   1 | key id (4) | nonce (12) | AES-GCM(data key) + tag (48)
    sealed    1 | nonce (12) | AES-GCM(value) + tag
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omega.kernel.errors import IntegrityError, StorageError

KEY_SIZE = 32
"""Bytes of the root and of every derived key."""

NONCE_SIZE = 12
TAG_SIZE = 16
KEY_ID_SIZE = 4
VERSION = b"\x01"

_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
"""The paddings of HMAC (RFC 2104), as tables to translate a key with."""

_WRAPPED_SIZE = 1 + KEY_ID_SIZE + NONCE_SIZE + KEY_SIZE + TAG_SIZE


_BLOCK = sha256().block_size
_UNSALTED = bytes(_BLOCK).translate(_INNER), bytes(_BLOCK).translate(_OUTER)
"""The padded keys of HMAC without a key, with which HKDF without salt extracts."""


def derive(key: bytes, purpose: bytes) -> bytes:
    """A 32-byte key for one `purpose` only: HKDF-SHA256 (RFC 5869) without salt, one block."""
    return derived(key, purpose)[0]


def derived(key: bytes, *purposes: bytes) -> list[bytes]:
    """A key for each of `purposes`, as `derive` makes them. HMAC is spelled out: every execution derives two, and it takes a third."""
    inner, outer = _padded(sha256(_UNSALTED[1] + sha256(_UNSALTED[0] + key).digest()).digest())
    return [sha256(outer + sha256(inner + purpose + b"\x01").digest()).digest() for purpose in purposes]


def _padded(key: bytes) -> tuple[bytes, bytes]:
    """The inner and the outer padded key of HMAC-SHA256 (RFC 2104) with a key of at most one block."""
    whole = key.ljust(_BLOCK, b"\x00")
    return whole.translate(_INNER), whole.translate(_OUTER)


class ExecutionSealer:
    """Seals, opens and commits to the payloads of one execution. Implements `omega.kernel.ports.Sealer`."""

    __slots__ = ("_cipher", "_decrypt", "_encrypt", "_entropy", "_inner", "_outer")

    def __init__(self, data_key: bytes, *, entropy: Callable[[int], bytes]) -> None:
        sealing, committing = derived(data_key, b"omega seal 1", b"omega commit 1")
        self._cipher = AESGCM(sealing)
        self._encrypt = self._cipher.encrypt
        self._decrypt = self._cipher.decrypt
        # HMAC (RFC 2104) spelled out with its two padded keys made once: half the time of `hmac.digest`, and commitments are many.
        self._inner, self._outer = _padded(committing)
        self._entropy = entropy

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """`plain` sealed for `context` (what it is and where it belongs); opens under the same context only."""
        nonce = self._entropy(NONCE_SIZE)
        return VERSION + nonce + self._encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The plain value. Raises IntegrityError (OMG-T004) when bytes, context or key are not those of `seal`."""
        if sealed[:1] != VERSION or len(sealed) <= NONCE_SIZE + TAG_SIZE:
            raise IntegrityError("OMG-T004", "a sealed value has no known form")
        try:
            return self._decrypt(sealed[1 : 1 + NONCE_SIZE], sealed[1 + NONCE_SIZE :], context)
        except InvalidTag as error:
            raise IntegrityError("OMG-T004", "a sealed value does not open with the key of its execution") from error

    def commit(self, plain: bytes, context: bytes) -> bytes:
        """The 32-byte salted commitment to `plain` in `context`: same value, context and execution, same bytes."""
        message = len(context).to_bytes(4, "big") + context + plain
        return sha256(self._outer + sha256(self._inner + message).digest()).digest()

    def __repr__(self) -> str:
        return "<sealer>"


@dataclass(frozen=True, slots=True)
class SealedBlob:
    """A value sealed for a blob store: where it lies, what opens it, and what lies there."""

    address: bytes
    key: bytes
    body: bytes


class Vault:
    """Seals large values of one tenant so that equal ones are one, and nobody without the tenant's key can tell what any of them is.

        content key   HMAC(tenant key, "content", value)       opens the blob; stands in sealed rows alone
        address       HMAC(tenant key, "address", content key)
        body          1 | AES-256-GCM under the content key, nonce zero, the address as associated data

    The nonce may be fixed because a content key belongs to one value: the same key never seals two. Convergent encryption lets whoever
    holds the key guess at values; here that key is the tenant's, derived from the root, so neither another tenant nor the blob store can.
    """

    __slots__ = ("_key",)

    def __init__(self, tenant_key: bytes) -> None:
        self._key = tenant_key

    def seal(self, plain: bytes) -> SealedBlob:
        """`plain` as a blob."""
        key = hmac.digest(self._key, b"content\n" + plain, "sha256")
        address = self.address(key)
        return SealedBlob(address, key, VERSION + AESGCM(key).encrypt(bytes(NONCE_SIZE), plain, address))

    def address(self, key: bytes) -> bytes:
        """Where the value lies that `key` opens: 32 bytes."""
        return hmac.digest(self._key, b"address\n" + key, "sha256")

    def open(self, key: bytes, body: bytes) -> bytes:
        """The value again. Raises IntegrityError (OMG-T004) when the body is another one."""
        if body[:1] != VERSION or len(body) <= TAG_SIZE:
            raise IntegrityError("OMG-T004", "a blob has no known form")
        try:
            return AESGCM(key).decrypt(bytes(NONCE_SIZE), body[1:], self.address(key))
        except InvalidTag as error:
            raise IntegrityError("OMG-T004", "a blob is not what was put there") from error

    def __repr__(self) -> str:
        return "<vault>"


class Keyring:
    """Makes and opens the data keys of executions under one 32-byte root. `entropy(n)` gives n random bytes."""

    def __init__(self, root: bytes, *, entropy: Callable[[int], bytes]) -> None:
        if len(root) != KEY_SIZE:
            raise StorageError("OMG-T003", f"the sealing root has {len(root)} bytes, not {KEY_SIZE}")
        wrapping = derive(root, b"omega wrap 1")
        self._key_id = sha256(b"omega key id 1\n" + wrapping).digest()[:KEY_ID_SIZE]
        self._wrapper = AESGCM(wrapping)
        self._blobs = derive(root, b"omega blobs 1")
        self._subjects = derive(root, b"omega subjects 1")
        self._entropy = entropy

    def vault(self, tenant: str) -> Vault:
        """What seals the large values of `tenant`."""
        return Vault(derive(self._blobs, b"tenant\n" + tenant.encode()))

    def subject(self, tenant: str, name: str) -> str:
        """The keyed mark (hex, 128 bits) under which what concerns `name`, a person or thing, is found; secret without the root."""
        return hmac.digest(derive(self._subjects, b"tenant\n" + tenant.encode()), name.encode(), "sha256")[:16].hex()

    def create(self, execution: str) -> tuple[bytes, ExecutionSealer]:
        """A new data key for `execution`: its wrapped form to store with it, and the sealer that uses it."""
        data_key = self._entropy(KEY_SIZE)
        nonce = self._entropy(NONCE_SIZE)
        sealed = self._wrapper.encrypt(nonce, data_key, _wrap_context(execution))
        return VERSION + self._key_id + nonce + sealed, ExecutionSealer(data_key, entropy=self._entropy)

    def open(self, execution: str, wrapped: bytes) -> ExecutionSealer:
        """The sealer of `execution`.

        Raises IntegrityError (OMG-T004) when `wrapped` was destroyed, changed, moved or made under another root.
        """
        if len(wrapped) != _WRAPPED_SIZE or wrapped[:1] != VERSION:
            raise IntegrityError("OMG-T004", f"the data key of {execution} is gone or has no known form")
        key_id, rest = wrapped[1 : 1 + KEY_ID_SIZE], wrapped[1 + KEY_ID_SIZE :]
        if not hmac.compare_digest(key_id, self._key_id):
            raise IntegrityError("OMG-T004", f"the data key of {execution} belongs to another sealing root")
        try:
            data_key = self._wrapper.decrypt(rest[:NONCE_SIZE], rest[NONCE_SIZE:], _wrap_context(execution))
        except InvalidTag as error:
            raise IntegrityError("OMG-T004", f"the data key of {execution} was changed") from error
        return ExecutionSealer(data_key, entropy=self._entropy)

    def __repr__(self) -> str:
        return "<keyring>"


def _wrap_context(execution: str) -> bytes:
    return b"omega data key 1\n" + execution.encode()
