"""What the gate's side knows of users: one small sealed document for each, read when they call.

    user     by tenant and principal: the root of their passports' ids, whether they are let in, roles, groups, capabilities

Every passport that is given for a user has an id with their root in it: `ten_1/usr_2/pas_3`, for an API key that acts as them
`ten_1/usr_2/key_4/pas_5`. To suspend somebody is to revoke their root: passports, sessions and keys are refused within a second, on every
engine, and what runs for them at its next touch. A passport tells the groups of the moment it was given; where a user has lost one of them
since, the passport is refused at the door, and whoever holds it gets a new one. Of two standings of a user the later one counts, whichever
comes last: each has the version of the user that it was read with. Documents are sealed, because they carry authority: whoever
can write to the records can make no user.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from omega.features.directory.model import GROUP
from omega.features.directory.requests import IsFree, IsNew, PublishUsers, WithdrawUser
from omega.host.arrangements import Documents, Shelf
from omega.host.former import Former
from omega.host.holdings import Holdings
from omega.host.revocations import demand_room, is_revoked, revoke
from omega.host.tenants import Bearer
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.kernel.scope import ANY, Scope, common
from omega.kernel.service import INSTALLATION
from omega.kernel.verdict import Permit
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring

USER: Final = "user"
"""The kind of the documents."""

ROOT: Final = "usr_"
"""How the root of a user's passports begins."""

ROLE_CAPABILITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "owner": (ANY,),
    "admin": (ANY,),
    "operator": (ANY,),
    "member": ("flows:run", "records:read"),
    "viewer": ("records:read",),
}
"""What each role may ask for at all; policies say what of it is allowed. Groups may add to it."""

MAX_RACES: Final = 8
"""How often a standing is looked at anew because another engine has just changed it."""

MAX_KEPT: Final = 4_096
"""Most opened documents kept at hand; past it all are forgotten and opened anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a user stands: `groups` are names of the directory, without the word before them that policies see."""

    tenant: str
    principal: str
    user: str
    root: str
    active: bool
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    capabilities: tuple[str, ...]
    version: int = 0

    @property
    def seen(self) -> frozenset[str]:
        """The groups that policies see: roles, and groups of the directory as `group:NAME`."""
        return frozenset((*self.roles, *(f"{GROUP}{name}" for name in self.groups)))

    @property
    def rights(self) -> tuple[str, ...]:
        """The capabilities of all roles and groups."""
        found = {each for role in self.roles for each in ROLE_CAPABILITIES.get(role, ())} | set(self.capabilities)
        return (ANY,) if ANY in found else tuple(sorted(found))


