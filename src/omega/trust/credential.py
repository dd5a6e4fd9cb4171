"""Verifiable credentials with selective disclosure: SD-JWT (RFC 9901) in the form of an SD-JWT VC.

    issuer     signs a JWT in which each concealed claim is a digest; hands over a disclosure for each: base64url of [salt, name, value]
    holder     passes on the disclosures that it chooses, and signs that it did so, for this verifier and this moment (key binding)
    verifier   puts the disclosed claims back in place of their digests

    credential    issuer's JWT ~ disclosure ~ ... ~
    shown         issuer's JWT ~ disclosure ~ ... ~ key-binding JWT

A digest that nobody disclosed says nothing: each has a salt of 128 bits, and decoys may stand among them. What a verifier refuses,
because the RFC tells it to: a disclosure that no digest names or two do, a claim that would stand twice or is called `_sd` or `...`,
claims about the credential itself (issuer, times, key) that are concealed, a digest algorithm other than SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from omega.kernel.errors import Denied
from omega.kernel.ports import Signer
from omega.trust.jws import Malformed, Token, signed, taken_apart
from omega.trust.keys import PublicKey, b64url, public_of_jwk, unb64url

TYPE = "dc+sd-jwt"
BINDING = "kb+jwt"
HASH = "sha-256"
SALT_SIZE = 16

MAX_CREDENTIAL = 64 << 10
"""Longest credential in characters."""

MAX_DISCLOSURES = 256
MAX_DEPTH = 16
"""How deep concealed claims may lie in each other."""

MAX_AGE_S = 300
"""How old a key binding may be."""

LEEWAY_S = 5
OPEN = frozenset({"iss", "nbf", "exp", "iat", "cnf", "vct", "status", "_sd_alg"})
"""Claims that are never concealed: they decide whether the credential holds (SD-JWT VC, 3.2.2.2)."""

_FORBIDDEN = ("_sd", "...")


@dataclass(frozen=True, slots=True)
class Audience:
    """For whom and in answer to what a credential is shown: the verifier's name, and the nonce that it gave out."""

    name: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a credential says that holds: its disclosed claims, the type, the issuer, and the key of its holder (None: it has none)."""

    claims: Mapping[str, Any]
    kind: str
    issuer: str
    holder: PublicKey | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a credential says to whoever holds it. Nothing of it is verified. `concealed` are the claims that may be disclosed or kept back,
    `ends_s` its end in Unix seconds (None where it has none), `bound` whether it comes with a key binding."""

    issuer: str
    kind: str
    claims: Mapping[str, Any]
    concealed: Mapping[str, Any]
    ends_s: int | None
    holder: PublicKey | None
    bound: bool


def issue(  # noqa: PLR0913 - a credential has this many parts, each named by its issuer
    claims: Mapping[str, Any],
    *,
    kind: str,
    issuer: str,
    signer: Signer,
    concealed: Iterable[str],
    holder: PublicKey | None,
    times: tuple[int, int],
    entropy: Callable[[int], bytes],
    kid: str = "",
) -> str:
    """A credential of the type `kind` (`vct`) that says `claims`, of which those named in `concealed` can be disclosed one by one.

    `times` are begin and end in Unix seconds, `holder` the key that must be shown with it. Raises Denied (OMG-T007) for claims that
    cannot be concealed or have a name that is reserved.
    """
    hidden = list(dict.fromkeys(concealed))
    reserved = OPEN.intersection(hidden) | {name for name in claims if name in _FORBIDDEN or name in OPEN} | set(hidden).difference(claims)
    if reserved:
        raise _refused(f"these claims cannot be issued like that: {', '.join(sorted(reserved))}")
    disclosures = [_disclosure(entropy(SALT_SIZE), name, claims[name]) for name in hidden]
    body: dict[str, Any] = {name: value for name, value in claims.items() if name not in hidden}
    body |= {"iss": issuer, "vct": kind, "iat": times[0], "nbf": times[0], "exp": times[1], "_sd_alg": HASH}
    if disclosures:
        body["_sd"] = sorted(_digest(each) for each in disclosures)  # in their own order, which says nothing about that of the claims
    if holder is not None:
        body["cnf"] = {"jwk": holder.jwk()}
    token = signed({"typ": TYPE, **({"kid": kid} if kid else {})}, body, signer)
    return "~".join([token, *disclosures, ""])


