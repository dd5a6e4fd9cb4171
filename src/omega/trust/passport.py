"""Passports: short-lived proofs of who is calling, and the only way to a `Scope`.

A passport is a compact JWT (RFC 7519) signed with Ed25519 (`alg` by its name of RFC 9864; the older name `EdDSA` is accepted too). It says
for which installation (`aud`) which tenant's principal (`sub`) may do what (`caps`) until when (`exp`), and on whose behalf others
act (`act`, RFC 8693: the current actor outermost).

    verify     signature and header first, claims after; whatever fails, the refusal tells a stranger nothing that a guess would not
    delegate   a new passport for an actor with a part of the rights, never longer than the original's life, never deeper than eight
    revoke     by id; ids of delegated passports continue the id of the original (`pas_1/pas_2`), so revoking one revokes all below it
    restore    the scope of a sealed start record: an execution keeps the authority it was admitted with, unless that was revoked

A signature costs about a hundred microseconds, so accepted tokens are remembered by their SHA-256. A remembered token is still held
against its times on each use, and against the revocations whenever the revocation epoch has moved since it was last looked at.
"""

from __future__ import annotations

import base64
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from omega.kernel.errors import Denied
from omega.kernel.ports import Signer
from omega.kernel.scope import ANY, MAX_DELEGATION_DEPTH, Scope, mint_scope

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHM = "Ed25519"
ACCEPTED = (ALGORITHM, "EdDSA")
TYPE = "passport+jwt"

MAX_TOKEN = 8192
"""Longest token in bytes: the header limit of common HTTP servers."""

MAX_TTL_S = 24 * 3600
"""Longest life of a passport: what is stolen serves the thief for a day at most."""

MAX_CAPABILITIES = 128
MAX_GROUPS = 128
MAX_WORD = 128
"""Longest name, capability or group in characters."""

MAX_REMEMBERED = 4096
"""Accepted tokens remembered; the oldest is forgotten first and simply verified again."""

MAX_REVOKED = 100_000
"""Revoked ids held. When full, nothing is accepted until the key is changed: forgetting a revocation would be worse."""

LEEWAY_S = 5
"""How far `nbf` and `iat` may lie ahead, for clocks that differ. The end of a passport gets no leeway."""

_CAPABILITY = re.compile(r"\*|[a-z][a-z0-9_.-]*:(\*|[A-Za-z0-9][A-Za-z0-9_./-]*)")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,8}")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}")


@dataclass(slots=True)
class _Remembered:
    scope: Scope
    starts: int
    epoch: int