class Users:
    """Looks users up. Opened documents are kept at hand, by what they were opened from."""

    def __init__(self, documents: Documents, keyring: Keyring) -> None:
        self._documents, self._keyring = documents, keyring
        self._kept: dict[str, tuple[bytes, Standing]] = {}

    def mark(self, tenant: str, principal: str) -> bytes:
        """What changes whenever a user does; nothing for who is none."""
        return self._documents.document(USER, document_name(tenant, principal)) or b""

    def standing(self, tenant: str, principal: str) -> Standing | None:
        """How a user stands; None for who is none. Raises IntegrityError (OMG-T004) for a document that was not sealed here."""
        name = document_name(tenant, principal)
        body = self._documents.document(USER, name)
        if body is None:
            return None
        kept = self._kept.get(name)
        if kept is None or kept[0] != body:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            kept = self._kept[name] = (body, opened(name, body, self._keyring))
        return kept[1]

    def bearer(self, tenant: str, principal: str, region: str) -> Bearer:
        """Whoever a passport of that user is made for, as they stand now. Raises Denied (OMG-T001) for who is none, or not let in."""
        found = self.standing(tenant, principal)
        if found is None or not found.active:
            raise Denied("OMG-T001", "the user is not let in", advice="ask an admin of the tenant")
        return Bearer(
            tenant=tenant,
            principal=principal,
            roles=tuple(sorted(found.seen)),
            capabilities=found.rights,
            region=region,
            root=found.root,
        )

    def limited(self, bearer: Bearer) -> Bearer:
        """An API key's bearer as the user stands whom it acts as: of the key's roles and capabilities those that they have, and all of
        their groups; as it is for who is no user. Raises Denied (OMG-T001) for a user who is not let in."""
        found = self.standing(bearer.tenant, bearer.principal)
        if found is None:
            return bearer
        if not found.active:
            raise Denied("OMG-T001", "the user is not let in", advice="ask an admin of the tenant")
        roles = sorted((set(bearer.roles) & set(found.roles)) | (found.seen - set(found.roles)))
        return Bearer(
            tenant=bearer.tenant,
            principal=bearer.principal,
            roles=tuple(roles),
            capabilities=tuple(sorted(common(bearer.capabilities, found.rights))),
            region=bearer.region,
            root=f"{found.root}/{bearer.root}",
        )

    def demand_current(self, scope: Scope) -> None:
        """Raise Denied (OMG-T001) for a passport of a user who is not let in, or who has lost a group since it was given. One that was
        given for nobody of the directory is none of this place's business, and costs nothing here."""
        roots = [part for part in scope.passport.split("/") if part.startswith(ROOT)]
        if not roots:
            return
        found = self.standing(scope.tenant, scope.principal)
        if found is None or not found.active or roots != [found.root] or not scope.groups <= found.seen:
            raise Denied("OMG-T001", "the passport is of an earlier standing of its user", advice="sign in again, or get a new passport")


class UsersEffector:
    """Serves the directory's requests to the host. Whose user it is comes from the permit. `person` is the person of the installation, who
    is nobody's user."""

    port = PublishUsers.port

    def __init__(self, shelf: Shelf, keyring: Keyring, authority: Authority, now_us: Callable[[], int], person: str) -> None:
        self._shelf, self._keyring, self._authority, self._now_us = shelf, keyring, authority, now_us
        self._person = f"person:{person}"
        self._holdings = Holdings(shelf, keyring, now_us)
        self._former = Former(shelf, keyring, now_us)

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives whether a principal is free, or new; else nothing. Raises InputError (OMG-I001), IntegrityError (OMG-T004)."""
        permit.spend(self.port)
        match request:
            case IsFree():
                self._demand_no_person(permit.tenant, request.principal)
                return not self._holdings.any((permit.tenant, request.principal)), Receipt()
            case IsNew():
                return self._new(permit.tenant, request.principal), Receipt()
            case PublishUsers():
                for root in request.ended:
                    self._revoke(permit.tenant, root)
                refused = [each for each in request.users if not self._published(permit.tenant, each, over=request.over)]
                if refused:
                    cause = f"{str(refused[0]['principal'])[:120]} has got keys, secrets or second factors meanwhile, or was another user"
                    advice = "delete this user; an owner makes them anew"
                    raise InputError("OMG-I001", cause, advice=advice, details={"conflict": "user_name"})
            case WithdrawUser():
                self._withdraw(permit.tenant, request)
            case _:
                raise InputError("OMG-I001", f"users are published and withdrawn, there is no {type(request).__name__}")
        return None, Receipt()

    def _new(self, tenant: str, principal: str) -> bool:
        """Whether no user is or was `principal`, and a new one may be. Whoever is gone from the tables alone still has a document."""
        known = self._shelf.document(USER, document_name(tenant, principal)) is not None or self._former.knows(tenant, principal)
        return not known and not self._former.full(tenant)

    def _published(self, tenant: str, user: Mapping[str, Any], *, over: bool) -> bool:
        """Keep a user as they stand, unless a later standing of theirs is kept or they are gone; False where the principal is somebody
        who is no user, and is not to become one."""
        principal, root = str(user["principal"]), str(user["root"])
        self._demand_no_person(tenant, principal)
        name = document_name(tenant, principal)
        for _ in range(MAX_RACES):
            was = self._shelf.document(USER, name)
            kept = opened(name, was, self._keyring) if was is not None else None
            if kept is not None and kept.user == user["user"]:
                later = user["version"] > kept.version
            else:  # the root of somebody who was deleted is refused: what still comes of them is of before
                later = not is_revoked(self._shelf, self._authority, root)
                if later and (self._former.knows(tenant, principal) or (not over and self._holdings.any((tenant, principal)))):
                    return False
            if later and user["active"] and (kept is None or kept.root != root):
                demand_room(self._authority, tenant)  # every root that counts is one that may have to be revoked
            body = sealed(name, {**user, "tenant": tenant}, self._keyring) if later else b""
            if not later or self._shelf.swap_document(USER, name, was, body, self._now_us()):
                break
        else:
            raise InputError("OMG-I005", f"the standing of {principal[:120]} is changed all the time", advice="ask again")
        if not user["active"]:
            self._revoke(tenant, root)
        return True

    def _withdraw(self, tenant: str, request: WithdrawUser) -> None:
        """Refuse first, then forget, the document last: a step that is repeated finds what is left to do. What is there of a principal of
        whom the gate knows another user, or none, is not this one's."""
        self._revoke(tenant, request.root)
        person, name = (tenant, request.principal), document_name(tenant, request.principal)
        body = self._shelf.document(USER, name)
        if body is None or opened(name, body, self._keyring).user != request.user:
            return
        for key in self._holdings.keys(person):
            self._revoke(tenant, key)
        self._holdings.drop(person)
        self._former.keep(tenant, request.principal)
        self._shelf.drop_document(USER, name)

    def _demand_no_person(self, tenant: str, principal: str) -> None:
        if tenant == INSTALLATION and principal == self._person:
            raise InputError("OMG-I001", f"{principal[:120]} is the person of this installation, and no user of it")

    def _revoke(self, tenant: str, root: str) -> None:
        if not root.startswith((ROOT, "key_")):
            raise InputError("OMG-I001", "what ends with a user is their root, and keys that act as them")
        revoke(self._shelf, self._authority, root, self._now_us(), account=tenant)


