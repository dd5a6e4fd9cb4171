"""Checkpoints: what a log says about itself, signed so that anybody can hold it to its word.

The body is a C2SP tlog-checkpoint (origin, number of leaves, base64 of the root, then optional extension lines); around it a C2SP
signed-note (a blank line, then one line per signature). Both are plain text that Go's checksum database, Sigstore and the public witnesses
speak, so they check Omega's logs without any code of ours.

    example.org/log          origin: names this log and no other
    42
    qINS1GRFWFPXJBfTPNQLdCuJOB8YNfZbxsd0tZ5+aqE=

    — example.org/log Az3grk...

A key is written as a verifier key: name, key id (hex) and base64 of the algorithm byte and public key, joined by `+`. The id is the first
four bytes of SHA-256(name, newline, algorithm byte, public key). The name of a log's key is its origin, so a checkpoint of one
tenant's log is worth nothing for another's even when one installation key signs both. Signatures by keys that the reader does not
know are kept and ignored, as the format demands: that is where the lines of witnesses go (C2SP tlog-cosignature), and that of a second
key of the log itself, for the day when elliptic curves fall:

    0x01  Ed25519                the log's ordinary key
    0x02  ECDSA P-256            the same where it lives in an HSM: the id is over the SPKI form, the signature in DER, as witnesses do it
    0xff  "omega-ml-dsa-65/1"    ML-DSA-65 (FIPS 204) over the note text: the format keeps 0xff and a name for types without a byte
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from omega.kernel.errors import IntegrityError, StorageError
from omega.kernel.ports import Signer
from omega.trust import keys
from omega.trust.keys import PublicKey

ED25519 = 0x01
"""Algorithm byte of an ordinary Ed25519 signature of a note (C2SP signed-note)."""

ECDSA = 0x02
"""Algorithm byte of an ECDSA signature of a note, here always on P-256."""

NAMED = 0xFF
"""The byte of types without one of their own: a name follows."""

ML_DSA_65_NAME = b"omega-ml-dsa-65/1"

COSIGNATURE = 0x04
"""Algorithm byte of a witness's timestamped Ed25519 signature (C2SP tlog-cosignature)."""

MAX_NOTE = 64 << 10
"""Largest checkpoint in bytes: three lines and a few hundred signatures fit; anything larger is not a checkpoint."""

MAX_SIGNATURES = 256
"""Most signature lines read, so that a hostile note cannot make a reader verify for ever."""