class Authority:
    """Issues, verifies, delegates and revokes the passports of one installation.

    `signer` is the key named `passport`; `issuer` and `audience` name the installation; `retired` are public keys whose
    passports still count while they last (rotation with overlap); `revoked` the ids revoked before this start. Times are Unix
    seconds and always come from the caller.
    """

    def __init__(self, signer: Signer, *, issuer: str, audience: str, retired: Sequence[bytes] = (), revoked: Iterable[str] = ()) -> None:
        self._signer = signer
        self._issuer = issuer
        self._audience = audience
        self._jwks = [_jwk(public) for public in (signer.public, *retired)]
        self._header = {"alg": ALGORITHM, "kid": self._jwks[0]["kid"], "typ": TYPE}
        self._keys: KeySet | None = None
        self._revoked = set(revoked)
        self._remembered: dict[bytes, _Remembered] = {}
        self.epoch = len(self._revoked)

    def issue(  # noqa: PLR0913  (a passport has this many claims, and each is named by its caller)
        self,
        *,
        tenant: str,
        principal: str,
        groups: Iterable[str] = (),
        capabilities: Iterable[str] = (),
        actors: Sequence[str] = (),
        region: str = "local",
        ttl_s: int,
        now: float,
        jti: str,
    ) -> str:
        """A new passport. `actors` is the delegation chain, the current actor first.

        Raises Denied: OMG-T001 when a part of it has no valid form or the life is too long, OMG-T002 when the chain is too deep.
        """
        if not 0 < ttl_s <= MAX_TTL_S:
            raise Denied("OMG-T001", f"a passport lives between 1 and {MAX_TTL_S} seconds")
        if len(actors) > MAX_DELEGATION_DEPTH:
            raise Denied("OMG-T002", f"the delegation chain would be longer than {MAX_DELEGATION_DEPTH}")
        start = int(now)
        claims: dict[str, Any] = {
            "aud": self._audience,
            "caps": sorted(set(capabilities)),
            "exp": start + int(ttl_s),
            "groups": sorted(set(groups)),
            "iat": start,
            "iss": self._issuer,
            "jti": jti,
            "nbf": start,
            "region": region,
            "sub": principal,
            "tenant": tenant,
        }
        if actors:
            claims["act"] = _nested(actors)
        self._scope_of(claims)  # what would not be accepted is not issued
        return self._signed(claims)

    def verify(self, token: str, *, now: float) -> Scope:
        """The scope that `token` proves. Raises Denied OMG-T001 when it is not accepted, for whatever reason."""
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._remembered.get(digest)
        if known is None:
            known = self._accept(token)
            if len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[digest] = known
        if known.epoch != self.epoch:
            self.check(known.scope)
            known.scope = replace(known.scope, epoch=self.epoch)
            known.epoch = self.epoch
        if now >= known.scope.expires_at:
            self._remembered.pop(digest, None)
            raise Denied("OMG-T001", "the passport has expired")
        if now + LEEWAY_S < known.starts:
            raise Denied("OMG-T001", "the passport is not valid yet", advice="compare the clocks of the two machines")
        return known.scope

    def check(self, scope: Scope) -> None:
        """Raise Denied (OMG-T001) when the passport behind `scope`, or one that it was delegated from, has been revoked."""
        if len(self._revoked) > MAX_REVOKED:
            raise Denied("OMG-T001", "the list of revoked passports is full", advice="change the passport key, then issue new passports")
        if self._revoked and any(ancestor in self._revoked for ancestor in _lineage(scope.passport)):
            raise Denied("OMG-T001", "the passport was revoked")

    def recall(self, claims: Mapping[str, Any]) -> Scope:
        """The scope of a sealed start record as it was, for reading it and deciding about it: a revoked run can still be shown and
        cancelled.

        Whoever goes on with the execution calls `check` first. Raises Denied OMG-T001 when the record has no valid form.
        """
        try:
            return mint_scope(
                tenant=_word(claims["tenant"]),
                principal=_word(claims["principal"]),
                groups=_words(claims["groups"], MAX_GROUPS),
                capabilities=_capabilities(claims["capabilities"]),
                actors=_words(claims["actors"], MAX_DELEGATION_DEPTH),
                region=_word(claims["region"]),
                passport=_identifier(claims["passport"]),
                epoch=self.epoch,
                expires_at=_seconds(claims["expires_at"]),
            )
        except KeyError as error:
            raise _unaccepted() from error

    def restore(self, claims: Mapping[str, Any]) -> Scope:
        """The scope of a sealed start record (`Scope.claims()`). The caller vouches that it came out of the seal.

        Its end is not looked at: an admitted execution keeps its authority. Raises Denied OMG-T001 when the record has no
        valid form or the passport was revoked since.
        """
        scope = self.recall(claims)
        self.check(scope)
        return scope

    def delegate(self, scope: Scope, *, actor: str, capabilities: Iterable[str], ttl_s: int, now: float, jti: str) -> str:
        """A passport with which `actor` acts for the principal of `scope`, holding `capabilities` and nothing else.

        It ends with the original at the latest. Raises Denied OMG-T002 when a right is asked that `scope` does not hold, or the
        chain grows too deep; OMG-T001 when the original has ended or was revoked.
        """
        self.check(scope)
        wanted = frozenset(capabilities)
        missing = scope.missing(wanted)
        if missing:
            raise Denied("OMG-T002", "a right was to be delegated that is not held", details={"missing": sorted(missing)})
        left = scope.expires_at - int(now)
        if left <= 0:
            raise Denied("OMG-T001", "the passport has expired")
        narrowed = scope.narrow(wanted).acting(actor)
        return self.issue(
            tenant=narrowed.tenant,
            principal=narrowed.principal,
            groups=narrowed.groups,
            capabilities=narrowed.capabilities,
            actors=narrowed.actors,
            region=narrowed.region,
            ttl_s=min(ttl_s, left),
            now=now,
            jti=f"{scope.passport}/{jti}",
        )

    def revoke(self, jti: str) -> int:
        """Refuse the passport `jti` and all delegated from it, from now on; gives the new revocation epoch.

        Keep the id and hand it in as `revoked` at the next start.
        """
        self._revoked.add(jti)
        self.epoch += 1
        return self.epoch

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK Set (RFC 7517), the current one first."""
        return {"keys": [dict(key) for key in self._jwks]}

    def _signed(self, claims: Mapping[str, Any]) -> str:
        """Compact serialisation (RFC 7515, 3.1) by hand, because a `Signer` signs and never shows its key."""
        signed = f"{_segment(self._header)}.{_segment(claims)}"
        token = f"{signed}.{_b64url(self._signer.sign(signed.encode()))}"
        if len(token) > MAX_TOKEN:
            raise Denied("OMG-T001", f"a passport of {len(token)} bytes is too long", advice="grant fewer capabilities or groups")
        return token

    def _accept(self, token: str) -> _Remembered:
        """Signature, header and claims of a token not seen before; times and revocation are the caller's."""
        claims = self._claims(token)
        if claims.get("iss") != self._issuer or claims.get("aud") != self._audience:
            raise _unaccepted()
        scope = self._scope_of(claims)
        starts = max(_seconds(claims.get("nbf")), _seconds(claims.get("iat")))
        if scope.expires_at <= starts or scope.expires_at - starts > MAX_TTL_S:
            raise _unaccepted()
        return _Remembered(scope, starts, epoch=-1)  # never looked at: the revocations are checked next

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that a key of ours signed."""
        from joserfc import jws
        from joserfc.errors import JoseError, SecurityWarning
        from joserfc.jwk import KeySet

        if len(token) > MAX_TOKEN or not token.isascii():
            raise _unaccepted()
        if self._keys is None:
            self._keys = KeySet.import_key_set({"keys": self._jwks})  # type: ignore[typeddict-item]
        try:
            with warnings.catch_warnings():
                # The library warns of the name `EdDSA`, which is accepted on purpose: the key is Ed25519 under either name.
                warnings.simplefilter("ignore", SecurityWarning)
                found = jws.deserialize_compact(token, self._keys, algorithms=list(ACCEPTED))
            claims = json.loads(found.payload)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise _unaccepted() from error
        header = found.headers()
        if header.get("typ") != TYPE or not header.get("kid") or "crit" in header or not isinstance(claims, dict):
            raise _unaccepted()
        return claims

    def _scope_of(self, claims: Mapping[str, Any]) -> Scope:
        return mint_scope(
            tenant=_word(claims.get("tenant")),
            principal=_word(claims.get("sub")),
            groups=_words(claims.get("groups"), MAX_GROUPS),
            capabilities=_capabilities(claims.get("caps")),
            actors=_chain(claims.get("act")),
            region=_word(claims.get("region")),
            passport=_identifier(claims.get("jti")),
            epoch=self.epoch,
            expires_at=_seconds(claims.get("exp")),
        )


def _nested(actors: Sequence[str]) -> dict[str, Any]:
    """RFC 8693, 4.1: the current actor outermost, each earlier one inside."""
    act: dict[str, Any] = {}
    for actor in reversed(actors):
        act = {"sub": actor, "act": act} if act else {"sub": actor}
    return act


def _chain(act: object) -> list[str]:
    """The actors of a nested `act` claim, the current one first. Raises Denied OMG-T002 past the depth limit."""
    actors: list[str] = []
    while act is not None:
        if not isinstance(act, dict) or not act.keys() <= {"sub", "act"}:
            raise _unaccepted()
        if len(actors) >= MAX_DELEGATION_DEPTH:
            raise Denied("OMG-T002", f"the delegation chain is longer than {MAX_DELEGATION_DEPTH}")
        actors.append(_word(act.get("sub")))
        act = act.get("act")
    return actors


def _lineage(passport: str) -> list[str]:
    """The id of a passport and of all it was delegated from: `a/b/c` gives `a`, `a/b`, `a/b/c`, and each part alone."""
    parts = passport.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)] + parts[1:]


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_WORD or not _NAME.fullmatch(value):
        raise _unaccepted()
    return value


def _words(value: object, limit: int) -> list[str]:
    if not isinstance(value, list) or len(value) > limit:
        raise _unaccepted()
    return [_word(part) for part in value]


def _capabilities(value: object) -> list[str]:
    words = _words(value, MAX_CAPABILITIES)
    if not all(word == ANY or _CAPABILITY.fullmatch(word) for word in words):
        raise _unaccepted()
    return words


def _identifier(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _unaccepted()
    return value


def _seconds(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise _unaccepted()
    return value


def _unaccepted() -> Denied:
    """One sentence for every refusal before the claims are trusted: a forger learns nothing from it."""
    return Denied("OMG-T001", "the passport is not accepted here")


def _jwk(public: bytes) -> dict[str, str]:
    """A public key as JWK (RFC 8037), named by its thumbprint (RFC 7638)."""
    x = _b64url(public)
    thumbprint = sha256(json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":")).encode()).digest()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": _b64url(thumbprint), "use": "sig"}


def _segment(value: Mapping[str, Any]) -> str:
    return _b64url(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
