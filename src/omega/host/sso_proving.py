"""Signing on, down the one road: what a provider says is proved by one touch, and what it comes to in the directory by those that follow.

    prove      exchange the code, or read the assertion; gives who it is, or refuses
    arrive     the user who signs in with that account; else one of that name, or a new one, where the connection says so; in those of the
               groups that the connection maps that the provider has them in now
    publish    the gate knows the user as they stand

The code, the verifier and the assertion itself are in no record: they are handed to the touch beside the road (`PROOF`), in the process
that the browser came to. An attempt is one execution whose id follows from the attempt, so it is carried out once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar, Final

from omega.adapters.net.reach import networks
from omega.adapters.oidc import Provider, Relying
from omega.features.directory.model import OWN
from omega.features.directory.requests import SUSPENDED, TAKEN, Change, IsFree, Look, PublishUsers
from omega.features.directory.service import new_principal
from omega.host.arrangements import Shelf
from omega.host.sso import CLAIMS, OIDC, Connection, connection_of
from omega.kernel.context import Context
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.flow import flow
from omega.kernel.verdict import Permit
from omega.trust.sealing import Keyring

SEEN: Final = "sso-seen"
"""The kind of the documents that name assertions which were used, until they count no more."""

MAX_SEEN: Final = 10_000
"""Most assertions that are remembered for one tenant; past it nobody signs in until some are over."""

MAX_TEXT: Final = 200
MAX_GROUPS: Final = 500
NEEDS: Final = ("sign-on:use", "directory:use", "users:use")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the browser brought: for OpenID a code, with the verifier and nonce of the attempt and the address it came back to; for SAML a
    response, with the id of the request and this side's entity and address."""

    code: str = field(default="", repr=False)
    verifier: str = field(default="", repr=False)
    nonce: str = field(default="", repr=False)
    back: str = ""
    response: str = field(default="", repr=False)
    request: str = ""
    entity: str = ""


PROOF: ContextVar[Shown | None] = ContextVar("omega-sign-on", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prove(Request):
    """Have the provider of a connection of the caller's own tenant say who it is. Gives `subject`, `user_name`, `display_name`, `email`,
    `groups` (of the directory, those that they are in), `mapped` (all that the connection maps), `create`, `link`, `role`."""

    port: ClassVar[str] = "sign-on"
    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Request):
    """Have the provider of a connection say where browsers are sent: gives `authorization`, `names_itself`."""

    port: ClassVar[str] = "sign-on"
    connection: str


