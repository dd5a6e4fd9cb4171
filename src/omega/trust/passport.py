"""Passports: short-lived proofs of who is calling, and the only way to a `Scope`.

A passport is a compact JWT (RFC 7519) signed with Ed25519 (`alg` by its name of RFC 9864; the older name `EdDSA` is accepted too), or with
ES256 where the key lives in an HSM or a cloud's key store. It says for which installation (`aud`) which tenant's principal (`sub`) may do
what (`caps`) until when (`exp`), on whose behalf others act (`act`, RFC 8693: the current actor outermost), and, when it is bound,
whose key must be shown with it (`cnf`, RFC 7800: the thumbprint of a DPoP key, RFC 9449).

    verify     signature and header first, claims after; whatever fails, the refusal tells a stranger nothing that a guess would not
    refresh    the same passport with a new end, while the old one lasts: who holds it stays who it was
    delegate   a new passport for an actor with a part of the rights, never longer than the original's life, never deeper than eight
    revoke     by id; ids of delegated passports continue the id of the original (`pas_1/pas_2`), so revoking one revokes all below it
    restore    the scope of a sealed start record: an execution keeps the authority it was admitted with, unless that was revoked

The keys form a `Ring`: passports of the key that signs, of the one that will, and of those that did until lately count. Whoever keeps the
keys tells of a change when asked (`news`), which happens at most once a second, so a rotation is seen by every process without a word.

A signature costs about a hundred microseconds, so accepted tokens are remembered by their SHA-256. A remembered token is still held
against its times on each use, and against the revocations whenever the revocation epoch has moved since it was last looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from omega.kernel.errors import Denied
from omega.kernel.ports import Signer
from omega.kernel.scope import ANY, MAX_DELEGATION_DEPTH, SCHEDULER, Scope, mint_scope
from omega.trust.jws import Malformed, signed, taken_apart
from omega.trust.keys import FOREVER, PublicKey, Retired, Ring

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

LEEWAY_S = 5
"""How far `nbf` and `iat` may lie ahead, for clocks that differ. The end of a passport gets no leeway."""

LOOK_S = 1.0
"""How often at most the keeper of the keys is asked for news, in seconds: a rotation is seen within it."""

_CAPABILITY = re.compile(r"\*|[a-z][a-z0-9_.-]*:(\*|[A-Za-z0-9][A-Za-z0-9_./-]*)")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,8}")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")

News = Callable[[], Ring | None]
"""Gives the ring when it has changed since it was last asked, else None."""


@dataclass(slots=True)
class _Remembered:
    scope: Scope
    starts: int
    counts_until: int
    holder: str
    epoch: int


class Authority:
    """Issues, verifies, refreshes, delegates and revokes the passports of one installation.

    `keys` is the signer or the whole ring of keys named `passport`; `issuer` and `audience` name the installation; `retired` are public
    keys whose passports count as long as they last; `revoked` the ids revoked before this start. Times are Unix seconds and always
    come from the caller.
    """

    def __init__(
        self,
        keys: Signer | Ring,
        *,
        issuer: str,
        audience: str,
        retired: Sequence[bytes] = (),
        revoked: Iterable[str] = (),
        news: News | None = None,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._news = news
        self._looked = 0.0
        self._revoked: dict[str, str] = dict.fromkeys(revoked, "")
        self._tenants = set(filter(_is_tenant, self._revoked))
        self._charged: Counter[str] = Counter()
        self._buried: dict[bytes, str] = {}
        self._deep: Counter[str] = Counter()
        self._floors: dict[str, int] = {}
        self._remembered: dict[bytes, _Remembered] = {}
        self._guests: dict[str, tuple[PublicKey, Callable[[str], bool]]] = {}
        self.epoch = len(self._revoked)
        self.adopt(keys if isinstance(keys, Ring) else Ring(keys, retired=tuple(Retired(public) for public in retired)))

    def adopt(self, ring: Ring) -> None:
        """Sign with the ring's current key from now on, and count what its other keys signed. Remembered passports are looked at anew."""
        self._signer = ring.current
        self._accepted = ring.accepted()
        self._header = {"kid": next(iter(self._accepted)), "typ": TYPE}
        self._remembered.clear()

    def welcome(self, public: bytes, admits: Callable[[str], bool]) -> None:
        """Accept also what the key `public` signs, in passports of the tenants that it `admits` and of no others."""
        key = PublicKey(public)
        self._guests[key.kid] = (key, admits)

    def look(self, now: float) -> None:
        """Ask for news of the keys, at most once in `LOOK_S`. Raises what the keeper of the keys raises: then nothing is accepted."""
        if self._news is not None and not 0 <= now - self._looked < LOOK_S:
            ring = self._news()
            self._looked = now
            if ring is not None:
                self.adopt(ring)

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
        holder: str = "",
    ) -> str:
        """A new passport. `actors` is the delegation chain, the current actor first; `holder` the thumbprint of the key it is bound to.

        Raises Denied: OMG-T001 when a part of it has no valid form or the life is too long, OMG-T002 when the chain is too deep
        or comes back to somebody in it.
        """
        self.look(now)
        if not 0 < ttl_s <= MAX_TTL_S:
            raise Denied("OMG-T001", f"a passport lives between 1 and {MAX_TTL_S} seconds")
        if len(actors) > MAX_DELEGATION_DEPTH:
            raise Denied("OMG-T002", f"the delegation chain would be longer than {MAX_DELEGATION_DEPTH}")
        if len({principal, *actors}) <= len(actors):
            raise Denied("OMG-T002", "the delegation would come back to somebody who stands in its chain already")
        if SCHEDULER in actors:
            raise Denied("OMG-T002", f"no passport names {SCHEDULER}: schedules carry their maker's rights sealed")
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
        if holder:
            claims["cnf"] = {"jkt": holder}
        self._scope_of(claims)  # what would not be accepted is not issued
        _holder(claims)
        return self._signed(claims)

    def verify(self, token: str, *, now: float, holder: str = "") -> Scope:
        """The scope that `token` proves. `holder` is the thumbprint of the key that was shown with it (`omega.trust.dpop`).

        Raises Denied OMG-T001 when it is not accepted, for whatever reason: a bound passport is refused without its key.
        """
        return self._verified(token, now, holder).scope

    def verify_bound(self, token: str, *, now: float, holder: str) -> Scope:
        """The same for a passport that must be bound to the key of `holder`: a bearer's is refused too. Raises Denied (OMG-T001)."""
        known = self._verified(token, now, holder)
        if not known.holder:
            raise _unaccepted()
        return known.scope

    def _verified(self, token: str, now: float, holder: str) -> _Remembered:
        self.look(now)
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
        if now >= known.counts_until:
            raise Denied("OMG-T001", "the passport was signed with a key that counts no more")
        if now + LEEWAY_S < known.starts:
            raise Denied("OMG-T001", "the passport is not valid yet", advice="compare the clocks of the two machines")
        if known.holder and known.holder != holder:
            raise Denied("OMG-T001", "the passport is bound to a key that was not shown", advice="send a DPoP proof with it")
        return known

    def check(self, scope: Scope) -> None:
        """Raise Denied (OMG-T001) when the passport behind `scope`, or one that it was delegated from, has been revoked, or when it ended
        before the floor of its tenant: which of those were revoked is not known any more."""
        self.check_id(scope.passport)
        if self._floors and scope.expires_at <= self._floors.get(scope.tenant, 0):
            raise Denied("OMG-T001", "the passport is of a time of which it is not known any more what was revoked")

    def check_id(self, passport: str) -> None:
        """The same for the id of a passport, where its scope is not at hand. Raises Denied (OMG-T001)."""
        if (self._revoked or self._buried) and any(self.is_revoked(ancestor) for ancestor in _lineage(passport)):
            raise Denied("OMG-T001", "the passport was revoked")

    def is_revoked(self, name: str) -> bool:
        """Whether that very id was revoked, lately or long ago; what is above it is not looked at."""
        return name in self._revoked or bool(self._buried and revocation_digest(name) in self._buried)

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

    def refresh(self, token: str, *, ttl_s: int, now: float, jti: str, holder: str = "") -> str:
        """The passport again with a new end, for the one who shows it (with its key, when it is bound). Nothing else changes.

        The id continues that of the first, so whoever revokes the first revokes its refreshed ones; and like a delegated passport it can be
        refreshed as often as ids may be continued. After that, or once it has ended, it takes a new passport from whoever knows the caller.
        Raises Denied (OMG-T001).
        """
        known = self._verified(token, now, holder)
        scope = known.scope
        return self.issue(
            tenant=scope.tenant,
            principal=scope.principal,
            groups=scope.groups,
            capabilities=scope.capabilities,
            actors=scope.actors,
            region=scope.region,
            ttl_s=ttl_s,
            now=now,
            jti=f"{scope.passport}/{jti}",
            holder=known.holder,
        )

    def redeem(self, token: str, *, holder: str, ttl_s: int, now: float, jti: str) -> str:
        """A bearer passport in place of a bound one whose key was shown at the edge: for the way inside, as short as that way takes.

        Raises Denied (OMG-T001).
        """
        scope = self.verify(token, now=now, holder=holder)
        return self.issue(
            tenant=scope.tenant,
            principal=scope.principal,
            groups=scope.groups,
            capabilities=scope.capabilities,
            actors=scope.actors,
            region=scope.region,
            ttl_s=max(1, min(ttl_s, scope.expires_at - int(now))),
            now=now,
            jti=f"{scope.passport}/{jti}",
        )

    def delegate(self, scope: Scope, *, actor: str, capabilities: Iterable[str], ttl_s: int, now: float, jti: str, holder: str = "") -> str:
        """A passport with which `actor` acts for the principal of `scope`, holding `capabilities` and nothing else.

        It may be bound to the actor's key (`holder`), and ends with the original at the latest. Raises Denied OMG-T002 when a right is
        asked that `scope` does not hold, or the chain grows too deep; OMG-T001 when the original has ended or was revoked.
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
            holder=holder,
        )

    def revoke(self, jti: str, *, account: str = "") -> int:
        """Refuse the passport `jti` and all delegated from it, from now on; gives the revocation epoch, a new one unless it was known.

        Keep the id and hand it in as `revoked` at the next start. To say the same again costs nothing: whoever follows a list may do so.
        `account` is whose revocation it counts as (`charged`): there is no bound for all, or one tenant could shut out the others.
        """
        if jti not in self._revoked:
            self._revoked[jti] = account
            if _is_tenant(jti):
                self._tenants.add(jti)
            self._charged[account] += 1
            self.epoch += 1
        return self.epoch

    def revoked(self) -> Set[str]:
        """The ids that are known by name: a view, of which the next call shows more."""
        return self._revoked.keys()

    def revoked_tenants(self) -> list[str]:
        """Those of them that are whole tenants."""
        return sorted(self._tenants)

    def charged(self, account: str) -> int:
        """How many of the ids known by name are on that account."""
        return self._charged[account]

    def buried(self, tenant: str) -> int:
        """How many ids of a tenant are known by their digest alone."""
        return self._deep[tenant]

    def bury(self, tenant: str, digests: Iterable[bytes], *, floor_s: int = 0) -> None:
        """Refuse ids of a tenant by their digests (`revocation_digest`), and whatever was admitted there with a passport that ended at
        `floor_s` (Unix seconds) or before."""
        for digest in digests:
            if digest not in self._buried:
                self._buried[digest] = tenant
                self._deep[tenant] += 1
                self.epoch += 1
        if floor_s > self._floors.get(tenant, 0):
            self._floors[tenant] = floor_s
            self.epoch += 1

    def bury_name(self, name: str) -> None:
        """Know an id by its digest alone from now on: as revoked as before, and smaller."""
        account = self._revoked.get(name)
        if account is not None:
            self.bury(account.partition(" ")[0], [revocation_digest(name)])
            del self._revoked[name]
            self._tenants.discard(name)
            self._charged[account] -= 1

    def reinstate(self, name: str) -> int:
        """Accept again what `name` stands for; gives the revocation epoch. For names above passports, such as a tenant that was suspended:
        a passport of its own that was revoked stays so, nobody asks for it back."""
        account = self._revoked.pop(name, None)
        self._tenants.discard(name)
        if account is not None:
            self._charged[account] -= 1
            self.epoch += 1
        return self.epoch

    def jwks(self, *, now: float = 0.0) -> dict[str, Any]:
        """The public keys that count at `now` as a JWK Set (RFC 7517), the current one first, the next one before it signs."""
        if now:
            self.look(now)
        return {"keys": [key.jwk() for key, until_s in self._accepted.values() if now < until_s]}

    def _signed(self, claims: Mapping[str, Any]) -> str:
        token = signed(self._header, claims, self._signer)
        if len(token) > MAX_TOKEN:
            raise Denied("OMG-T001", f"a passport of {len(token)} bytes is too long", advice="grant fewer capabilities or groups")
        return token

    def _accept(self, token: str) -> _Remembered:
        """Signature, header and claims of a token not seen before; times and revocation are the caller's."""
        try:
            found = taken_apart(token, limit=MAX_TOKEN, typ=TYPE)
            named = found.header.get("kid")
            kid = named if isinstance(named, str) else ""
            guest = self._guests.get(kid)
            key, counts_until = self._accepted[kid] if guest is None else (guest[0], FOREVER)
            found.require(key)
        except (Malformed, KeyError) as error:
            raise _unaccepted() from error
        claims = found.claims
        if claims.get("iss") != self._issuer or claims.get("aud") != self._audience:
            raise _unaccepted()
        scope = self._scope_of(claims)
        if guest is not None and not guest[1](scope.tenant):
            raise _unaccepted()
        starts = max(_seconds(claims.get("nbf")), _seconds(claims.get("iat")))
        if scope.expires_at <= starts or scope.expires_at - starts > MAX_TTL_S:
            raise _unaccepted()
        return _Remembered(scope, starts, counts_until, _holder(claims), epoch=-1)  # never looked at: the revocations are checked next

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


def _is_tenant(name: str) -> bool:
    return name.startswith("ten_") and "/" not in name


def revocation_digest(name: str) -> bytes:
    """An id in eight bytes, for those that were revoked long ago. Two that are the same would refuse one too many, never one too few."""
    return sha256(name.encode()).digest()[:8]


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


def _holder(claims: Mapping[str, Any]) -> str:
    """The thumbprint of the key that a passport is bound to (RFC 9449, 6.1), empty for a bearer's. A binding of another kind is refused."""
    if "cnf" not in claims:
        return ""
    bound = claims["cnf"]
    if not isinstance(bound, dict) or bound.keys() != {"jkt"}:
        raise _unaccepted()
    found = bound["jkt"]
    if not isinstance(found, str) or not _THUMBPRINT.fullmatch(found):
        raise _unaccepted()
    return found


def _seconds(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise _unaccepted()
    return value


def _unaccepted() -> Denied:
    """One sentence for every refusal before the claims are trusted: a forger learns nothing from it."""
    return Denied("OMG-T001", "the passport is not accepted here")
