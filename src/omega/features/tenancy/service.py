"""The verbs of tenancy. Those on tenants are an operator's, in the tenant of the installation; all others are about the caller's own
tenant, and no input of theirs names one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from omega.features.tenancy import model
from omega.features.tenancy.plans import plan_of
from omega.features.tenancy.requests import (
    Change,
    KeysUsed,
    Look,
    PublishKey,
    PublishTenant,
    PurgeTenant,
    Standing,
    WithdrawKey,
)
from omega.kernel.context import Context
from omega.kernel.errors import Denied, InputError
from omega.kernel.ids import TENANT
from omega.kernel.service import INSTALLATION, OPERATOR, method

READ, WRITE = ("tenancy:use", "tenants:use", "tenants:read"), ("tenancy:use", "tenants:use", "tenants:write")
"""What reading and changing takes: the two ports, and the right itself."""

ADMINS = (OPERATOR, "owner", "admin")
"""Who may manage a tenant's own keys, members and settings."""

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
_SOME_TENANT = f"{TENANT}_{'0' * 12}7{'0' * 3}8{'0' * 15}"
_SOME_KEY = f"key_{_SOME_TENANT[4:]}"
_SOME_DIGEST = "0" * 64


class Tenancy:
    """Tenants, members, API keys, settings and flags."""

    # -- tenants, for operators

    @method(
        effect="idempotent",
        needs=WRITE,
        roles=OPERATOR,
        example={"organisation": "acme", "project": "web", "environment": "production"},
    )
    async def create(self, ctx: Context, wanted: model.NewTenant) -> model.Tenant:
        """Make an environment with a tenant id of its own."""
        plan_of(wanted.plan)
        now_us = await _now_us(ctx)
        values = wanted.model_dump(exclude={"hours"}) | {
            "id": f"{TENANT}_{(await ctx.uuid()).replace('-', '')}",
            "created_us": now_us,
            "expires_us": now_us + int(wanted.hours * HOUR_US) if wanted.hours else 0,
        }
        made = await ctx.touch(Change(name="create_tenant", values=values))
        return await _published(ctx, made["id"])

    @method(effect="read", needs=READ, roles=OPERATOR, example={})
    async def tenants(self, ctx: Context, page: model.TenantPage) -> list[model.Tenant]:
        """The tenants that are hosted here, by name."""
        return [_tenant(row) for row in await ctx.touch(Look(name="list_tenants", values=page.model_dump()))]

    @method(effect="read", needs=READ, roles=OPERATOR, example={"tenant": _SOME_TENANT})
    async def show(self, ctx: Context, wanted: model.ThisTenant) -> model.Tenant:
        """One tenant, with the limits of its plan."""
        return _tenant(await ctx.touch(Look(name="show_tenant", values={"id": wanted.tenant})))

    @method(effect="idempotent", needs=WRITE, roles=OPERATOR, example={"tenant": _SOME_TENANT, "reason": "an unpaid bill"})
    async def suspend(self, ctx: Context, wanted: model.Suspension) -> model.Tenant:
        """Refuse everybody of a tenant within a second, at the door and at the next touch of what runs. Nothing of it is lost."""
        return await _changed(ctx, wanted.tenant, ("active", "suspended"), state="suspended", reason=wanted.reason)

    @method(effect="idempotent", needs=WRITE, roles=OPERATOR, example={"tenant": _SOME_TENANT})
    async def resume(self, ctx: Context, wanted: model.ThisTenant) -> model.Tenant:
        """Let a suspended tenant work again."""
        return await _changed(ctx, wanted.tenant, ("active", "suspended"), state="active", reason="")

    @method(effect="idempotent", needs=WRITE, roles=OPERATOR, example={"tenant": _SOME_TENANT, "plan": "team"})
    async def upgrade(self, ctx: Context, wanted: model.Upgrade) -> model.Tenant:
        """Put a tenant on another plan. What it has recorded stays; a sandbox expires no more."""
        plan_of(wanted.plan)
        return await _changed(ctx, wanted.tenant, ("active",), plan=wanted.plan, expires_us=0)

    @method(effect="idempotent", needs=WRITE, roles=OPERATOR, example={"tenant": _SOME_TENANT, "export": _SOME_DIGEST})
    async def delete(self, ctx: Context, wanted: model.Deletion) -> model.Purged:
        """Destroy everything of a suspended tenant, after an export: records, payloads, keys, log and rows. There is no way back."""
        found = _tenant(await ctx.touch(Look(name="show_tenant", values={"id": wanted.tenant})))
        if found.state != "suspended":
            raise InputError("OMG-I005", f"{wanted.tenant} is {found.state}: suspend it, export it, then delete it")
        return await _purged(ctx, wanted.tenant, export=wanted.export)

    @method(effect="idempotent", needs=WRITE, roles=OPERATOR, example={"tenant": _SOME_TENANT})
    async def expire(self, ctx: Context, wanted: model.ThisTenant) -> model.Purged:
        """Destroy everything of a tenant whose time is over. Raises InputError (OMG-I005) before that."""
        found, now_us = _tenant(await ctx.touch(Look(name="show_tenant", values={"id": wanted.tenant}))), await _now_us(ctx)
        if not 0 < found.expires_us <= now_us:
            raise InputError("OMG-I005", f"{wanted.tenant} does not expire now", advice="suspend, export and delete it instead")
        return await _purged(ctx, wanted.tenant)

    @method(effect="idempotent", needs=WRITE, roles=OPERATOR, example={"tenant": _SOME_TENANT})
    async def discard(self, ctx: Context, wanted: model.ThisTenant) -> model.Purged:
        """Destroy everything of a sandbox before its time. Any other tenant is suspended and exported first (`delete`)."""
        found = _tenant(await ctx.touch(Look(name="show_tenant", values={"id": wanted.tenant})))
        if found.plan != "sandbox" or not found.expires_us:
            raise InputError("OMG-I005", f"{wanted.tenant} is no sandbox", advice="suspend, export and delete it instead")
        return await _purged(ctx, wanted.tenant)

    # -- API keys of the caller's own tenant

    @method(
        effect="idempotent",
        needs=WRITE,
        roles=ADMINS,
        example={"name": "ci", "secret_sha256": _SOME_DIGEST, "principal": "agent:ci"},
    )
    async def create_key(self, ctx: Context, wanted: model.NewKey) -> model.Key:
        """Make an API key. Whoever makes it draws the secret: `omk_` + the id without `key_` + `_` + the secret is the key."""
        _demand_held(ctx, wanted)
        now_us = await _now_us(ctx)
        standing = await ctx.touch(Standing())
        expires_us = now_us + int(wanted.days * DAY_US)
        values = wanted.model_dump(exclude={"days", "secret_sha256"}) | {
            "id": f"key_{(await ctx.uuid()).replace('-', '')}",
            "created_us": now_us,
            "created_by": ctx.scope.principal,
            "expires_us": min(expires_us, standing["expires_us"] or expires_us),
            "agents": standing["limits"].get("agents", 0),
        }
        row = await ctx.touch(Change(name="create_key", values=values))
        body = {word: row[word] for word in ("principal", "roles", "capabilities", "expires_us")}
        await ctx.touch(PublishKey(key=row["id"], body=body | {"secret_sha256": wanted.secret_sha256}))
        return _key(row, {})

    @method(effect="read", needs=READ, roles=ADMINS, example={})
    async def keys(self, ctx: Context, page: model.KeyPage) -> list[model.Key]:
        """The API keys of this tenant, the newest first, with when each was last used."""
        used = await ctx.touch(KeysUsed())
        return [_key(row, used) for row in await ctx.touch(Look(name="list_keys", values=page.model_dump()))]

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"key": _SOME_KEY})
    async def revoke_key(self, ctx: Context, wanted: model.ThisKey) -> model.Key:
        """Refuse an API key, and every passport that was given for it, within a second and for good."""
        row = await ctx.touch(Change(name="revoke_key", values={"id": wanted.key, "at_us": await _now_us(ctx)}))
        await ctx.touch(WithdrawKey(key=wanted.key))
        return _key(row, {})

    # -- members

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"principal": "person:ada", "role": "admin"})
    async def put_member(self, ctx: Context, wanted: model.Member) -> model.Member:
        """Make somebody a member of this tenant, or give them another role."""
        _demand_role(ctx, [wanted.role])
        await ctx.touch(Change(name="put_member", values=wanted.model_dump()))
        return wanted

    @method(effect="read", needs=READ, example={})
    async def members(self, ctx: Context, wanted: model.Everything) -> list[model.Member]:
        """The members of this tenant."""
        return [model.Member.model_validate(row) for row in await ctx.touch(Look(name="list_members"))]

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"principal": "person:ada"})
    async def drop_member(self, ctx: Context, wanted: model.ThisMember) -> None:
        """Remove somebody from this tenant."""
        await ctx.touch(Change(name="drop_member", values=wanted.model_dump()))

    # -- settings and flags

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"name": "greeting", "value": "hello"})
    async def put_setting(self, ctx: Context, wanted: model.Setting) -> model.Setting:
        """Set a setting of this environment."""
        await ctx.touch(Change(name="put_setting", values=wanted.model_dump() | {"kind": "setting"}))
        return wanted

    @method(effect="read", needs=READ, example={})
    async def settings(self, ctx: Context, wanted: model.Everything) -> dict[str, Any]:
        """The settings of this environment by name."""
        return dict(await ctx.touch(Look(name="list_settings", values={"kind": "setting"})))

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"name": "greeting"})
    async def drop_setting(self, ctx: Context, wanted: model.ThisName) -> None:
        """Forget a setting of this environment."""
        await ctx.touch(Change(name="drop_setting", values=wanted.model_dump() | {"kind": "setting"}))

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"name": "new-editor", "percent": 10})
    async def put_flag(self, ctx: Context, wanted: model.Flag) -> model.Flag:
        """Turn a feature on for a share of the principals of this environment."""
        await ctx.touch(Change(name="put_setting", values={"name": wanted.name, "value": wanted.percent, "kind": "flag"}))
        return wanted

    @method(effect="read", needs=READ, example={})
    async def flags(self, ctx: Context, wanted: model.Asked) -> dict[str, bool]:
        """Which features are on for the caller, or for somebody else."""
        found: dict[str, float] = await ctx.touch(Look(name="list_settings", values={"kind": "flag"}))
        who = wanted.principal or ctx.scope.principal
        return {name: is_on(ctx.scope.tenant, name, who, percent) for name, percent in found.items()}

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"name": "new-editor"})
    async def drop_flag(self, ctx: Context, wanted: model.ThisName) -> None:
        """Forget a feature flag."""
        await ctx.touch(Change(name="drop_setting", values=wanted.model_dump() | {"kind": "flag"}))


