"""Passkeys (Web Authentication Level 3, w3.org/TR/webauthn-3): what a browser says in the name of a key is checked here.

Pure: no clock, no store, no randomness. Whoever asks keeps what it asked (`Asked`) and hands it in again with the answer:

    challenge_of(about, nonce)  ->  the browser  ->  registered(asked, said)   a new key
                                                     proven(asked, key, said)  the key's new count

The bytes themselves (CBOR, COSE, signatures) are read by the package `webauthn`, which comes with the extra `passkeys`. What is added:
every part is bounded and spelled strictly before it is read, pages inside frames of others are refused, attestations other than `none` and
a key's own (`packed`, no certificates) are refused unread, and a count that does not rise is told apart from a signature that does not
hold: the count is looked at only once the signature holds, so nobody without the key can raise that alarm.

It must not know: whose a key is, where it lies, which decision is being made. `about` holds the words for that.
"""

from __future__ import annotations

import base64
import binascii
import io
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from omega.kernel.errors import Denied, InputError

NONCE_BYTES = 32
"""Length of what makes each challenge another, in bytes: twice what the standard asks for (13.4.3)."""

ALGORITHMS = (-8, -7, -257)
"""COSE numbers of the signatures that count: EdDSA, ES256, and RS256 for the platforms that have nothing else."""

FORMATS = ("none", "packed")
"""Attestations that are read. Nothing here asks who built a key, so the parsers for all the others stay unused."""

MAX_CLIENT_DATA = 4_096
MAX_ATTESTATION = 16_384
MAX_AUTHENTICATOR = 2_048
MAX_SIGNATURE = 1_024
MAX_HANDLE = 64
MAX_ID = 1_023
"""Most bytes of each part of an answer; the last two are the standard's own (5.4.3, 6.5.1)."""

_TEXT = re.compile(r"[A-Za-z0-9_-]+")
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser was asked: the `challenge`, the `origin` of the page that asks, and the user `handle` (16 to 64 bytes) of whom."""

    challenge: bytes
    origin: str
    handle: bytes

    @property
    def rp_id(self) -> str:
        """The domain that keys are bound to. Raises InputError (OMG-I001) where there can be none."""
        return domain_of(self.origin)


@dataclass(frozen=True, slots=True)
class Key:
    """A registered key: its `id` and `public` key (COSE, RFC 9052) in bytes, and how often it has signed, as it says itself."""

    id: bytes
    public: bytes
    count: int


def challenge_of(about: Sequence[str], nonce: bytes) -> bytes:
    """The 32-byte challenge that binds an answer to `about` (whose, for what, which decision) and to this one time it was asked."""
    parts = b"".join(len(part).to_bytes(4, "big") + part for part in (*(text.encode() for text in about), nonce))
    return sha256(b"omega passkey 1\n" + parts).digest()


def domain_of(origin: str) -> str:
    """The relying party id of a page at `origin`: its host.

    Raises InputError (OMG-I001) where browsers offer no passkeys: at an address instead of a name, and without HTTPS elsewhere than at
    `localhost` (5.1.2, and secure contexts).
    """
    found = urlsplit(origin)
    host = found.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        named = _HOST.fullmatch(host) is not None
    else:
        named = False
    if not named:
        raise InputError("OMG-I001", "a passkey is bound to a name, and this page stands at an address", advice="open it at localhost")
    if found.scheme != "https" and host != "localhost":
        raise InputError("OMG-I001", "a passkey takes HTTPS, or the name localhost", advice="omega up --certificate FILE --key FILE")
    return host


def registered(asked: Asked, said: Any) -> Key:
    """The new key of an answer to `navigator.credentials.create`, as `PublicKeyCredential.toJSON` gives it.

    Raises Denied (OMG-T011) for whatever does not hold, InputError (OMG-X001) without the package.
    """
    with _reading() as library:
        plain, parts = _answer(said, {"clientDataJSON": MAX_CLIENT_DATA, "attestationObject": MAX_ATTESTATION})
        _demand_own_page(parts["clientDataJSON"])
        _demand_whole(parts["attestationObject"])
        attestation = library.helpers.parse_attestation_object(parts["attestationObject"])
        if attestation.fmt not in FORMATS or attestation.att_stmt.x5c is not None:
            raise refused("its attestation is of a kind that is not read here")
        found = library.verify_registration_response(
            credential=plain,
            expected_challenge=asked.challenge,
            expected_rp_id=asked.rp_id,
            expected_origin=asked.origin,
            require_user_verification=True,
            supported_pub_key_algs=list(ALGORITHMS),
        )
        if found.credential_id != parts["id"] or not 0 < len(found.credential_id) <= MAX_ID:
            raise refused("its id is not the one that was signed")
        return Key(found.credential_id, found.credential_public_key, found.sign_count)


def proven(asked: Asked, key: Key, said: Any) -> int:
    """The new count of `key`, after its answer to `navigator.credentials.get`.

    Raises Denied: OMG-T011 for whatever does not hold, OMG-T012 where it holds and the count says that there are two of the key (6.1.1);
    InputError (OMG-X001) without the package.
    """
    with _reading() as library:
        limits = {"clientDataJSON": MAX_CLIENT_DATA, "authenticatorData": MAX_AUTHENTICATOR, "signature": MAX_SIGNATURE}
        plain, parts = _answer(said, limits)
        _demand_own_page(parts["clientDataJSON"])
        if parts["id"] != key.id:
            raise refused("it is another key's")
        if parts.get("userHandle", asked.handle) != asked.handle:
            raise refused("it is another person's")
        found = library.verify_authentication_response(
            credential=plain,
            expected_challenge=asked.challenge,
            expected_rp_id=asked.rp_id,
            expected_origin=asked.origin,
            credential_public_key=key.public,
            credential_current_sign_count=0,  # the count is looked at below, once the signature holds
            require_user_verification=True,
        )
    if (key.count or found.new_sign_count) and found.new_sign_count <= key.count:
        cause = f"the count of the key went from {key.count} to {found.new_sign_count}: there may be a copy of it"
        raise Denied("OMG-T012", cause)
    return int(found.new_sign_count)


def id_of(said: Any) -> bytes:
    """The id of the key that an answer names. Raises Denied (OMG-T011)."""
    return _bytes(said.get("id") if isinstance(said, Mapping) else None, "id", MAX_ID)


def encoded(data: bytes) -> str:
    """Bytes as the JSON of WebAuthn spells them: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def refused(why: str) -> Denied:
    """The refusal of an answer."""
    return Denied("OMG-T011", f"the passkey does not hold: {why}")


