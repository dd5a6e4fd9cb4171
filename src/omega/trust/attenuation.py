"""Attenuation: a holder hands on a part of a passport by themself, without asking whoever issued it, and offline.

    passport ~ link ~ link ...         compact tokens (RFC 7515), joined by "~"

A passport that is bound to a key (`cnf`, RFC 7800) can be attenuated by whoever holds that key: they sign a link that names an actor, some
of the rights, an end and, if it is to go on, the actor's own key. The next link is signed with that one, and so on. Each link covers
everything before it by its hash, so links can be neither taken out, nor put into another chain, nor put in another order; and a chain that
was cut short is no use to whoever cut it, because its last key has to be shown.

    signed by     the key that the token before it is bound to, which stands in the link's header and must have the thumbprint that is bound
    rights        only such as the token before it has
    actor         nobody who stands in the chain already; at most eight of them
    id            continues the one before it: revoking any of them revokes all below

At the edge a chain is exchanged for an ordinary passport with `act` (RFC 8693), or verified to a `Scope` as it is. This is what tokens with
appended blocks (macaroons, biscuits) do; here it takes no other format, no language of its own, and the keys may lie in an HSM
(docs/adr/0034).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from omega.kernel.errors import Denied
from omega.kernel.ports import Signer
from omega.kernel.scope import MAX_DELEGATION_DEPTH, SCHEDULER, Scope
from omega.trust.jws import Malformed, Token, signed, taken_apart
from omega.trust.keys import PublicKey, b64url, public_of_jwk
from omega.trust.passport import LEEWAY_S, MAX_CAPABILITIES, MAX_TOKEN, MAX_WORD, Authority

TYPE = "attenuation+jwt"
JOINT = "~"

MAX_LINK = 4096
"""Longest link in characters."""

MAX_CHAIN = MAX_TOKEN + MAX_DELEGATION_DEPTH * (MAX_LINK + 1)
"""Longest chain in characters: too long for a header, which is why one is exchanged at the edge."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}")


def attenuate(
    chain: str, signer: Signer, *, actor: str, capabilities: Iterable[str], ttl_s: int, now: float, jti: str, holder: str = ""
) -> str:
    """`chain` with one more link: `actor` may do `capabilities` for `ttl_s` seconds. `signer` holds the key that the chain is bound to.

    `holder` is the thumbprint of the actor's key, without which the chain ends here. What is refused, is refused where it is verified.
    """
    key = PublicKey(signer.public)
    jwk = {name: value for name, value in key.jwk().items() if name not in ("alg", "kid", "use")}
    if key.algorithm not in ("Ed25519", "ES256"):
        jwk = key.jwk()
    claims: dict[str, Any] = {
        "caps": sorted(set(capabilities)),
        "exp": int(now) + int(ttl_s),
        "iat": int(now),
        "jti": jti,
        "prev": _digest(chain),
        "sub": actor,
    }
    if holder:
        claims["cnf"] = {"jkt": holder}
    return f"{chain}{JOINT}{signed({'jwk': jwk, 'typ': TYPE}, claims, signer)}"


def verify(chain: str, authority: Authority, *, now: float, holder: str = "") -> Scope:
    """The scope that a chain proves; a passport without links proves its own. `holder` is the thumbprint of the key that was shown.

    Raises Denied: OMG-T001 for what is not accepted, OMG-T002 for rights that the token before a link does not have, an actor who stands in
    the chain already, or too many of them.
    """
    passport, *links = chain.split(JOINT) if len(chain) <= MAX_CHAIN else ["", ""]
    if len(links) > MAX_DELEGATION_DEPTH:
        raise Denied("OMG-T002", f"the delegation chain would be longer than {MAX_DELEGATION_DEPTH}")
    taken = [_taken(link) for link in links]
    if not taken:
        return authority.verify(passport, now=now, holder=holder)
    scope = authority.verify_bound(passport, now=now, holder=taken[0][1])
    before, bound = passport, taken[0][1]
    for link, (token, shown) in zip(links, taken, strict=True):
        if shown != bound or token.claims.get("prev") != _digest(before):
            raise _unaccepted()
        scope, bound = _narrowed(scope, token.claims, now)
        authority.check(scope)
        before = f"{before}{JOINT}{link}"
    if bound and bound != holder:
        raise Denied("OMG-T001", "the passport is bound to a key that was not shown", advice="send a DPoP proof with it")
    return scope


