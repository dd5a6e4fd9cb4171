"""What the host knows of tenants: documents that the gate's side reads on every call, and what is done to a tenant as a whole.

    tenant     one per hosted tenant: whose it is, its plan and limits, its state, when it expires
    api-key    one per API key that counts: its tenant, whose it is, what it may do, the SHA-256 of its secret
    key-used   when a key was last used, to the minute; written behind

A passport of a hosted tenant has an id that begins with the tenant's own, one given for an API key an id that goes on with the key's:
`ten_1/key_2/pas_3`. Ids of passports are revoked with all that continue them, so a tenant is suspended, and a key withdrawn, by revoking
one id: every engine sees it within a second, at the door and at the next touch of what runs already.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from omega.features.tenancy.requests import KeysUsed, PublishKey, PublishTenant, PurgeTenant, Standing, WithdrawKey
from omega.host.arrangements import Documents, Shelf, arranged
from omega.host.holds import demand_no_hold
from omega.host.limits import FACT, LIMIT
from omega.host.regions import REGION, Region
from omega.host.retention import RETENTION
from omega.host.revocations import REVOKED, demand_room, is_revoked, revoke
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Entropy, Tables
from omega.kernel.service import INSTALLATION
from omega.kernel.verdict import Permit
from omega.trust.passport import Authority

TENANT, API_KEY, KEY_USED = "tenant", "api-key", "key-used"
"""The kinds of the documents."""

DAY_S = 86_400

ACTIVE, SUSPENDED = "active", "suspended"
ROLES = "roles"
"""The fact by which the policy pack of that name knows that a tenant's roles permit what it says."""

SANDBOX = "sandbox"
"""The plan of sandboxes (`omega.host.sandbox`)."""