def demand_library() -> None:
    """Raise InputError (OMG-X001) unless the package that reads answers is installed."""
    _library()


def _library() -> Any:
    try:
        import webauthn
        import webauthn.helpers.exceptions
    except ImportError as error:
        cause = f"{error.name} is not installed, and passkeys need it"
        raise InputError("OMG-X001", cause, advice="install the extra `passkeys` of this package") from error
    return webauthn


@contextmanager
def _reading() -> Iterator[Any]:
    """The package, and every way in which it says that an answer does not hold as one refusal.

    It lets some errors of the language through where CBOR is of an unforeseen shape (a number in the place of a map); they mean the same.
    """
    library = _library()
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    told = library.helpers.exceptions.WebAuthnException
    shapes = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
    try:
        yield library
    except told as error:
        raise refused(str(error)[:120].lower()) from error
    except (InvalidSignature, UnsupportedAlgorithm, *shapes) as error:
        raise refused("it cannot be read") from error


def _demand_whole(attestation: bytes) -> None:
    """The package reads the first value of CBOR and stops; whatever follows it was signed by nobody. Raises Denied (OMG-T011)."""
    import cbor2

    rest = io.BytesIO(attestation)
    try:
        cbor2.load(rest)
    except cbor2.CBORError as error:
        raise refused("its attestation cannot be read") from error
    if rest.tell() != len(attestation):
        raise refused("its attestation has more in it than an attestation")


def _answer(said: Any, limits: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The answer with nothing in it but the parts that are checked, and these in bytes."""
    if not isinstance(said, Mapping) or said.get("type") != "public-key" or not isinstance(said.get("response"), Mapping):
        raise refused("it is no answer of a browser")
    if said.get("rawId") != said.get("id"):
        raise refused("it names two keys")
    response = said["response"]
    parts = {name: _bytes(response.get(name), name, most) for name, most in limits.items()} | {"id": id_of(said)}
    if "signature" in limits and response.get("userHandle"):
        parts["userHandle"] = _bytes(response["userHandle"], "userHandle", MAX_HANDLE)
    inner = {name: response[name] for name in limits}
    return {"id": said["id"], "rawId": said["id"], "type": "public-key", "response": inner}, parts


def _bytes(text: Any, name: str, most: int) -> bytes:
    """base64url in the one spelling that it has: no padding, no strange letters, no spare bits."""
    if type(text) is not str or len(text) > most * 4 // 3 + 2 or _TEXT.fullmatch(text) is None:
        raise refused(f"{name} is missing, too long, or no base64url")
    try:
        found = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise refused(f"{name} is no base64url") from error
    if encoded(found) != text:
        raise refused(f"{name} is spelled in two ways")
    return found


def _demand_own_page(client_data: bytes) -> None:
    """Raise Denied (OMG-T011) where a page was asked inside a frame of another one."""
    found = json.loads(client_data)
    if not isinstance(found, dict) or found.get("crossOrigin", False) is not False or "topOrigin" in found:
        raise refused("it was asked for inside a foreign page")