def is_on(tenant: str, flag: str, principal: str, percent: float) -> bool:
    """Whether a flag is on for somebody: the same answer each time, and whoever is in at 10 % is in at 20 % too."""
    drawn = int.from_bytes(sha256(f"{tenant}/{flag}/{principal}".encode()).digest()[:8], "big")
    return drawn < percent / 100 * (1 << 64)


async def _changed(ctx: Context, tenant: str, when: tuple[str, ...], **columns: Any) -> model.Tenant:
    await ctx.touch(Change(name="change_tenant", values={"id": tenant, "when": list(when), "set": columns}))
    return await _published(ctx, tenant)


async def _purged(ctx: Context, tenant: str, *, export: str = "") -> model.Purged:
    """Destroy first, forget the line last: what a crash left half-way is found by its line and destroyed again."""
    left = await ctx.touch(PurgeTenant(tenant=tenant))
    await ctx.touch(Change(name="drop_tenant", values={"id": tenant}))
    return model.Purged(tenant=tenant, export=export, **left)


async def _published(ctx: Context, tenant: str) -> model.Tenant:
    """Hand a tenant to the gate as its row stands now; gives it."""
    found = _tenant(await ctx.touch(Look(name="show_tenant", values={"id": tenant})))
    body = found.model_dump(include={"plan", "region", "state", "expires_us", "limits"})
    await ctx.touch(PublishTenant(tenant=tenant, body=body))
    return found