def document_name(tenant: str, principal: str) -> str:
    """The name of a user's document: found without a list, and by the tenant when all of its are to go."""
    return f"{tenant} {sha256(principal.encode()).hexdigest()[:40]}"


def sealed(name: str, user: Mapping[str, Any], keyring: Keyring) -> bytes:
    """A user as the body of their document."""
    context = _context(name)
    wrapped, sealer = keyring.create(context)
    return b".".join(base64.b64encode(part) for part in (wrapped, sealer.seal(json.dumps(dict(user)).encode(), context.encode())))


def opened(name: str, body: bytes, keyring: Keyring) -> Standing:
    """A user from their document. Raises IntegrityError (OMG-T004) for one that was not sealed here under that name."""
    context = _context(name)
    try:
        wrapped, text = (base64.b64decode(part, validate=True) for part in body.split(b"."))
    except (binascii.Error, ValueError) as error:
        raise IntegrityError("OMG-T004", "the document of a user has no known form") from error
    found = json.loads(keyring.open(context, wrapped).open(text, context.encode()))
    texts = {word: str(found[word]) for word in ("tenant", "principal", "user", "root")}
    lists = {word: tuple(map(str, found[word])) for word in ("roles", "groups", "capabilities")}
    fields: dict[str, Any] = {**texts, **lists, "active": bool(found["active"]), "version": int(found.get("version", 0))}
    return Standing(**fields)


def of_tenant(documents: Documents, tenant: str) -> list[tuple[str, str]]:
    """Kind and name of every document of a tenant's users."""
    return [(USER, name) for name, _ in documents.documents(USER, f"{tenant} ")]


def _context(name: str) -> str:
    return f"user/{name}"