def present(credential: str, disclosed: Iterable[str], *, signer: Signer | None, audience: Audience, now: float) -> str:
    """`credential` with the disclosures of the claims named alone, bound to `audience` by the holder's key (None where it has none).

    Raises Denied (OMG-T007) for a name that it does not conceal.
    """
    token, *parts = _split(credential)
    wanted = list(dict.fromkeys(disclosed))
    by_name = {_read(part)[1]: part for part in parts if part}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise _refused(f"the credential conceals no {', '.join(missing)}")
    shown = "~".join([token, *(by_name[name] for name in wanted), ""])
    if signer is None:
        return shown
    claims = {"iat": int(now), "aud": audience.name, "nonce": audience.nonce, "sd_hash": b64url(sha256(shown.encode()).digest())}
    return shown + signed({"typ": BINDING}, claims, signer)


def contents(credential: str) -> Contents:
    """What `credential`, or a presentation of one, says. It is read and not verified. Raises Denied (OMG-T007) for what cannot be read."""
    first, *parts, last = _split(credential)
    try:
        claims = taken_apart(first, limit=MAX_CREDENTIAL, typ=TYPE).claims
    except Malformed as error:
        raise _refused("this is no credential") from error
    read = [(name, value) for _, name, value in map(_read, parts) if name is not None]
    said = {name: value for name, value in claims.items() if name not in OPEN and name != "_sd"}
    ends = claims.get("exp")
    return Contents(
        issuer=str(claims.get("iss", "")),
        kind=str(claims.get("vct", "")),
        claims=said,
        concealed=dict(read),
        ends_s=ends if type(ends) is int else None,
        holder=_holder(claims),
        bound=bool(last),
    )


def verify(presentation: str, *, keys: Mapping[str, PublicKey], issuer: str, audience: Audience, now: float) -> Shown:
    """What `presentation` shows. `keys` are the issuer's by their full names (`omega.trust.did.keys_of`).

    A credential with a holder's key takes a binding by that key; one without takes none. Raises Denied (OMG-T007).
    """
    first, *parts, last = _split(presentation)
    token = _issued(first, keys)
    claims = token.claims
    if claims.get("iss") != issuer or not isinstance(claims.get("vct"), str):
        raise _refused("it is of another issuer or of no type")
    _check_times(claims, now)
    holder = _holder(claims)
    _check_binding(presentation[: len(presentation) - len(last)], last, holder, audience, now)
    return Shown(_Unfolding(claims, parts).whole(), claims["vct"], issuer, holder)