class Records(Protocol):
    """The records of an installation, as far as whole tenants are concerned."""

    def checkpoints(self, tenant: str) -> list[tuple[int, bytes]]: ...

    async def purge(self, tenant: str) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Whoever a passport is made for: a principal of a tenant with roles and rights. `root` is what the passport's id begins with, besides
    the tenant: the API key that it was given for."""

    tenant: str
    principal: str
    roles: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    region: str = "local"
    root: str = ""


def passport_for(authority: Authority, entropy: Entropy, bearer: Bearer, *, ttl_s: int, now_us: int, holder: str = "") -> str:
    """A passport of that bearer. Raises Denied (OMG-T001) for words that no passport may hold."""
    own = new_id(PASSPORT, now_ms=now_us // 1_000, entropy=entropy.take(10))
    return authority.issue(
        tenant=bearer.tenant,
        principal=bearer.principal,
        groups=bearer.roles,
        capabilities=bearer.capabilities,
        region=bearer.region,
        ttl_s=ttl_s,
        now=now_us / 1_000_000,
        jti="/".join(filter(None, (above(bearer), own))),
        holder=holder,
    )


def above(bearer: Bearer) -> str:
    """What the ids of that bearer's passports begin with: revoked, it ends them all. Empty where there is neither a hosted tenant nor a
    root."""
    return "/".join(filter(None, (bearer.tenant if bearer.tenant != INSTALLATION else "", bearer.root)))


def standing_of(documents: Documents, tenant: str) -> dict[str, Any]:
    """How a tenant stands. The installation's own is always active and has no limits. Raises Denied (OMG-T001) for one that is not hosted
    here, which is all that a stranger learns about it."""
    if tenant == INSTALLATION:
        return {"state": ACTIVE, "plan": "own", "region": "local", "expires_us": 0, "limits": {}}
    found = arranged(documents, TENANT, tenant)
    if found is None:
        raise Denied("OMG-T001", "the passport is not accepted here")
    return found


def demand_active(documents: Documents, tenant: str, now_us: int) -> dict[str, Any]:
    """How a tenant stands, if it may act now. Raises Denied (OMG-T001)."""
    found = standing_of(documents, tenant)
    if found["state"] != ACTIVE or 0 < found["expires_us"] <= now_us:
        cause = "the tenant is suspended" if found["state"] == SUSPENDED else "the tenant's time is over"
        raise Denied("OMG-T001", cause, advice="ask whoever runs this installation")
    return found


class SandboxKey:
    """Signs the passports of sandboxes; drawn when it is made, and kept in no file."""

    name = SANDBOX

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._private = Ed25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """The signature over `message` (RFC 8032)."""
        return self._private.sign(message)


def is_sandbox(documents: Documents, tenant: str) -> bool:
    """Whether `tenant` is a sandbox now: one that was upgraded is none any more."""
    found = arranged(documents, TENANT, tenant)
    return found is not None and found["plan"] == SANDBOX


class TenantsEffector:
    """Serves tenancy's requests to the host. Whose key it is comes from the permit; only the installation's own tenant speaks of others."""

    port = Standing.port

    def __init__(
        self,
        records: Records,
        shelf: Shelf,
        authority: Authority,
        tables: Tables,
        now_us: Callable[[], int],
        sealed: Callable[[str], Iterable[tuple[str, str]]],
    ) -> None:
        """`sealed` lists kind and name of the sealed documents of a tenant: a purge cannot read whose they are."""
        self._records, self._shelf, self._authority, self._tables, self._now_us = records, shelf, authority, tables, now_us
        self._sealed = sealed

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what the request says it gives. Raises InputError (OMG-I001, OMG-I003), Denied (OMG-C004, OMG-W001), StorageError."""
        permit.spend(self.port)
        match request:
            case Standing():
                return standing_of(self._shelf, permit.tenant), Receipt()
            case KeysUsed():
                return self._used(permit.tenant), Receipt()
            case PublishKey():
                self._publish_key(permit.tenant, request)
            case WithdrawKey():
                self._withdraw_key(permit.tenant, request.key)
            case PublishTenant():
                self._publish_tenant(permit.tenant, request)
            case PurgeTenant():
                return await self._purge(permit.tenant, request.tenant), Receipt()
            case _:
                raise InputError("OMG-I001", f"tenants are published and purged, there is no {type(request).__name__}")
        return None, Receipt()

    async def aclose(self) -> None:
        """Let go of the tables."""
        await self._tables.aclose()

    def _publish_key(self, tenant: str, request: PublishKey) -> None:
        known = arranged(self._shelf, API_KEY, request.key)
        if known is not None and known["tenant"] != tenant:
            raise InputError("OMG-I003", f"this tenant has no API key {request.key[:80]}")
        if not is_revoked(self._shelf, self._authority, request.key):
            if known is None:
                demand_room(self._authority, tenant)
            self._put(API_KEY, request.key, dict(request.body) | {"tenant": tenant})

    def _withdraw_key(self, tenant: str, key: str) -> None:
        known = arranged(self._shelf, API_KEY, key)
        if known is not None and known["tenant"] == tenant:
            self._revoke(key, tenant)
            self._shelf.drop_document(API_KEY, key)

    def _used(self, tenant: str) -> dict[str, int]:
        used = {name: json.loads(body) for name, body in self._shelf.documents(KEY_USED)}
        return {name: int(body["at_us"]) for name, body in used.items() if body["tenant"] == tenant}

    def _publish_tenant(self, own: str, request: PublishTenant) -> None:
        _demand_installation(own)
        self._put(TENANT, request.tenant, request.body)
        self._keep_limits(request.tenant, request.body["limits"])
        roles = request.body["limits"].get("roles", "")
        if roles and self._shelf.document(FACT, f"{request.tenant} {ROLES}") is None:
            self._put(FACT, f"{request.tenant} {ROLES}", {"value": roles})
        if request.body["region"] in set(Region):
            self._put(REGION, request.tenant, {"region": request.body["region"]})
        if request.body["state"] == ACTIVE:
            self._shelf.drop_document(REVOKED, request.tenant)
            self._authority.reinstate(request.tenant)
        else:
            self._revoke(request.tenant)

    async def _purge(self, own: str, tenant: str) -> dict[str, Any]:
        """Refuse the tenant first, then destroy: nothing can come after it. Done again after a crash, it destroys what is left; the records
        go last, and with them the documents that name the tenant, by which its end was known to be due."""
        _demand_installation(own)
        if tenant == own or not tenant.startswith("ten_"):
            raise InputError("OMG-I001", "the installation's own tenant is not purged: remove the data folder")
        demand_no_hold(self._shelf, tenant)
        self._revoke(tenant)
        points = self._records.checkpoints(tenant)
        left = {"leaves": points[-1][0], "checkpoint": points[-1][1].decode()} if points else {"leaves": 0, "checkpoint": ""}
        for name, body in self._shelf.documents(API_KEY):
            if json.loads(body)["tenant"] == tenant:
                self._shelf.drop_document(API_KEY, name)
                self._shelf.drop_document(KEY_USED, name)
        for word in ("minute", "day"):
            self._shelf.drop_document(LIMIT, f"{word} {tenant}")
        for kind, name in self._sealed(tenant):
            self._shelf.drop_document(kind, name)
        await self._tables.purge(tenant)
        await self._records.purge(tenant)
        return left

    def _keep_limits(self, tenant: str, limits: Mapping[str, Any]) -> None:
        """The plan as what the gate and retention read: a limit per minute and per day, and days that payloads are kept."""
        per_minute = {"of": "requests", "amount": round(limits["requests_per_s"] * 60), "window_s": 60}
        per_day = {"of": "requests", "amount": limits["calls_per_day"], "window_s": DAY_S}
        for word, limit in (("minute", per_minute), ("day", per_day)):
            kept = {**limit, "tenant": tenant, "principal": "", "flow": ""} if limit["amount"] else None
            self._put_or_drop(LIMIT, f"{word} {tenant}", kept)
        days = int(limits["retention_days"])
        self._put_or_drop(RETENTION, tenant, {"after_s": float(days * DAY_S)} if days else None)

    def _put_or_drop(self, kind: str, name: str, body: Mapping[str, Any] | None) -> None:
        if body is None:
            self._shelf.drop_document(kind, name)
        else:
            self._put(kind, name, body)

    def _revoke(self, name: str, account: str = "") -> None:
        revoke(self._shelf, self._authority, name, self._now_us(), account=account)

    def _put(self, kind: str, name: str, body: Mapping[str, Any]) -> None:
        self._shelf.put_document(kind, name, json.dumps(dict(body), sort_keys=True).encode(), self._now_us())


def _demand_installation(own: str) -> None:
    """Raise Denied (OMG-W001) for everybody but those of the installation's own tenant."""
    if own != INSTALLATION:
        raise Denied("OMG-W001", "tenants are managed from the tenant of the installation", advice="ask whoever runs this installation")
