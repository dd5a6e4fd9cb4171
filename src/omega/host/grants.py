"""What people have allowed clients, and the codes by which clients come for it.

    oauth-grant    one per consent: who allowed which client what, where, until when; sealed, bound to its own id
    oauth-grant-of whose it is, for what is looked up by a person: `DIGEST ID`, with the client and when the grant is looked at again
    oauth-code     one per code: sealed under the code's digest. Swapping it for `spent` is what uses it up, which one of two manages

A grant's id stands in every passport that is given for it (`omega.host.bound`), so withdrawing it is revoking that one id: every engine
refuses those passports within a second, also at the next touch of what runs already.

Refresh tokens are counted: the n-th of a grant is made from its id, n and a secret that the grant keeps sealed. One that was used before
is told from a guess by that secret, and then somebody has a copy: the whole grant ends (RFC 9700, 4.14.2). So does one whose code comes
a second time (RFC 6749, 4.1.2).
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar, Final

from omega.host.arrangements import Shelf
from omega.host.closed import closed, opened
from omega.host.revocations import demand_room, person_account, revoke
from omega.host.tenants import Bearer
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.ids import new_id
from omega.kernel.ports import Entropy
from omega.kernel.verdict import Permit
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring

GRANT, GRANT_OF, CODE = "oauth-grant", "oauth-grant-of", "oauth-code"
"""The kinds of the documents."""

GRANT_S: Final = 30 * 24 * 3_600
"""How long (seconds) a grant lasts; then the person is asked again."""

CODE_S: Final = 60
"""How long (seconds) a code may be redeemed."""

SPENT_S: Final = 600
"""How long (seconds) a code is remembered, to tell that it came again."""

MAX_CODES: Final = 1_000
MAX_PER_PERSON: Final = 100
"""Most grants of one person; the oldest ends first."""

SWEEP_S: Final = 60
"""How often (seconds) at most grants are looked through for what is over."""

SWEPT_AT_ONCE: Final = 100
"""Most that are opened for it at once."""

REFRESH: Final = re.compile(r"omr_([0-9a-f]{32})_([0-9]{1,9})_([A-Za-z0-9_-]{43})")
_ID: Final = re.compile(r"grt_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One consent. `bearer` is who gave it, `anchor` the id whose revocation ends it (of the passport or key they signed in with), `actor`
    the client as it stands in chains of delegation; `generation` the number of the refresh token that counts, 0 before the first."""

    id: str
    bearer: Bearer
    anchor: str
    client: str
    client_name: str
    voucher: str
    actor: str
    redirect: str
    issuer: str
    resource: str
    scopes: tuple[str, ...]
    made_s: float
    expires_s: float
    secret: str
    generation: int = 0
    used_s: float = 0.0

    def facts(self) -> dict[str, Any]:
        """What may be shown of it, and stands in the record."""
        return {
            "grant": self.id,
            "tenant": self.bearer.tenant,
            "person": self.bearer.principal,
            "client": self.client,
            "client_name": self.client_name,
            "vouched_by": self.voucher,
            "answers_to": self.redirect,
            "resource": self.resource,
            "scopes": list(self.scopes),
            "made_s": int(self.made_s),
            "expires_s": int(self.expires_s),
            "used_s": int(self.used_s),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepGrant(Request):
    """Keep a consent: `body` is the sealed document."""

    port: ClassVar[str] = "grants"
    grant: str
    body: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndGrant(Request):
    """End a consent: what was given for it counts no more."""

    port: ClassVar[str] = "grants"
    grant: str


class GrantEffector:
    """Serves `KeepGrant` and `EndGrant`."""

    port = KeepGrant.port

    def __init__(self, grants: Grants) -> None:
        self._grants = grants

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the id of the grant. Raises InputError (OMG-I001) for what is no grant of the permit's tenant."""
        permit.spend(self.port)
        match request:
            case KeepGrant():
                self._grants.keep(permit.tenant, request.grant, request.body)
            case EndGrant():
                self._grants.end(request.grant, permit.tenant)
            case _:
                raise InputError("OMG-I001", f"grants are kept and ended, there is no {type(request).__name__}")
        return request.grant, Receipt()


@flow(name="allow_client", effect="idempotent", needs="grants:use")
async def allow_client(ctx: Context, wanted: dict[str, Any]) -> str:
    """Somebody has allowed a client something: `facts` say who, whom and what, `body` is the sealed grant."""
    return str(await ctx.touch(KeepGrant(grant=wanted["facts"]["grant"], body=wanted["body"])))


@flow(name="refuse_client", needs="grants:use")
def refuse_client(wanted: dict[str, Any]) -> str:
    """Somebody has refused a client what it asked for."""
    return str(wanted["client"])


@flow(name="withdraw_client", effect="idempotent", needs="grants:use")
async def withdraw_client(ctx: Context, wanted: dict[str, Any]) -> str:
    """A consent has ended before its time: `facts`, `reason` and `by` say why."""
    return str(await ctx.touch(EndGrant(grant=wanted["facts"]["grant"])))


class Grants:
    """The grants and codes of one installation. Times are Unix seconds."""

    def __init__(self, shelf: Shelf, keyring: Keyring, authority: Authority, now_us: Callable[[], int]) -> None:
        self._shelf, self._keyring, self._authority, self._now_us = shelf, keyring, authority, now_us
        self._indexed = False
        self._swept_s = 0.0

    # -- grants

    def demand_room(self, tenant: str, principal: str) -> None:
        """Raise Denied (OMG-G007) for somebody who has withdrawn so much lately that they allow nothing new for now."""
        demand_room(self._authority, person_account(tenant, principal))

    def sealed(self, grant: Grant) -> dict[str, str]:
        """The document of a grant: who gave it can be looked up by a digest, everything else is sealed."""
        kept = asdict(grant)
        return {"whose": _whose(grant.bearer.tenant, grant.bearer.principal), **closed(self._keyring, f"{GRANT} {grant.id}", kept)}

    def keep(self, tenant: str, id: str, body: Mapping[str, str]) -> None:
        """Raises InputError (OMG-I001) for what was not sealed here under that id, or for another tenant."""
        found = self._read(id, body)
        if found is None or found.bearer.tenant != tenant:
            raise InputError("OMG-I001", "that is no grant of this tenant")
        self._shelf.put_document(GRANT, id, json.dumps(dict(body)).encode(), self._now_us())
        self._index(found, found.made_s + SPENT_S)

    def find(self, id: str) -> Grant | None:
        """The grant of that id, as long as it lasts."""
        return self._found(id)[1]

    def of(self, tenant: str, principal: str) -> list[Grant]:
        """What somebody has allowed, the newest first."""
        self._index_all()
        whose = _whose(tenant, principal)
        listed = (self.find(name.rpartition(" ")[2]) for name, _ in self._shelf.documents(GRANT_OF, f"{whose} "))
        found = [each for each in listed if each is not None and _whose(each.bearer.tenant, each.bearer.principal) == whose]
        return sorted(found, key=lambda each: each.made_s, reverse=True)

    def clients(self) -> set[str]:
        """The ids of clients that somebody's grant stands for."""
        self._index_all()
        return {str(json.loads(body)["client"]) for _, body in self._shelf.documents(GRANT_OF)}

    def end(self, id: str, tenant: str) -> None:
        """Refuse what was given for the grant from now on, and forget it. It counts as a revocation of the person's who gave it."""
        text = self._shelf.document(GRANT, id)
        grant = None if text is None else self._read(id, json.loads(text))
        account = tenant if grant is None else person_account(grant.bearer.tenant, grant.bearer.principal)
        revoke(self._shelf, self._authority, id, self._now_us(), account=account)
        self._shelf.drop_document(GRANT, id)
        if grant is not None:
            self._shelf.drop_document(GRANT_OF, _index_name(grant))

    def sweep(self) -> None:
        """Forget grants whose time is over, and those whose client never came for them: once in `SWEEP_S`, `SWEPT_AT_ONCE` at most."""
        now = self._now_us() / 1_000_000
        if 0 <= now - self._swept_s < SWEEP_S:
            return
        self._swept_s = now
        self._index_all()
        due = [name for name, body in self._shelf.documents(GRANT_OF) if float(json.loads(body)["due_s"]) <= now]
        for name in due[:SWEPT_AT_ONCE]:
            id = name.rpartition(" ")[2]
            grant = self.find(id)
            if grant is not None and grant.generation:
                self._index(grant, grant.expires_s)
                continue
            self._shelf.drop_document(GRANT, id)
            self._shelf.drop_document(GRANT_OF, name)

    def _index(self, grant: Grant, due_s: float) -> None:
        body = json.dumps({"client": grant.client, "due_s": due_s}).encode()
        self._shelf.put_document(GRANT_OF, _index_name(grant), body, self._now_us())

    def _index_all(self) -> None:
        """Once: enter what an earlier release kept without an entry."""
        if self._indexed:
            return
        listed = {name.rpartition(" ")[2] for name, _ in self._shelf.documents(GRANT_OF)}
        for name, text in self._shelf.documents(GRANT):
            grant = self._read(name, json.loads(text)) if name not in listed else None
            if grant is not None:
                self._index(grant, grant.made_s + SPENT_S)
        self._indexed = True

    def turned(self, grant: Grant, generation: int) -> Grant | None:
        """The grant with the next refresh token, where `generation` is still the one that counts; None where somebody else was quicker."""
        was, found = self._found(grant.id)
        if found is None or found.generation != generation:
            return None
        made = replace(found, generation=generation + 1, used_s=self._now_us() / 1_000_000)
        kept = json.dumps(self.sealed(made)).encode()
        return made if self._shelf.swap_document(GRANT, grant.id, was, kept, self._now_us()) else None

    def _found(self, id: str) -> tuple[bytes | None, Grant | None]:
        text = self._shelf.document(GRANT, id) if _ID.fullmatch(id) else None
        grant = None if text is None else self._read(id, json.loads(text))
        return text, grant if grant is not None and grant.expires_s > self._now_us() / 1_000_000 else None

    def _read(self, id: str, body: Mapping[str, Any]) -> Grant | None:
        try:
            return grant_in(self._keyring, id, body)
        except IntegrityError:
            return None

    # -- codes

    def code(self, entropy: Entropy, grant: Grant, challenge: str) -> str:
        """A new code for the grant, good once, for `CODE_S`."""
        now = self._now_us() / 1_000_000
        self._sweep_codes(now)
        text = base64.urlsafe_b64encode(entropy.take(32)).decode().rstrip("=")
        name = sha256(text.encode()).hexdigest()
        value = {"grant": grant.id, "challenge": challenge, "until_s": now + CODE_S}
        self._shelf.put_document(CODE, name, self._code_body(name, value), self._now_us())
        return text

    def spend(self, code: str) -> tuple[str, Mapping[str, Any] | None]:
        """The id of the grant that a code was made for (empty: none) and what it says; nothing where it was used before or is too old."""
        name = sha256(code.encode("utf-8", "replace")).hexdigest()
        body = self._shelf.document(CODE, name)
        found = None if body is None else self._code_value(name, body)
        if body is None or found is None:
            return "", None
        now = self._now_us() / 1_000_000
        spent = self._code_body(name, {"grant": found["grant"], "until_s": 0, "spent_s": now})
        good = "spent_s" not in found and now < found["until_s"]
        if "spent_s" in found or not self._shelf.swap_document(CODE, name, body, spent, self._now_us()):
            return str(found["grant"]), None
        return (str(found["grant"]), found) if good else ("", None)

    def _sweep_codes(self, now: float) -> None:
        left = []
        for name, body in self._shelf.documents(CODE):
            found = self._code_value(name, body)
            until = 0.0 if found is None else max(float(found["until_s"]), float(found.get("spent_s", 0))) + SPENT_S
            if until <= now:
                self._shelf.drop_document(CODE, name)
            else:
                left.append((until, name))
        for _, name in sorted(left)[: max(0, len(left) + 1 - MAX_CODES)]:
            self._shelf.drop_document(CODE, name)

    def _code_body(self, name: str, value: Mapping[str, Any]) -> bytes:
        return json.dumps(closed(self._keyring, f"{CODE} {name}", dict(value))).encode()

    def _code_value(self, name: str, body: bytes) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = opened(self._keyring, f"{CODE} {name}", json.loads(body))
        except (IntegrityError, ValueError):
            return None
        return found


def grant_in(keyring: Keyring, id: str, body: Mapping[str, Any]) -> Grant:
    """The grant in a document. Raises IntegrityError (OMG-T004) for what was not sealed here under that id."""
    kept = opened(keyring, f"{GRANT} {id}", body)
    bearer = Bearer(**{**kept["bearer"], "roles": tuple(kept["bearer"]["roles"]), "capabilities": tuple(kept["bearer"]["capabilities"])})
    return Grant(**{**kept, "bearer": bearer, "scopes": tuple(kept["scopes"])})


def new_grant_id(entropy: Entropy, now_us: int) -> str:
    """The id of a new grant."""
    return new_id("grt", now_ms=now_us // 1_000, entropy=entropy.take(10))


def refresh_token(grant: Grant) -> str:
    """The refresh token that counts now."""
    return f"omr_{grant.id.removeprefix('grt_')}_{grant.generation}_{_proof(grant, grant.generation)}"


def generation_of(grant: Grant, token: str) -> int:
    """Which of the grant's refresh tokens `token` is; 0 where it is none that was ever given."""
    found = REFRESH.fullmatch(token)
    if found is None or f"grt_{found[1]}" != grant.id:
        return 0
    number = int(found[2])
    good = hmac.compare_digest(_proof(grant, number), found[3])
    return number if good and number <= grant.generation else 0


def _proof(grant: Grant, number: int) -> str:
    made = hmac.digest(bytes.fromhex(grant.secret), f"{grant.id} {number}".encode(), "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _index_name(grant: Grant) -> str:
    return f"{_whose(grant.bearer.tenant, grant.bearer.principal)} {grant.id}"


def _whose(tenant: str, principal: str) -> str:
    return sha256(json.dumps([tenant, principal]).encode()).hexdigest()[:32]
