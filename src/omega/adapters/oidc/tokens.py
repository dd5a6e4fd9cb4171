"""What an ID token says, once every check of OpenID Connect Core 1.0, 3.1.3.7 and 3.1.3.6 has passed. Signatures are joserfc's work.

alg      one of `ALGORITHMS`: signatures with public keys alone, so nobody makes a token with what is public, or with no key
kid      one key of the provider; a token that names none is verified where the provider has one key of that kind
iss, aud exactly this provider and this client; with several audiences, or where it is said, `azp` is this client
exp, iat not over, and made lately; nonce the one of this attempt; at_hash the access token that came beside it
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega.kernel.errors import Denied

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
LEEWAY_S: Final = 60
"""How far the provider's clock may be from ours, in seconds."""

MAX_AGE_S: Final = 600
"""How long ago (seconds) a token may have been made: it comes straight from the provider."""

MAX_TOKEN: Final = 64 << 10
MAX_SUBJECT: Final = 255
"""Longest subject, in characters (OpenID Connect Core 1.0, 2)."""

_HASHES: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "256": hashlib.sha256,
    "384": hashlib.sha384,
    "512": hashlib.sha512,
    "dsa": hashlib.sha512,
    "519": hashlib.sha512,
}
"""By the end of the algorithm's name, the hash of `at_hash`: that of the signature; Ed25519's is SHA-512."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token is held against. `now` is in Unix seconds; `access_token` came beside it, empty where none did."""

    issuer: str
    client_id: str
    nonce: str
    now: float
    access_token: str = ""


def refused(why: str) -> Denied:
    """A sign-in that a check of the protocol ended."""
    return Denied("OMG-T001", f"the provider's answer is not accepted: {why}", advice="sign in again; ask an admin if it happens again")


def kid_of(token: str) -> str:
    """The key that a token names; empty where it names none. Raises Denied (OMG-T001) for what is no token, or of another algorithm."""
    header = _header(token)
    if header.get("alg") not in ALGORITHMS or "crit" in header:
        raise refused("the ID token is signed in a way that does not count")
    kid = header.get("kid", "")
    return kid if isinstance(kid, str) else ""


def claims_of(token: str, keys: Mapping[str, Any], expected: Expected) -> dict[str, Any]:
    """The claims of an ID token. `keys` is the provider's JWK Set. Raises Denied (OMG-T001) for whatever does not hold."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    algorithm, kid = str(_header(token).get("alg")), kid_of(token)
    key = _key(keys, kid, algorithm)
    try:
        claims = jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError) as error:
        raise refused("the signature of the ID token does not hold") from error
    _demand_claims(claims, expected, algorithm)
    return dict(claims)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a code verifier (RFC 7636, 4.2)."""
    return _b64(hashlib.sha256(verifier.encode()).digest())


def _header(token: str) -> dict[str, Any]:
    part = token.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, UnicodeError):
        found = None
    if not isinstance(found, dict) or len(token) > MAX_TOKEN or token.count(".") != 2:
        raise refused("what came is no ID token")
    return found


def _key(keys: Mapping[str, Any], kid: str, algorithm: str) -> Any:
    """The provider's key for a token. Raises Denied (OMG-T001)."""
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    kinds = {"R": "RSA", "P": "RSA", "E": "EC"} if not algorithm.startswith("Ed") else {"E": "OKP"}
    listed = keys.get("keys")
    usable = [
        each
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
        and each.get("kty") == kinds[algorithm[0]]
        and each.get("use", "sig") == "sig"
        and each.get("alg", algorithm) == algorithm
        and (not kid or each.get("kid") == kid)
    ]
    if len(usable) != 1:
        raise refused("the ID token names no key of the provider's")
    try:
        return import_key({name: value for name, value in usable[0].items() if name not in ("key_ops", "x5c", "x5t", "x5t#S256", "x5u")})
    except (JoseError, ValueError, TypeError) as error:
        raise refused("a key of the provider cannot be read") from error


def _demand_claims(claims: Mapping[str, Any], expected: Expected, algorithm: str) -> None:
    if claims.get("iss") != expected.issuer:
        raise refused("the ID token is of another issuer")
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience]
    if expected.client_id not in listed or not all(isinstance(each, str) for each in listed):
        raise refused("the ID token is for somebody else")
    if (len(listed) > 1 or "azp" in claims) and claims.get("azp") != expected.client_id:
        raise refused("the ID token was given to somebody else")
    if not _same(claims.get("nonce"), expected.nonce):
        raise refused("the ID token is of another attempt")
    _demand_times(claims, expected.now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise refused("the ID token names nobody")
    if "at_hash" in claims:
        made = _HASHES[algorithm[-3:].lower()](expected.access_token.encode()).digest()
        if not _same(claims["at_hash"], _b64(made[: len(made) // 2])):
            raise refused("the access token is not the one that the ID token names")


def _demand_times(claims: Mapping[str, Any], now: float) -> None:
    times = {name: claims.get(name) for name in ("exp", "iat")}
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in times.values()):
        raise refused("the ID token does not say when it was made and until when it counts")
    before = claims.get("nbf", 0)
    if now >= float(times["exp"] or 0) + LEEWAY_S:
        raise refused("the ID token is over")
    if not isinstance(before, (int, float)) or float(before) > now + LEEWAY_S or float(times["iat"] or 0) > now + LEEWAY_S:
        raise refused("the ID token is of a time to come")
    if now - float(times["iat"] or 0) > MAX_AGE_S + LEEWAY_S:
        raise refused("the ID token was made too long ago")


def _same(one: Any, other: str) -> bool:
    return isinstance(one, str) and bool(other) and hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