class _Unfolding:
    """Puts disclosed values in place of their digests (RFC 9901, 7.1)."""

    def __init__(self, claims: dict[str, Any], parts: list[str]) -> None:
        if claims.get("_sd_alg", HASH) != HASH:
            raise _refused("its digests are not of SHA-256")
        self._claims = {name: value for name, value in claims.items() if name != "_sd_alg"}
        self._left = {_digest(part): part for part in parts}
        if len(self._left) != len(parts):
            raise _refused("it discloses a claim twice")
        self._met: set[str] = set()

    def whole(self) -> dict[str, Any]:
        """The claims. Raises Denied when a disclosure is left that no digest named."""
        found = self._object(self._claims, 0)
        if self._left:
            raise _refused("it discloses what the issuer did not sign")
        return found

    def _value(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _refused(f"its claims lie deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            return self._object(value, depth)
        if isinstance(value, list):
            return [each for part in value for each in self._element(part, depth)]
        return value

    def _object(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        if "..." in value:
            raise _refused("a claim has a reserved name")
        found = {name: self._value(each, depth + 1) for name, each in value.items() if name != "_sd"}
        digests = value.get("_sd", [])
        if not isinstance(digests, list):
            raise _refused("its digests are no list")
        for digest in digests:
            part = self._taken(digest)
            if part is None:
                continue
            _, name, disclosed = _read(part)
            if name is None or name in _FORBIDDEN or name in found or (depth == 0 and name in OPEN):
                raise _refused("it discloses a claim that cannot be one")
            found[name] = self._value(disclosed, depth + 1)
        return found

    def _element(self, part: Any, depth: int) -> Iterable[Any]:
        """An element of a list; none where it stays concealed."""
        if not isinstance(part, dict) or "..." not in part:
            return [self._value(part, depth + 1)]
        if len(part) != 1:
            raise _refused("an element is a digest and more")
        disclosure = self._taken(part["..."])
        if disclosure is None:
            return []
        _, name, value = _read(disclosure)
        if name is not None:
            raise _refused("it discloses a claim where an element stands")
        return [self._value(value, depth + 1)]

    def _taken(self, digest: object) -> str | None:
        if not isinstance(digest, str) or digest in self._met:
            raise _refused("a digest stands twice, or is none")
        self._met.add(digest)
        return self._left.pop(digest, None)


def _split(text: str) -> list[str]:
    """The parts of a credential: the issuer's token, disclosures, and a binding or nothing."""
    if len(text) > MAX_CREDENTIAL or not text.isascii() or "~" not in text:
        raise _refused("this is no credential")
    parts = text.split("~")
    if len(parts) - 2 > MAX_DISCLOSURES:
        raise _refused(f"it discloses more than {MAX_DISCLOSURES} claims")
    return parts


def _disclosure(salt: bytes, name: str, value: Any) -> str:
    return b64url(json.dumps([b64url(salt), name, value], separators=(",", ":")).encode())


def _digest(disclosure: str) -> str:
    return b64url(sha256(disclosure.encode()).digest())


def _read(disclosure: str) -> tuple[str, str | None, Any]:
    """Salt, name (None for an element of a list) and value of a disclosure."""
    try:
        found = json.loads(unb64url(disclosure))
    except (ValueError, RecursionError) as error:
        raise _refused("a disclosure cannot be read") from error
    if not isinstance(found, list) or len(found) not in (2, 3) or not all(isinstance(each, str) for each in found[:-1]):
        raise _refused("a disclosure cannot be read")
    return found[0], found[1] if len(found) == 3 else None, found[-1]


def _issued(token: str, keys: Mapping[str, PublicKey]) -> Token:
    try:
        found = taken_apart(token, limit=MAX_CREDENTIAL, typ=TYPE)
        kid = found.header.get("kid")
        named = [key for name, key in keys.items() if kid in (None, name, name.rpartition("#")[2], "#" + name.rpartition("#")[2])]
        if not any(_signed_by(found, key) for key in named):
            raise Malformed("no key of the issuer signed it")
    except Malformed as error:
        raise _refused("its issuer did not sign it") from error
    return found


def _signed_by(token: Token, key: PublicKey) -> bool:
    try:
        token.require(key)
    except Malformed:
        return False
    return True


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    begins, ends = claims.get("nbf", 0), claims.get("exp")
    if type(begins) is not int or type(ends) is not int or not begins - LEEWAY_S <= now < ends:
        raise _refused("it does not hold at this time")


def _holder(claims: Mapping[str, Any]) -> PublicKey | None:
    if "cnf" not in claims:
        return None
    bound = claims["cnf"]
    try:
        return public_of_jwk(bound["jwk"])
    except (ValueError, KeyError, TypeError) as error:
        raise _refused("it is bound in a way unknown here") from error


def _check_binding(covered: str, binding: str, holder: PublicKey | None, audience: Audience, now: float) -> None:
    if holder is None:
        if binding:
            raise _refused("it is bound to a key that its issuer does not name")
        return
    try:
        found = taken_apart(binding, limit=MAX_CREDENTIAL, typ=BINDING)
        found.require(holder)
    except Malformed as error:
        raise _refused("its holder did not sign that it is shown") from error
    made_at = found.claims.get("iat")
    fresh = type(made_at) is int and now - MAX_AGE_S <= made_at <= now + LEEWAY_S
    meant = (found.claims.get("aud"), found.claims.get("nonce")) == (audience.name, audience.nonce)
    if not fresh or not meant or found.claims.get("sd_hash") != b64url(sha256(covered.encode()).digest()):
        raise _refused("it was shown to another, earlier, or otherwise")


def _refused(cause: str) -> Denied:
    return Denied("OMG-T007", f"the credential is refused: {cause}")
