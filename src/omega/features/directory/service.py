"""The verbs of the directory. All are about the caller's own tenant, and no input of theirs names one.

Roles are handed on by whoever has them, an owner has them all; and nobody changes a user or a group that has a role which they have not: an
admin neither makes an owner nor takes over the account of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from omega.features.directory import model
from omega.features.directory.requests import Change, IsFree, IsNew, Look, PublishUsers, WithdrawUser
from omega.kernel.context import Context
from omega.kernel.errors import Denied, InputError
from omega.kernel.service import INSTALLATION, OPERATOR, method

READ, WRITE = ("directory:use", "directory:read"), ("directory:use", "users:use", "directory:write")
"""What reading and changing takes: the ports, and the right itself."""

ADMINS = (OPERATOR, "owner", "admin")
"""Who may manage a tenant's users and groups."""

PUBLISHED_AT_ONCE = 1_000
"""Most users that one step hands to the gate."""

_SOME_USER = "usr_" + "0" * 32
_SOME_GROUP = "grp_" + "0" * 32
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,119}")


class Directory:
    """Users, groups and membership of the caller's own tenant."""

    # -- users

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"user_name": "ada@example.com", "display_name": "Ada"})
    async def create_user(self, ctx: Context, wanted: model.About) -> model.User:
        """Make a user. Who they are to the gate follows from their name, or from their id where another user is or was that already; it
        stays when the name changes. Whom there are keys, secrets or second factors of here already, an owner alone makes a user: their
        keys do from then on what the user may."""
        _demand_roles(ctx, wanted.roles)
        own, now_us = (await ctx.uuid()).replace("-", ""), await _now_us(ctx)
        principal = await new_principal(ctx, wanted.user_name, own)
        await _demand_free(ctx, principal)
        values = wanted.model_dump() | {
            "id": f"usr_{own}",
            "root": f"usr_{own}",
            "principal": principal,
            "created_us": now_us,
            "changed_us": now_us,
        }
        made = await ctx.touch(Change(name="create_user", values=values))
        await _published(ctx, [made["id"]])
        return await _user(ctx, made["id"])

    @method(effect="read", needs=READ, roles=ADMINS, example={})
    async def users(self, ctx: Context, page: model.Page) -> model.UserList:
        """The users of this tenant by name, as far as a filter means them."""
        model.demand_small(page.filter)
        found = await ctx.touch(Look(name="list_users", values=page.model_dump()))
        return model.UserList(total=found["total"], users=[_read_user(row) for row in found["rows"]])

    @method(effect="read", needs=READ, roles=ADMINS, example={"user": _SOME_USER})
    async def user(self, ctx: Context, wanted: model.ThisUser) -> model.User:
        """One user, with the groups they are in."""
        return await _user(ctx, wanted.user)

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"user": _SOME_USER, "about": {"user_name": "ada@example.com"}})
    async def change_user(self, ctx: Context, wanted: model.UserChange) -> model.User:
        """Set what is said about a user. One who is made inactive is refused within a second: passports, sessions and keys of theirs."""
        weighed = await _demand_over(ctx, wanted.user)
        _demand_roles(ctx, wanted.about.roles)
        values = wanted.about.model_dump() | {
            "id": wanted.user,
            "version": wanted.version,
            "weighed": weighed,
            "root": f"usr_{(await ctx.uuid()).replace('-', '')}",
            "changed_us": await _now_us(ctx),
        }
        changed = await ctx.touch(Change(name="change_user", values=values))
        await _published(ctx, [wanted.user], changed["ended"])
        return await _user(ctx, wanted.user)

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"user": _SOME_USER})
    async def suspend_user(self, ctx: Context, wanted: model.ThisUser) -> model.User:
        """Refuse a user within a second, at the door and at the next touch of what runs. They stay where they are in every group."""
        return await self._switched(ctx, wanted.user, active=False)

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"user": _SOME_USER})
    async def resume_user(self, ctx: Context, wanted: model.ThisUser) -> model.User:
        """Let a suspended user in again. What they held before counts no more: they sign in anew."""
        return await self._switched(ctx, wanted.user, active=True)

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"user": _SOME_USER})
    async def delete_user(self, ctx: Context, wanted: model.UserDeletion) -> model.Deleted:
        """Remove a user. What was given to them is refused within a second; API keys that act as them, their secrets for tool servers and
        their second factors end. Whoever is called so later is somebody else to the gate, and has nothing of what was theirs."""
        weighed = await _demand_over(ctx, wanted.user)
        values = {"id": wanted.user, "version": wanted.version, "weighed": weighed, "changed_us": await _now_us(ctx)}
        gone = await ctx.touch(Change(name="drop_user", values=values))
        await ctx.touch(WithdrawUser(user=gone["id"], principal=gone["principal"], root=gone["root"]))
        return model.Deleted(id=wanted.user)

    async def _switched(self, ctx: Context, user: str, *, active: bool) -> model.User:
        found = await _user(ctx, user)
        about = model.About.model_validate(found.model_dump(include=set(model.About.model_fields)) | {"active": active})
        return await self.change_user(ctx, model.UserChange(user=user, about=about, version=found.version))

    # -- groups

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"display_name": "Engineering", "roles": ["member"]})
    async def create_group(self, ctx: Context, wanted: model.NewGroup) -> model.Group:
        """Make a group. Its members get its roles and capabilities; policies see it as `group:NAME`."""
        _demand_roles(ctx, wanted.roles)
        _demand_held(ctx, wanted.capabilities)
        now_us = await _now_us(ctx)
        made = f"grp_{(await ctx.uuid()).replace('-', '')}"
        values = wanted.model_dump() | {"id": made, "created_us": now_us, "changed_us": now_us}
        changed = await ctx.touch(Change(name="create_group", values=values))
        await _published(ctx, changed["users"])
        return await _group(ctx, made)

    @method(effect="read", needs=READ, roles=ADMINS, example={})
    async def groups(self, ctx: Context, page: model.Page) -> model.GroupList:
        """The groups of this tenant by name, with their members, as far as a filter means them."""
        model.demand_small(page.filter)
        found = await ctx.touch(Look(name="list_groups", values=page.model_dump()))
        return model.GroupList(total=found["total"], groups=[_read_group(row) for row in found["rows"]])

    @method(effect="read", needs=READ, roles=ADMINS, example={"group": _SOME_GROUP})
    async def group(self, ctx: Context, wanted: model.ThisGroup) -> model.Group:
        """One group, with its members."""
        return await _group(ctx, wanted.group)

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"group": _SOME_GROUP, "add": [_SOME_USER]})
    async def change_group(self, ctx: Context, wanted: model.GroupChange) -> model.Group:
        """Change what is said about a group, and who is in it. Who is taken out loses what it gave at their next call."""
        found = await _group(ctx, wanted.group)
        _demand_roles(ctx, found.roles)
        if wanted.about is not None:
            _demand_roles(ctx, wanted.about.roles)
        weighed = {"roles": found.roles}
        if wanted.add or wanted.about is not None:
            _demand_held(ctx, [*found.capabilities, *(wanted.about.capabilities if wanted.about is not None else ())])
            weighed |= {"capabilities": found.capabilities}
        values = wanted.model_dump(exclude={"group"}) | {"id": wanted.group, "weighed": weighed, "changed_us": await _now_us(ctx)}
        changed = await ctx.touch(Change(name="change_group", values=values))
        await _published(ctx, changed["users"])
        return await _group(ctx, wanted.group)

    @method(effect="idempotent", needs=WRITE, roles=ADMINS, example={"group": _SOME_GROUP})
    async def delete_group(self, ctx: Context, wanted: model.GroupDeletion) -> model.Deleted:
        """Remove a group. Who was in it loses what it gave at their next call."""
        found = await _group(ctx, wanted.group)
        _demand_roles(ctx, found.roles)
        values = {"id": wanted.group, "version": wanted.version, "weighed": {"roles": found.roles}}
        gone = await ctx.touch(Change(name="drop_group", values=values))
        await _published(ctx, gone["users"])
        return model.Deleted(id=wanted.group)