def _tenant(row: dict[str, Any]) -> model.Tenant:
    fields = {name: row[name] for name in model.Tenant.model_fields if name in row}
    return model.Tenant.model_validate(fields | {"tenant": row["id"], "limits": plan_of(row["plan"]).limits()})


def _key(row: dict[str, Any], used: dict[str, int]) -> model.Key:
    fields = {name: row[name] for name in model.Key.model_fields if name in row}
    return model.Key.model_validate(fields | {"key": row["id"], "used_us": used.get(row["id"], 0)})


def _demand_held(ctx: Context, wanted: model.NewKey) -> None:
    """A key does at most what its maker may, and is made by somebody acting themself; one for another person by an owner. Raises Denied
    (OMG-T002)."""
    scope = ctx.scope
    if scope.delegated:
        raise Denied("OMG-T002", "a key is made by somebody acting themself", advice="make it with a passport of your own")
    owner = scope.principal.startswith("person:") and "owner" in scope.groups
    if wanted.principal.startswith("person:") and wanted.principal != scope.principal and not owner:
        raise Denied("OMG-T002", "a key for another person is made by an owner", advice="have a person of role owner make it")
    missing = sorted(ctx.scope.missing(wanted.capabilities))
    if missing:
        raise Denied("OMG-T002", f"a key was to get {', '.join(missing)}, which its maker does not hold", details={"missing": missing})
    _demand_role(ctx, list(wanted.roles))


def _demand_role(ctx: Context, roles: list[str]) -> None:
    """Roles are handed on by whoever has them; an owner has them all. `operator` means nothing outside the installation's own tenant."""
    if "operator" in roles and ctx.scope.tenant != INSTALLATION:
        raise InputError("OMG-I001", "an operator works in the tenant of the installation", advice="give them the role admin or owner")
    missing = sorted(set(roles) - ctx.scope.groups) if "owner" not in ctx.scope.groups else []
    if missing:
        raise Denied("OMG-T002", f"the role {missing[0]} was to be given by somebody who does not have it", details={"missing": missing})


async def _now_us(ctx: Context) -> int:
    return int(await ctx.now() * SECOND_US)