class SignOnEffector:
    """Serves `Prove` and `Ask`. Providers are kept by connection for as long as it stays what it is."""

    port = Prove.port

    def __init__(self, shelf: Shelf, keyring: Keyring, environ: Mapping[str, str], now_us: Callable[[], int]) -> None:
        self._shelf, self._keyring, self._environ, self._now_us = shelf, keyring, environ, now_us
        self._providers: dict[str, tuple[Connection, Provider]] = {}

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what the request says it gives. Raises Denied (OMG-T001, OMG-P011), InputError (OMG-I001, OMG-I003), UpstreamError."""
        permit.spend(self.port)
        if not isinstance(request, (Prove, Ask)):
            raise InputError("OMG-I001", f"who somebody is, is proved; there is no {type(request).__name__}")
        connection = connection_of(self._shelf, self._keyring, request.connection)
        if connection.tenant != permit.tenant:
            raise InputError("OMG-I003", "there is no such way of signing in here")
        if isinstance(request, Ask):
            found = await (await self._provider(connection)).metadata()
            return {"authorization": found.authorization, "names_itself": found.names_itself}, Receipt()
        shown = PROOF.get()
        if shown is None:
            raise Denied("OMG-T001", "nothing was shown by which somebody could be known", advice="sign in with a browser")
        if connection.kind == OIDC:
            claims = await self._identified(connection, shown)
            return _identity(connection, claims, verified=claims.get("email_verified") in (True, "true")), Receipt()
        return _identity(connection, self._asserted(connection, shown), verified=True), Receipt()

    async def aclose(self) -> None:
        """Close every connection."""
        while self._providers:
            _, (_, provider) = self._providers.popitem()
            await provider.close()

    async def _identified(self, connection: Connection, shown: Shown) -> dict[str, Any]:
        secret = self._environ.get(connection.secret, "") if connection.secret else ""
        if connection.secret and not secret:
            raise InputError("OMG-X001", f"the variable {connection.secret} holds no secret", advice="set it where omega up runs")
        relying = Relying(client_id=connection.client_id, secret=secret, back=shown.back)
        provider = await self._provider(connection)
        return await provider.identify(relying, shown.code, shown.verifier, shown.nonce, self._now_us() / 1_000_000)

    async def _provider(self, connection: Connection) -> Provider:
        kept = self._providers.get(connection.name)
        if kept is None or kept[0] != connection:
            if kept is not None:
                await kept[1].close()
            kept = self._providers[connection.name] = (connection, Provider(connection.issuer, networks(connection.allow)))
        return kept[1]

    def _asserted(self, connection: Connection, shown: Shown) -> dict[str, Any]:
        from omega.adapters.saml import Awaited, said_by

        awaited = Awaited(
            issuer=connection.issuer,
            certificates=connection.certificates,
            audience=shown.entity,
            recipient=shown.back,
            request=shown.request,
            now=self._now_us() / 1_000_000,
        )
        said = said_by(shown.response, awaited)
        self._use_up(connection, said.id, said.until)
        first = {name: values[0] for name, values in said.attributes.items() if values}
        groups = said.attributes.get(connection.claims.get("groups", CLAIMS["groups"]), [])
        name = connection.claims.get("user_name", CLAIMS["user_name"])
        return first | {name: first.get(name, said.name), "sub": said.name, connection.claims.get("groups", CLAIMS["groups"]): groups}

    def _use_up(self, connection: Connection, assertion: str, until: float) -> None:
        """Note that an assertion was used, in every process at once. Raises Denied (OMG-T001) for one that was used before."""
        now_us, prefix = self._now_us(), f"{connection.tenant} "
        standing = self._shelf.documents(SEEN, prefix)
        over = [name for name, body in standing if json.loads(body) <= now_us / 1_000_000]
        for name in over:
            self._shelf.drop_document(SEEN, name)
        name = f"{prefix}{sha256(json.dumps([connection.issuer, assertion]).encode()).hexdigest()[:40]}"
        full = len(standing) - len(over) >= MAX_SEEN
        if full or not self._shelf.swap_document(SEEN, name, None, json.dumps(until).encode(), now_us):
            raise Denied("OMG-T001", "the provider's response was used before", advice="sign in again")


def _identity(connection: Connection, claims: Mapping[str, Any], *, verified: bool) -> dict[str, Any]:
    """Who a provider says it is, as the directory takes it. Raises Denied (OMG-T001) for an address of a domain that does not count."""
    named = {word: connection.claims.get(word, usual) for word, usual in CLAIMS.items()}
    texts = {word: _text(claims.get(named[word])) for word in ("user_name", "email", "name")}
    email = texts["email"] if verified and texts["email"].count("@") == 1 else ""
    domain = email.rpartition("@")[2].casefold()
    if connection.domains and domain not in {each.casefold() for each in connection.domains}:
        raise Denied(
            "OMG-T001", "the account has no verified address of a domain that counts here", advice="ask an admin of your organisation"
        )
    given = claims.get(named["groups"])
    held = [str(each) for each in given][:MAX_GROUPS] if isinstance(given, list) else [given] if isinstance(given, str) else []
    return {
        "subject": sha256(json.dumps([connection.issuer, str(claims["sub"])]).encode()).hexdigest(),
        "user_name": _name_of(connection, texts["user_name"], email),
        "display_name": texts["name"],
        "email": email,
        "groups": sorted({connection.groups[each] for each in held if each in connection.groups}),
        "mapped": sorted(set(connection.groups.values())),
        "create": connection.create,
        "link": connection.link,
        "role": connection.role,
    }


def _name_of(connection: Connection, given: str, email: str) -> str:
    """Which name of what a provider says names a user; empty where none can be relied on. People may write their `preferred_username`
    themselves (OpenID Connect Core 1.0, 5.1), so it counts where it is their verified address, else the address does. A claim that the
    connection names is relied on, unless it is the address, which has to be verified."""
    chosen = connection.claims.get("user_name", "")
    relied = connection.kind != OIDC or chosen not in ("", connection.claims.get("email", CLAIMS["email"]))
    verified = bool(given) and given.casefold() == email.casefold()
    if verified or (given and relied and not (connection.domains and "@" in given)):
        return given
    return email


def _text(value: Any) -> str:
    return value.strip()[:MAX_TEXT] if isinstance(value, str) and value.isprintable() else ""


@flow(name="sign-on.ask", effect="read", needs=("sign-on:use",))
async def ask(ctx: Context, wanted: dict[str, str]) -> dict[str, Any]:
    """Where browsers are sent by a connection."""
    found: dict[str, Any] = await ctx.touch(Ask(connection=wanted["connection"]))
    return found


@flow(name="sign-on", effect="idempotent", needs=NEEDS)
async def sign_on(ctx: Context, wanted: dict[str, str]) -> dict[str, str]:
    """Sign somebody on by a connection; gives their `principal` and `user`. Raises Denied (OMG-T001) for who is not let in."""
    who = await ctx.touch(Prove(connection=wanted["connection"]))
    values = await _arriving(ctx, who)
    known = await ctx.touch(Look(name="knows", values={"subject": who["subject"]}))
    user, free = values["user"], False
    if values["create"] and not known:
        user["principal"] = await new_principal(ctx, user["user_name"], user["id"].removeprefix("usr_"))
        free = await ctx.touch(IsFree(principal=user["principal"]))
    found = await ctx.touch(Change(name="arrive", values={**values, "free": free}))
    if found["why"]:
        causes = {SUSPENDED: "the user is not let in", TAKEN: "somebody who is no user of this tenant has this name here"}
        cause = causes.get(found["why"], "nobody of this tenant signs in with this account")
        raise Denied("OMG-T001", cause, advice="ask an admin of your organisation")
    standing = await ctx.touch(Look(name="standing_users", values={"ids": [found["id"]]}))
    await ctx.touch(PublishUsers(users=standing))
    return {"user": str(found["id"]), "principal": str(standing[0]["principal"])}


async def _arriving(ctx: Context, who: Mapping[str, Any]) -> dict[str, Any]:
    """Somebody as the directory takes them: who they are when they have to be made, and what is done where they are not known."""
    own, now_us, name = (await ctx.uuid()).replace("-", ""), int(await ctx.now() * 1_000_000), str(who["user_name"])
    user = {
        "id": f"usr_{own}",
        "root": f"usr_{own}",
        "principal": f"{OWN}{own}",
        "created_us": now_us,
        "changed_us": now_us,
        "user_name": name,
        "display_name": who["display_name"],
        "given_name": "",
        "family_name": "",
        "external_id": "",
        "emails": [{"value": who["email"], "type": "work", "primary": True}] if who["email"] else [],
        "active": True,
        "roles": [who["role"]] if who["role"] else [],
    }
    named = bool(name) and not any(each.isspace() for each in name)
    return {
        "subject": who["subject"],
        "user": user,
        "create": who["create"] and named,
        "link": who["link"] and named,
        "mapped": who["mapped"],
        "groups": who["groups"],
    }