def principal_of(user_name: str, own: str) -> str:
    """Who a user is to the gate: their name where it can be one, else their id. Names that differ in case alone are one and the same."""
    plain = user_name.casefold()
    return f"person:{plain}" if _PRINCIPAL.fullmatch(plain) and not plain.startswith("usr_") else f"{model.OWN}{own}"


async def new_principal(ctx: Context, user_name: str, own: str) -> str:
    """Who a user who is made now is to the gate: as `principal_of` says, or their id where another user is or was that."""
    wanted = principal_of(user_name, own)
    return wanted if wanted.startswith(model.OWN) or await ctx.touch(IsNew(principal=wanted)) else f"{model.OWN}{own}"


async def _user(ctx: Context, user: str) -> model.User:
    return _read_user(await ctx.touch(Look(name="show_user", values={"id": user})))


async def _group(ctx: Context, group: str) -> model.Group:
    return _read_group(await ctx.touch(Look(name="show_group", values={"id": group})))


def _read_user(row: dict[str, Any]) -> model.User:
    return model.User.model_validate({name: row[name] for name in model.User.model_fields if name in row} | {"user": row["id"]})


def _read_group(row: dict[str, Any]) -> model.Group:
    return model.Group.model_validate({name: row[name] for name in model.Group.model_fields if name in row} | {"group": row["id"]})


