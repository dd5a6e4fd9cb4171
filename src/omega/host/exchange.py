"""Credentials for passports: an API key, or a passport, is exchanged for a short-lived passport with at most the same rights.

    omk_ID_SECRET    ID is the key's id without its prefix, SECRET 32 random bytes in base64url. Only the SHA-256 of the secret is kept:
                     with so much chance in it there is nothing to guess, so a slow hash would protect nothing. Compared in constant time.

    client_credentials (RFC 6749, 4.4)    the key as `client_id` and `client_secret`, in the form or by HTTP Basic (2.3.1)
    token exchange (RFC 8693)             a passport for one with less rights, or for one with which an actor acts for its principal (`act`)
    refresh_token (RFC 6749, 6)           a passport for itself with a new end, while it lasts: passports are their own refresh tokens
    revocation (RFC 7009)                 of one's own passport, and of all that were made from it
    introspection (RFC 7662)              of a passport of one's own tenant; of any other only that it is not active

A stranger learns from a refusal that the credential is no good, and nothing else: an unknown key, a wrong secret, an expired key and a key
of a suspended tenant are told apart in no word and by no comparison.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from omega.host.arrangements import Shelf, arranged
from omega.host.identity import ISSUER
from omega.host.tenants import API_KEY, KEY_USED, Bearer, SandboxKey, above, demand_active, is_sandbox, passport_for
from omega.host.users import ROOT, Users
from omega.kernel.errors import Denied, InputError
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Entropy
from omega.kernel.scope import Scope
from omega.trust.passport import Authority

PREFIX = "omk_"
SECRET_BYTES = 32
KEY_TTL_S = 900
"""Longest life of a passport that was given for an API key, in seconds."""

REUSE_US = 60_000_000
"""How long the passport of a key is handed out again: whoever calls with the key itself costs one look into memory then."""

MAX_HELD = 4_096
NOTED_US = 60_000_000
"""How often at most it is noted that a key was used."""

NARROWED = "cut_"
"""How the last part of a passport's id begins that was given for another one with less rights."""

GRANTS = ("client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange")
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
TOKEN_TYPES = (JWT, ACCESS_TOKEN)

_KEY = re.compile(r"omk_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")
_NOBODY = sha256(b"").hexdigest()

Later = Callable[[Callable[[], None]], None]
"""Has something small done soon, off the way of whoever called."""


class ApiKey(NamedTuple):
    """An API key taken apart: its id (`key_...`) and the SHA-256 of its secret in hex."""

    id: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> ApiKey | None:
        """None for what has not the form of a key."""
        found = _KEY.fullmatch(text)
        return None if found is None else cls(f"key_{found[1]}", sha256(found[2].encode()).hexdigest())


def in_a_thread(work: Callable[[], None]) -> None:
    """`work` in a thread of the running loop: for small writes that nobody waits for. One that fails is lost."""
    asyncio.get_running_loop().run_in_executor(None, work)


def draw_secret(entropy: Entropy) -> tuple[str, str]:
    """A new secret, and the SHA-256 of it in hex, which is all that is handed to `tenancy.create_key`."""
    secret = base64.urlsafe_b64encode(entropy.take(SECRET_BYTES)).decode().rstrip("=")
    return secret, sha256(secret.encode()).hexdigest()


def key_text(key: str, secret: str) -> str:
    """The API key as its owner keeps it."""
    return f"{PREFIX}{key.removeprefix('key_')}_{secret}"