def exchange(chain: str, authority: Authority, *, ttl_s: int, now: float, jti: str, holder: str = "") -> str:
    """An ordinary passport for a chain, which ends with it at the latest, bound to the same key. Raises Denied, as `verify` does."""
    scope = verify(chain, authority, now=now, holder=holder)
    return authority.issue(
        tenant=scope.tenant,
        principal=scope.principal,
        groups=scope.groups,
        capabilities=scope.capabilities,
        actors=scope.actors,
        region=scope.region,
        ttl_s=max(1, min(ttl_s, scope.expires_at - int(now))),
        now=now,
        jti=f"{scope.passport}/{jti}",
        holder=holder,
    )


def _taken(link: str) -> tuple[Token, str]:
    """A link whose signature holds, and the thumbprint of the key that signed it. Raises Denied (OMG-T001)."""
    try:
        token = taken_apart(link, limit=MAX_LINK, typ=TYPE, reads=("jwk",))
        key = public_of_jwk(token.header.get("jwk", {}))
        token.require(key)
    except (Malformed, ValueError) as error:
        raise _unaccepted() from error
    return token, key.kid


def _narrowed(scope: Scope, claims: dict[str, Any], now: float) -> tuple[Scope, str]:
    """The scope after a link, and the thumbprint that the next one has to be signed with."""
    actor, wanted, jti = claims.get("sub"), claims.get("caps"), claims.get("jti")
    begins, ends = claims.get("iat"), claims.get("exp")
    whole = isinstance(actor, str) and len(actor) <= MAX_WORD and _NAME.fullmatch(actor) and isinstance(wanted, list)
    if not whole or not isinstance(jti, str) or not _ID.fullmatch(jti) or not _is_moment(begins) or not _is_moment(ends):
        raise _unaccepted()
    assert isinstance(actor, str) and isinstance(wanted, list) and isinstance(ends, int) and isinstance(begins, int)  # noqa: S101
    if len(wanted) > MAX_CAPABILITIES or not all(isinstance(each, str) and len(each) <= MAX_WORD for each in wanted):
        raise _unaccepted()
    if now >= ends or now + LEEWAY_S < begins:
        raise Denied("OMG-T001", "the passport has expired")
    if actor == SCHEDULER or actor in (scope.principal, *scope.actors):
        raise Denied("OMG-T002", "the delegation would come back to somebody who stands in its chain already")
    missing = scope.missing(wanted)
    if missing:
        raise Denied("OMG-T002", "a right was to be delegated that is not held", details={"missing": sorted(missing)})
    narrowed = scope.narrow(wanted).acting(actor)
    return replace(narrowed, passport=f"{scope.passport}/{jti}", expires_at=min(scope.expires_at, ends)), _bound(claims)


def _bound(claims: dict[str, Any]) -> str:
    found = claims.get("cnf", {"jkt": ""})
    thumbprint = found.get("jkt") if isinstance(found, dict) and found.keys() == {"jkt"} else None
    if not isinstance(thumbprint, str) or (thumbprint and not _THUMBPRINT.fullmatch(thumbprint)):
        raise _unaccepted()
    return thumbprint


def _digest(text: str) -> str:
    return b64url(sha256(text.encode("utf-8", "surrogatepass")).digest())


def _is_moment(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _unaccepted() -> Denied:
    """One sentence for every forgery, as for passports."""
    return Denied("OMG-T001", "the passport is not accepted here")