_DASH = "\u2014 "
_MIN_LINES = 3
_BYTES = {keys.ED25519: ED25519, keys.ES256: ECDSA, keys.ML_DSA_65: NAMED}
_P256_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""What stands before the point in the SPKI form of a P-256 key (RFC 5480): always the same 26 bytes."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under the name it signs for. `algorithm` is COSIGNATURE for a witness, else the byte that belongs to the key."""

    name: str
    public: bytes
    algorithm: int = ED25519

    @classmethod
    def of(cls, name: str, public: bytes) -> VerifierKey:
        """The key of a log in its raw form (`omega.trust.keys`). Raises StorageError (OMG-T003) for bytes of no known length."""
        return cls(name, public, _BYTES[PublicKey(public).algorithm])

    @property
    def key_id(self) -> bytes:
        """The four bytes by which signature lines refer to this key: a hint, not a proof."""
        return key_id(self.name, self.public, self.algorithm)

    def text(self) -> str:
        """The key in the form that Go's note package and witnesses take."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_typed(self.public, self.algorithm)).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key that `text` writes. Raises IntegrityError (OMG-C001) when it is none, or its id does not match."""
        name, _, rest = text.strip().partition("+")
        written_id, _, body = rest.partition("+")
        raw = _unbase64(body)
        public = _untyped(raw or b"")
        if raw is None or public is None or not is_key_name(name):
            raise IntegrityError("OMG-C001", "the verifier key cannot be read", advice="give the key as the log prints it: name+id+base64")
        key = cls(name, public, raw[0])
        if key.key_id.hex() != written_id:
            raise IntegrityError("OMG-C001", "the verifier key does not match its own id", advice="copy the whole key again")
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: the name and key id it claims, and the bytes that follow."""

    name: str
    key_id: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log of `size` leaves under `root`, at `origin`. `extensions` are further lines, kept and not interpreted."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def body(self) -> bytes:
        """The signed text, with its final newline."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint as it travels: what it says, the very bytes that were signed, and who claims to have signed them."""

    checkpoint: Checkpoint
    body: bytes
    signatures: tuple[Signature, ...]

    def signed_by(self, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
        """Those of `keys` whose signature on this note is good. Raises IntegrityError (OMG-C001) when a known key's is bad."""
        return signers(self.body, self.signatures, keys)


def signers(body: bytes, signatures: Iterable[Signature], keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Those of `keys` that signed `body`. Raises IntegrityError (OMG-C001) when a known key's signature is bad."""
    good = []
    for key in keys:
        for signature in signatures:
            if signature.name != key.name or signature.key_id != key.key_id:
                continue
            if not _verifies(key, signature.value, body):
                raise IntegrityError("OMG-C001", f"the signature of {key.name} is wrong")
            good.append(key)
            break
    return tuple(good)


def is_key_name(name: str) -> bool:
    """Whether `name` may name a key: not empty, no white space, no `+` (C2SP signed-note)."""
    return bool(name) and "+" not in name and not any(letter.isspace() or not letter.isprintable() for letter in name)


def key_id(name: str, public: bytes, algorithm: int = ED25519) -> bytes:
    """The first four bytes of SHA-256(name, newline, type, public key); for ECDSA of SHA-256(SPKI), as its type has it."""
    if algorithm == ECDSA:
        return sha256(_P256_SPKI + public).digest()[:4]
    return sha256(name.encode() + b"\n" + _typed(public, algorithm)).digest()[:4]


def sign(checkpoint: Checkpoint, signer: Signer, *also: Signer) -> bytes:
    """`checkpoint` as a note signed by `signer`, and by those `also` given, under the name of its origin.

    Raises IntegrityError (OMG-C001) when that names no key, and what a signer raises.
    """
    if not is_key_name(checkpoint.origin):
        raise IntegrityError("OMG-C001", "a log cannot have this name", advice="name tenants without spaces and plus signs")
    return signed_note(checkpoint.body(), checkpoint.origin, (signer, *also))


def signed_note(body: bytes, name: str, by: Sequence[Signer]) -> bytes:
    """`body`, which ends in a newline, signed by each of `by` under `name` (C2SP signed-note)."""
    lines = [body, b"\n"]
    for signer in by:
        key = VerifierKey.of(name, signer.public)
        value = key.key_id + _written(key.algorithm, signer.sign(body))
        lines.append(f"{_DASH}{name} {base64.b64encode(value).decode()}\n".encode())
    return b"".join(lines)


def also_signed(note: bytes, signer: Signer) -> bytes:
    """`note` with the signature of `signer` too, under the name of its origin, unless it has one of that key already.

    Raises IntegrityError (OMG-C001) for what is no checkpoint, and what the signer raises.
    """
    found = parse(note)
    name = found.checkpoint.origin
    if any(line.name == name and line.key_id == VerifierKey.of(name, signer.public).key_id for line in found.signatures):
        return note
    return note + signed_note(found.body, name, (signer,)).removeprefix(found.body + b"\n")


def cosign(note: bytes, *, name: str, signer: Signer, at_s: int) -> bytes:
    """`note` with a witness's line added: `name` saw it at `at_s` (Unix seconds). The witness checks consistency before it calls this."""
    body = parse(note).body
    value = key_id(name, signer.public, COSIGNATURE) + at_s.to_bytes(8, "big") + signer.sign(_cosigned(body, at_s))
    return note + f"{_DASH}{name} {base64.b64encode(value).decode()}\n".encode()


def parse(note: bytes) -> Note:
    """The note that `note` writes, its signatures not yet checked. Raises IntegrityError (OMG-C001) when it is none."""
    body, signatures = split(note)
    return Note(_checkpoint(body.decode().removesuffix("\n")), body, signatures)


def split(note: bytes) -> tuple[bytes, tuple[Signature, ...]]:
    """The signed text of any signed note, with its final newline, and the lines below it. Raises IntegrityError (OMG-C001)."""
    try:
        text = note.decode() if len(note) <= MAX_NOTE else ""
    except UnicodeDecodeError:
        text = ""
    body, blank, tail = text.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise _unreadable("it is not a signed note")
    signatures = tuple(_signature(line) for line in tail[:-1].split("\n"))
    if len(signatures) > MAX_SIGNATURES:
        raise _unreadable(f"it has more than {MAX_SIGNATURES} signatures")
    return body.encode() + b"\n", signatures


def verify(note: bytes, keys: Iterable[VerifierKey], *, origin: str) -> Checkpoint:
    """The checkpoint of `note`, which at least one of `keys` signed for `origin`. Raises IntegrityError (OMG-C001) otherwise."""
    parsed = parse(note)
    if parsed.checkpoint.origin != origin:
        raise IntegrityError("OMG-C001", f"the checkpoint is of {parsed.checkpoint.origin}, not of {origin}")
    if not parsed.signed_by(keys):
        raise IntegrityError("OMG-C001", "no known key signed the checkpoint")
    return parsed.checkpoint


def _checkpoint(body: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) < _MIN_LINES or not lines[0] or "" in lines[_MIN_LINES:]:
        raise _unreadable("it lacks origin, size or root")
    origin, size, encoded = lines[:_MIN_LINES]
    root = _unbase64(encoded)
    if not (size.isascii() and size.isdigit()) or (size != "0" and size.startswith("0")) or len(size) > 18:
        raise _unreadable("its size is not a number")
    if root is None or len(root) != 32:
        raise _unreadable("its root is not a hash")
    return Checkpoint(origin, int(size), root, tuple(lines[_MIN_LINES:]))


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _unbase64(encoded)
    if not line.startswith(_DASH) or not is_key_name(name) or raw is None or len(raw) <= 4:
        raise _unreadable("a signature line has no known form")
    return Signature(name, raw[:4], raw[4:])


def _verifies(key: VerifierKey, value: bytes, body: bytes) -> bool:
    message = body
    if key.algorithm == COSIGNATURE:
        message, value = _cosigned(body, int.from_bytes(value[:8], "big")), value[8:]
    elif key.algorithm == ECDSA:
        try:
            value = keys.es256_of_der(value)
        except ValueError:
            return False
    return PublicKey(key.public).verifies(value, message)


def _typed(public: bytes, algorithm: int) -> bytes:
    """Type and key as verifier keys write them."""
    if algorithm == ECDSA:
        return bytes([ECDSA]) + _P256_SPKI + public
    return bytes([algorithm]) + (ML_DSA_65_NAME if algorithm == NAMED else b"") + public


def _untyped(raw: bytes) -> bytes | None:
    """The raw key in what a verifier key writes; None when it is of no known type."""
    for algorithm, name in ((ED25519, keys.ED25519), (COSIGNATURE, keys.ED25519), (ECDSA, keys.ES256), (NAMED, keys.ML_DSA_65)):
        head = _typed(b"", algorithm)
        if raw.startswith(head):
            try:
                public = PublicKey(raw[len(head) :])
            except StorageError:
                return None
            return public.raw if public.algorithm == name else None
    return None


def _written(algorithm: int, signature: bytes) -> bytes:
    """A signature of `Signer.sign` as its line holds it."""
    return keys.der_of_es256(signature) if algorithm == ECDSA else signature


def _cosigned(body: bytes, at_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % at_s + body


def _unbase64(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _unreadable(why: str) -> IntegrityError:
    return IntegrityError("OMG-C001", f"the checkpoint cannot be read: {why}")