async def _published(ctx: Context, users: Sequence[str], ended: Sequence[str] = ()) -> None:
    """Hand users to the gate as they stand now."""
    for start in range(0, len(users), PUBLISHED_AT_ONCE):
        ids = list(users[start : start + PUBLISHED_AT_ONCE])
        found = await ctx.touch(Look(name="standing_users", values={"ids": ids}))
        await ctx.touch(PublishUsers(users=found, ended=list(ended), over="owner" in ctx.scope.groups))


async def _demand_free(ctx: Context, principal: str) -> None:
    """Raise InputError (OMG-I001) for somebody of whom there are keys, secrets or second factors here, unless an owner asks."""
    if "owner" not in ctx.scope.groups and not await ctx.touch(IsFree(principal=principal)):
        cause = f"{principal[:120]} has keys, secrets or second factors here already"
        raise InputError("OMG-I001", cause, advice="an owner makes a user of them", details={"conflict": "user_name"})


async def _demand_over(ctx: Context, user: str) -> list[str]:
    """The roles of a user, by themself or by a group. Raises Denied (OMG-T002) where the caller has not all of them."""
    found = await ctx.touch(Look(name="standing_users", values={"ids": [user]}))
    roles: list[str] = found[0]["roles"] if found else []
    _demand_roles(ctx, roles)
    return roles


def _demand_roles(ctx: Context, roles: Iterable[str]) -> None:
    """Raise Denied (OMG-T002) for a role that the caller has not; InputError (OMG-I001) for operators of a hosted tenant."""
    wanted = set(roles)
    if "operator" in wanted and ctx.scope.tenant != INSTALLATION:
        raise InputError("OMG-I001", "an operator works in the tenant of the installation", advice="give them the role admin or owner")
    missing = sorted(wanted - ctx.scope.groups) if "owner" not in ctx.scope.groups else []
    if missing:
        cause = f"the role {missing[0]} is managed by those who have it"
        raise Denied("OMG-T002", cause, details={"missing": missing})


def _demand_held(ctx: Context, capabilities: Iterable[str]) -> None:
    """Raise Denied (OMG-T002) for a capability that the caller does not hold."""
    missing = sorted(ctx.scope.missing(capabilities))
    if missing:
        cause = f"a group was to give {', '.join(missing)}, which whoever asks does not hold"
        raise Denied("OMG-T002", cause, details={"missing": missing})


async def _now_us(ctx: Context) -> int:
    return int(await ctx.now() * 1_000_000)