class Exchange:
    """Exchanges credentials of one installation. `later` writes behind; nothing here waits for a disk, but to read a key's document."""

    def __init__(
        self,
        shelf: Shelf,
        authority: Authority,
        entropy: Entropy,
        now_us: Callable[[], int],
        later: Later,
        users: Users | None = None,
    ) -> None:
        """With `users`, a key that acts as one of them does what they may do now."""
        self._shelf, self._authority, self._entropy, self._now_us, self._later = shelf, authority, entropy, now_us, later
        self._users = users
        key = SandboxKey()
        self._sandboxes = Authority(key, issuer=ISSUER, audience=ISSUER)
        authority.welcome(key.public, lambda tenant: is_sandbox(shelf, tenant))
        self._held: dict[str, tuple[int, str]] = {}
        self._marks: dict[str, bytes] = {}
        self._noted: dict[str, int] = {}

    # -- API keys

    def passport_of_key(self, text: str) -> str:
        """The passport of whoever shows the API key `text`, for one call or many within a minute. Raises Denied (OMG-T001)."""
        now_us = self._now_us()
        digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        held = self._held.get(digest)
        if held is not None and 0 <= now_us - held[0] < REUSE_US:
            with suppress(Denied):  # withdrawn, its tenant suspended, its user changed: then it is looked at anew
                self._demand_same(self._authority.verify(held[1], now=now_us / 1_000_000), digest)
                return held[1]
        key, body = self._demand(text, now_us)
        passport = self._issued(key, body, (), now_us)
        if len(self._held) >= MAX_HELD:
            self._held.clear()
            self._marks.clear()
        self._held[digest] = (now_us, passport)
        self._marks[digest] = self._users.mark(body["tenant"], body["principal"]) if self._users is not None else b""
        return passport

    def _demand_same(self, scope: Scope, digest: str) -> None:
        """Raise Denied (OMG-T001) where the user whom a key acts as has been changed since its passport was given."""
        if self._users is not None and self._users.mark(scope.tenant, scope.principal) != self._marks.get(digest, b""):
            raise _refused("invalid_client")

    # -- people in browsers

    def bearer_of_key(self, text: str) -> tuple[Bearer, int]:
        """Whoever shows the API key `text`, and when the key ends (Unix microseconds). Raises Denied (OMG-T001)."""
        now_us = self._now_us()
        key, body = self._demand(text, now_us)
        return self._bearer(key, body, now_us), int(body["expires_us"])

    def current(self, bearer: Bearer) -> Bearer:
        """The bearer with the rights that they have now: what their API key lost since, they lost too. Raises Denied (OMG-T001) for one
        whose tenant or key counts no more."""
        now_us = self._now_us()
        demand_active(self._shelf, bearer.tenant, now_us)
        if above(bearer):
            self._authority.check_id(above(bearer))
        key = bearer.root.rpartition("/")[2]
        if key.startswith(ROOT) and self._users is not None:
            return self._users.bearer(bearer.tenant, bearer.principal, bearer.region)
        if not key.startswith("key_"):
            return bearer
        body = arranged(self._shelf, API_KEY, key)
        if body is None or now_us >= body["expires_us"] or body["principal"] != bearer.principal:
            raise _refused("invalid_grant")
        return self._bearer(key, body, now_us)

    def passport_of_person(self, bearer: Bearer) -> str:
        """A passport of somebody who signed in, kept at hand for a minute. Raises Denied (OMG-T001)."""
        bearer, now_us = self.current(bearer), self._now_us()
        name = f"person {bearer!r}"
        held = self._held.get(name)
        if held is not None and 0 <= now_us - held[0] < REUSE_US:
            return held[1]
        passport = passport_for(self.issuer(bearer.tenant), self._entropy, bearer, ttl_s=KEY_TTL_S, now_us=now_us)
        if len(self._held) >= MAX_HELD:
            self._held.clear()
        self._held[name] = (now_us, passport)
        return passport

    def _demand(self, text: str, now_us: int) -> tuple[str, Mapping[str, Any]]:
        """The key and its document. Raises Denied (OMG-T001), always with the same words."""
        key = ApiKey.parse(text)
        body = arranged(self._shelf, API_KEY, key.id) if key is not None else None
        good = hmac.compare_digest(key.digest if key is not None else _NOBODY, str(body["secret_sha256"]) if body is not None else "0" * 64)
        if key is None or body is None or not good or now_us >= body["expires_us"]:
            raise _refused("invalid_client")
        try:
            demand_active(self._shelf, body["tenant"], now_us)
        except Denied as error:
            raise _refused("invalid_client") from error
        self._note_use(key.id, body["tenant"], now_us)
        return key.id, body

    def _issued(self, key: str, body: Mapping[str, Any], wanted: Collection[str], now_us: int) -> str:
        left_s = max(1, (body["expires_us"] - now_us) // 1_000_000)
        standing = demand_active(self._shelf, body["tenant"], now_us)
        if standing["expires_us"]:
            left_s = max(1, min(left_s, (standing["expires_us"] - now_us) // 1_000_000))
        bearer = self._bearer(key, body, now_us)
        passport = passport_for(self.issuer(body["tenant"]), self._entropy, bearer, ttl_s=min(KEY_TTL_S, left_s), now_us=now_us)
        return self._narrowed(passport, wanted, now_us) if wanted else passport

    def _bearer(self, key: str, body: Mapping[str, Any], now_us: int) -> Bearer:
        bearer = Bearer(
            tenant=body["tenant"],
            principal=body["principal"],
            roles=tuple(body["roles"]),
            capabilities=tuple(body["capabilities"]),
            region=demand_active(self._shelf, body["tenant"], now_us)["region"],
            root=key,
        )
        try:
            return bearer if self._users is None else self._users.limited(bearer)
        except Denied as error:
            raise _refused("invalid_client") from error

    def _narrowed(self, passport: str, wanted: Collection[str], now_us: int) -> str:
        """The same caller with `wanted` alone. Raises Denied (OMG-T002) for what is not held."""
        scope = self._authority.verify(passport, now=now_us / 1_000_000)
        _demand_held(scope, wanted)
        return self.issuer(scope.tenant).issue(
            tenant=scope.tenant,
            principal=scope.principal,
            groups=scope.groups,
            capabilities=tuple(wanted),
            actors=scope.actors,
            region=scope.region,
            ttl_s=scope.expires_at - now_us // 1_000_000,
            now=now_us / 1_000_000,
            jti=f"{scope.passport}/{NARROWED}{self._new(now_us)}",
        )

    def _note_use(self, key: str, tenant: str, now_us: int) -> None:
        if now_us - self._noted.get(key, 0) < NOTED_US:
            return
        if len(self._noted) >= MAX_HELD:
            self._noted.clear()
        self._noted[key] = now_us
        body = json.dumps({"at_us": now_us, "tenant": tenant}).encode()
        self._later(lambda: self._shelf.put_document(KEY_USED, key, body, now_us))

    # -- the token endpoint and its neighbours

    async def exchange(self, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint. `headers` have lower-case names.

        Raises Denied (OMG-T001, OMG-T002), InputError (OMG-I001); `details["oauth"]` is the error code of RFC 6749, 5.2.
        """
        grant, now_us = form.get("grant_type", ""), self._now_us()
        if grant not in GRANTS:
            raise InputError("OMG-I001", "this grant is not offered", details={"oauth": "unsupported_grant_type", "grants": list(GRANTS)})
        wanted = tuple(dict.fromkeys(form.get("scope", "").split()))
        if grant == "client_credentials":
            key, body = self._demand(_client(form, headers), now_us)
            return self._answer(self._issued(key, body, wanted, now_us), now_us)
        if grant == "refresh_token":
            scope = self._own(form.get("refresh_token", ""), now_us)
            if scope.actors or f"/{NARROWED}" in scope.passport:  # it ends with what it was cut from, at the latest
                raise _refused("invalid_grant")
            left_s = min(KEY_TTL_S, self._left_s(scope, now_us))
            passport = self.issuer(scope.tenant).refresh(form["refresh_token"], ttl_s=left_s, now=now_us / 1_000_000, jti=self._new(now_us))
            return self._answer(self._narrowed(passport, wanted, now_us) if wanted else passport, now_us)
        return self._answer(self._exchanged(form, wanted, now_us), now_us) | {"issued_token_type": JWT}

    def introspect(self, form: Mapping[str, str], scope: Scope) -> dict[str, Any]:
        """What a passport is worth to `scope`: its claims when it is one of the same tenant that counts now, else only that it is not."""
        now_us = self._now_us()
        with suppress(Denied):
            found = self._own(form.get("token", ""), now_us)
            if found.tenant == scope.tenant:
                return {
                    "active": True,
                    "scope": " ".join(sorted(found.capabilities)),
                    "sub": found.principal,
                    "tenant": found.tenant,
                    "jti": found.passport,
                    "exp": found.expires_at,
                    "act": list(found.actors),
                }
        return {"active": False}

    def revoke(self, form: Mapping[str, str], scope: Scope) -> str:
        """The id to revoke for whoever shows a passport of their own (RFC 7009): empty when there is nothing to do, which is no error.

        One is one's own that has the same tenant and principal.
        """
        with suppress(Denied):
            found = self._own(form.get("token", ""), self._now_us())
            if (found.tenant, found.principal) == (scope.tenant, scope.principal):
                return found.passport
        return ""

    def jwks(self) -> dict[str, Any]:
        """The public keys that passports are signed with (RFC 7517)."""
        return self._authority.jwks(now=self._now_us() / 1_000_000)

    def _exchanged(self, form: Mapping[str, str], wanted: tuple[str, ...], now_us: int) -> str:
        """RFC 8693, 2.1: without an actor the same caller with less rights, with one the actor for the caller."""
        for name in ("subject_token_type", "actor_token_type"):
            if form.get(name, JWT) not in TOKEN_TYPES:
                raise InputError("OMG-I001", f"{name} is none that is known here", details={"oauth": "invalid_request"})
        if form.get("requested_token_type", JWT) not in TOKEN_TYPES:
            raise InputError("OMG-I001", "only passports are given here", details={"oauth": "invalid_request"})
        subject = self._own(form.get("subject_token", ""), now_us)
        rights = wanted or tuple(sorted(subject.capabilities))
        _demand_held(subject, rights)
        if not form.get("actor_token"):
            return self._narrowed(form["subject_token"], rights, now_us)
        actor = self._own(form["actor_token"], now_us)
        if actor.tenant != subject.tenant or actor.actors:
            raise _refused("invalid_grant")
        return self.issuer(subject.tenant).delegate(
            subject,
            actor=actor.principal,
            capabilities=rights,
            ttl_s=min(KEY_TTL_S, self._left_s(actor, now_us)),
            now=now_us / 1_000_000,
            jti=self._new(now_us),
        )

    def _own(self, passport: str, now_us: int) -> Scope:
        """The scope of a bearer passport whose tenant may act. Raises Denied (OMG-T001)."""
        try:
            scope = self._authority.verify(passport, now=now_us / 1_000_000)
            demand_active(self._shelf, scope.tenant, now_us)
            if self._users is not None:
                self._users.demand_current(scope)
        except Denied as error:
            raise _refused("invalid_grant") from error
        return scope

    def _left_s(self, scope: Scope, now_us: int) -> int:
        """How long a passport of that caller may last: a tenant that expires takes its passports with it, a key too (by its id)."""
        standing = int(demand_active(self._shelf, scope.tenant, now_us)["expires_us"])
        ends = [standing] if standing else []
        for part in scope.passport.split("/"):
            body = arranged(self._shelf, API_KEY, part) if part.startswith("key_") else None
            ends += [int(body["expires_us"])] if body is not None else []
        return max(1, min([KEY_TTL_S, *((end - now_us) // 1_000_000 for end in ends)]))

    def _answer(self, passport: str, now_us: int) -> dict[str, Any]:
        scope = self._authority.verify(passport, now=now_us / 1_000_000)
        left_s = scope.expires_at - now_us // 1_000_000
        return {
            "access_token": passport,
            "token_type": "Bearer",
            "expires_in": max(0, left_s),
            "scope": " ".join(sorted(scope.capabilities)),
        }

    def issuer(self, tenant: str) -> Authority:
        """Who signs for a tenant: sandboxes have a key of their own."""
        return self._sandboxes if is_sandbox(self._shelf, tenant) else self._authority

    def _new(self, now_us: int) -> str:
        return new_id(PASSPORT, now_ms=now_us // 1_000, entropy=self._entropy.take(10))


def _client(form: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The API key of whoever asks, from the form or from HTTP Basic (RFC 6749, 2.3.1); not from both."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic" and ("client_secret" in form or not given):
        raise InputError("OMG-I001", "a client shows its secret once", details={"oauth": "invalid_request"})
    if kind.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _refused("invalid_client") from error
        name, secret = unquote_plus(name), unquote_plus(secret)
    else:
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
    return secret if secret.startswith(PREFIX) and secret.count("_") >= 2 and not name else key_text(name, secret)


def _demand_held(scope: Scope, wanted: Iterable[str]) -> None:
    missing = sorted(scope.missing(wanted))
    if missing:
        raise Denied("OMG-T002", "a right was asked for that is not held", details={"oauth": "invalid_scope", "missing": missing})


def _refused(oauth: str) -> Denied:
    return Denied("OMG-T001", "the credential is not accepted here", advice="get a new one: omega key create", details={"oauth": oauth})
