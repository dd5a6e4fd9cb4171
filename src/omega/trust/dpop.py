"""DPoP (RFC 9449): whoever shows a bound passport shows a proof too, made for this one request with the key that the passport is bound to.

    proof      a JWT of type `dpop+jwt` with its public key in the header, signed by that key
               claims: htm and htu (the request), iat, jti, ath (SHA-256 of the passport), nonce when the server asked for one
    passport   `cnf.jkt` is the thumbprint of that key (RFC 7638)

A stolen passport is worth nothing without the key, and a stolen proof nothing for another request, another passport, later than a minute,
or a second time. Proofs already seen are remembered while they would still be accepted; when too many come, new ones are refused
rather than old ones forgotten. Keys of ML-DSA-65 are refused here: their proofs do not fit into a header.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from omega.kernel.errors import Denied
from omega.kernel.ports import Signer
from omega.trust.jws import Malformed, signed, taken_apart
from omega.trust.keys import ML_DSA_65, PublicKey, b64url, public_of_jwk

TYPE = "dpop+jwt"
MAX_PROOF = 4096
MAX_AGE_S = 60
"""How old a proof may be: the way of a request, and clocks that differ."""

LEEWAY_S = 5
"""How far `iat` may lie ahead."""

MAX_SEEN = 100_000
"""Proofs remembered at once: 1,600 requests a second, each with a proof of its own."""

MAX_ID = 128
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Shown:
    """What came with a request: the passport, the proof, the method and the address that the caller meant (scheme, host and path)."""

    passport: str
    proof: str
    method: str
    address: str


class Proofs:
    """Verifies proofs and remembers them. One per installation: two that share no memory accept the same proof once each."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()

    def holder(self, shown: Shown, *, now: float, nonce: str = "") -> str:
        """The thumbprint of the key that made the proof: `Authority.verify` holds the passport against it.

        `nonce` is the one that the server gave out, where it does. Raises Denied (OMG-T001), with one sentence for every cause.
        """
        try:
            token = taken_apart(shown.proof, limit=MAX_PROOF, typ=TYPE, reads=("jwk",))
            key = public_of_jwk(token.header.get("jwk") or {})
            if key.algorithm == ML_DSA_65:
                raise Malformed("a key of this kind makes no proofs")
            token.require(key)
        except ValueError as error:  # Malformed is one
            raise _refused() from error
        made_at, proof_id = _checked(token.claims, shown, now, nonce)
        self._remember(f"{key.kid} {proof_id}", made_at, now)
        return key.kid

    def _remember(self, name: str, made_at: int, now: float) -> None:
        while self._seen:
            oldest, ends_at = next(iter(self._seen.items()))
            if ends_at > now and len(self._seen) < MAX_SEEN:
                break
            if ends_at > now:
                raise Denied("OMG-T001", "too many proofs at once", advice="try again in a minute")
            del self._seen[oldest]
        if name in self._seen:
            raise _refused()
        # Kept from when it came, not from when it was made, so that the oldest entry is always the first to end.
        self._seen[name] = max(now, float(made_at)) + MAX_AGE_S + LEEWAY_S


def prove(signer: Signer, *, passport: str, method: str, address: str, now: float, jti: str, nonce: str = "") -> str:
    """The proof for one request, by the holder of a bound passport."""
    claims = {"ath": _hashed(passport), "htm": method, "htu": address, "iat": int(now), "jti": jti}
    return signed({"typ": TYPE, "jwk": _bare(PublicKey(signer.public))}, {**claims, **({"nonce": nonce} if nonce else {})}, signer)


def thumbprint(signer: Signer) -> str:
    """What a passport is bound to that `signer` shall hold: the argument `holder` of `Authority.issue`."""
    return PublicKey(signer.public).kid


def _checked(claims: dict[str, Any], shown: Shown, now: float, nonce: str) -> tuple[int, str]:
    """When the proof was made, and its id, after everything else that it says was held against the request."""
    made_at, proof_id = claims.get("iat"), claims.get("jti")
    if type(made_at) is not int or not isinstance(proof_id, str) or not 0 < len(proof_id) <= MAX_ID:
        raise _refused()
    if claims.get("htm") != shown.method or claims.get("ath") != _hashed(shown.passport):
        raise _refused()
    if not isinstance(claims.get("htu"), str) or _plain(claims["htu"]) != _plain(shown.address):
        raise _refused()
    if not now - MAX_AGE_S <= made_at <= now + LEEWAY_S or (nonce and claims.get("nonce") != nonce):
        raise _refused()
    return made_at, proof_id


def _plain(address: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and path of an address as RFC 9449, 4.3 compares them: without query and fragment, normalised (RFC 3986, 6.2)."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise _refused() from error
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        raise _refused()
    return scheme, parts.hostname, port or _DEFAULT_PORTS[scheme], parts.path or "/"


def _bare(key: PublicKey) -> dict[str, str]:
    return {name: value for name, value in key.jwk().items() if name not in ("kid", "use", "alg")}


def _hashed(passport: str) -> str:
    return b64url(sha256(passport.encode("ascii", "replace")).digest())


def _refused() -> Denied:
    return Denied("OMG-T001", "the proof that belongs to the passport does not hold", advice="make a new proof for each request")
