"""The authorization server of an installation: a person who signed in allows a client to act for them, and the client gets passports.

    asked      who asks (`omega.host.clients`), where they are answered, with which challenge, for what, at which resource
    consent    what the person is shown: no more than they hold themselves, never everything
    agree      the grant, on record before there is a code; the code hangs on client, address, challenge and issuer
    redeem     a code, or a refresh token, for a passport of `KEY_TTL_S` seconds and the next refresh token

A passport given here says all of it: the person is its principal, the client its actor, its rights are what was allowed and is still held,
its id leads through the grant and names the resource (`omega.host.bound`). Whoever shows a code or a refresh token that was used before
has a copy of something: the grant ends, on record.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final, Protocol
from urllib.parse import unquote_plus

from omega.gateway.front.authorizing import refusal
from omega.gateway.front.core import Visitor
from omega.gateway.front.desk import Asking, Consent, Desk
from omega.host.acting import Opened, run_open
from omega.host.bound import resource_part
from omega.host.clients import MAX_CLIENTS_OF_PERSON, Clients
from omega.host.closed import redeemed, ticket
from omega.host.exchange import KEY_TTL_S, Exchange
from omega.host.grants import (
    GRANT_S,
    MAX_PER_PERSON,
    REFRESH,
    Grant,
    Grants,
    allow_client,
    generation_of,
    new_grant_id,
    refresh_token,
    refuse_client,
    withdraw_client,
)
from omega.host.guessing import subscriber_of
from omega.host.identity import AGENT_CAPABILITIES
from omega.host.revocations import person_account
from omega.host.tenants import Bearer, above
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Clock, Entropy
from omega.kernel.scope import ANY
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring
from omega.wire.oauth import Client, answered, check_redirect, is_challenge, resource_name, same_redirect, scopes_of, unfit, verifies

TICKET_S: Final = 600
"""How long (seconds) the page may be thought about."""

MAX_STATE: Final = 2_000
MAX_SCOPES: Final = 64
OFFLINE: Final = "offline_access"
"""The scope by which OpenID Connect asks for refresh tokens, which are given without it too."""

ENTRANCES: Final = ("mcp", "api", "v1", "a2a", "rpc")
"""What may be asked for, besides virtual servers of MCP and the whole installation."""

MEANINGS: Final = {
    "files:read": "read files that flows may read",
    "flows:run": "run flows and methods of services",
    "model:ask": "ask models",
    "process:run": "run programs that flows may run",
    "tools:call": "call tools of accepted servers",
}
"""What the usual rights are in words."""

_CONTEXT: Final = "authorization ticket"


class World(Protocol):
    """What surrounds an engine, as far as passports are made in it."""

    @property
    def clock(self) -> Clock: ...

    @property
    def entropy(self) -> Entropy: ...

    @property
    def keyring(self) -> Keyring: ...

    @property
    def authority(self) -> Authority: ...


class Authorization:
    """The desk. `omega` is the open engine (its road takes every decision to the record), `exchange` knows who may still act."""

    def __init__(self, omega: Opened, world: World, clients: Clients, grants: Grants, exchange: Exchange) -> None:
        self._omega, self._world, self._exchange = omega, world, exchange
        self._clients, self._grants = clients, grants

    @property
    def registers(self) -> bool:
        """Whether clients may register themselves."""
        return self._clients.registers

    @property
    def scopes(self) -> Sequence[str]:
        """What a client gets that asks for nothing in particular: what agents of this machine have, as far as the person holds it."""
        return AGENT_CAPABILITIES

    def register(self, document: Mapping[str, Any], address: str) -> dict[str, Any]:
        """What a new client is told. Raises InputError (OMG-G012), Denied (OMG-G007)."""
        return self._clients.register(document, address)

    # -- asking

    async def asked(self, given: Mapping[str, str], issuer: str, visitor: Visitor) -> Asking:
        """What a client asks the visitor for. Raises InputError (OMG-G012), Denied (OMG-P011, OMG-G007) while nobody may be sent
        anywhere."""
        client = await self._clients.find(given.get("client_id", ""), *_who(visitor))
        redirect = given.get("redirect_uri", "")
        check_redirect(redirect)
        if not same_redirect(redirect, client.redirects):
            raise unfit("the client has not registered the address at which it wants to be answered", oauth="invalid_redirect_uri")
        state = given.get("state", "")
        if len(state) > MAX_STATE or not state.isprintable():
            raise unfit(f"state is at most {MAX_STATE:,} printable characters", oauth="invalid_request")
        asking = Asking(client=client, redirect=redirect, state=state, issuer=issuer)
        fault, words = _fault(given)
        if fault:
            return replace(asking, fault=fault, words=words)
        try:
            resource = _resource(given.get("resource", ""), issuer)
        except InputError as error:
            return replace(asking, fault="invalid_target", words=error.cause)
        scopes = tuple(each for each in scopes_of(given.get("scope", "")) if each != OFFLINE)
        return replace(asking, challenge=given["code_challenge"], scopes=scopes or tuple(self.scopes), resource=resource)

    def consent(self, asking: Asking, visitor: Visitor) -> Consent:
        """What the person is shown: of what was asked, what they hold. Raises InputError (OMG-G012) where that is nothing."""
        scope = visitor.scope
        rights = tuple(each for each in asking.scopes if each != ANY and scope.has(each))
        if not rights:
            raise unfit("you hold none of the rights that the client asks for", oauth="invalid_scope")
        now = self._now()
        value = {
            "tenant": scope.tenant,
            "principal": scope.principal,
            "anchor": visitor.anchor,
            "client": asking.client.id,
            "redirect": asking.redirect,
            "state": asking.state,
            "issuer": asking.issuer,
            "challenge": asking.challenge,
            "resource": asking.resource,
            "scopes": list(rights),
            "until_s": now + TICKET_S,
        }
        return Consent(
            asking=asking,
            person=scope.principal.partition(":")[2],
            tenant=scope.tenant,
            rights=[(each, MEANINGS.get(each, each.replace(":", ": "))) for each in rights],
            before=self._allowed_before(asking, rights, visitor),
            assured=bool(asking.client.voucher) and asking.redirect.startswith("https://"),
            ticket=ticket(self._world.keyring, _CONTEXT, value),
        )

    def _allowed_before(self, asking: Asking, rights: Sequence[str], visitor: Visitor) -> bool:
        """Whether the person has allowed this client as much, at this resource, answered at the same place."""
        return any(
            each.generation > 0
            and (each.client, each.resource) == (asking.client.id, asking.resource)
            and same_redirect(asking.redirect, (each.redirect,))
            and set(rights) <= set(each.scopes)
            for each in self._grants.of(visitor.scope.tenant, visitor.scope.principal)
        )

    # -- answering

    async def agree(self, ticket: str, visitor: Visitor) -> str:
        """Where the client is answered, with a code; on record before. Raises Denied (OMG-T001, OMG-G007), InputError (OMG-G012)."""
        shown = self._shown(ticket, visitor)
        client = await self._clients.find(shown["client"], *_who(visitor))
        self._grants.demand_room(visitor.scope.tenant, visitor.scope.principal)
        self._grants.sweep()
        await self._make_room(visitor)
        grant = self._granted(shown, client, visitor)
        tenant = grant.bearer.tenant
        await run_open(self._omega, allow_client, {"facts": grant.facts(), "body": self._grants.sealed(grant)}, tenant)
        self._clients.allowed(client)
        code = self._grants.code(self._world.entropy, grant, shown["challenge"])
        return answered(shown["redirect"], {"code": code, "state": shown["state"], "iss": shown["issuer"]})

    async def refuse(self, ticket: str, visitor: Visitor) -> str:
        """Where the client is answered that it was refused; on record. Raises Denied (OMG-T001), InputError (OMG-G012)."""
        shown = self._shown(ticket, visitor)
        client = await self._clients.find(shown["client"], *_who(visitor))
        facts = {name: shown[name] for name in ("client", "redirect", "resource", "scopes")} | {"person": visitor.scope.principal}
        await run_open(self._omega, refuse_client, facts, visitor.scope.tenant)
        asking = Asking(client=client, redirect=shown["redirect"], state=shown["state"], issuer=shown["issuer"])
        return refusal(asking, "access_denied", "the person refused it")

    def _shown(self, ticket: str, visitor: Visitor) -> dict[str, Any]:
        """What the page showed this very person. Raises Denied (OMG-T001)."""
        try:
            shown: dict[str, Any] = redeemed(self._world.keyring, _CONTEXT, ticket)
        except IntegrityError as error:
            raise _begin_again() from error
        whose = (visitor.scope.tenant, visitor.scope.principal, visitor.anchor)
        if (shown["tenant"], shown["principal"], shown["anchor"]) != whose or self._now() >= shown["until_s"]:
            raise _begin_again()
        return shown

    def _granted(self, shown: Mapping[str, Any], client: Client, visitor: Visitor) -> Grant:
        scope, now = visitor.scope, self._now()
        root = visitor.anchor.removeprefix(scope.tenant).strip("/")
        bearer = Bearer(
            tenant=scope.tenant,
            principal=scope.principal,
            roles=tuple(sorted(scope.groups)),
            capabilities=tuple(sorted(scope.capabilities)),
            region=scope.region,
            root=root if not root.startswith("pas_") else "",
        )
        return Grant(
            id=new_grant_id(self._world.entropy, self._world.clock.now_us()),
            bearer=bearer,
            anchor=visitor.anchor,
            client=client.id,
            client_name=client.name,
            voucher=client.voucher,
            actor=client.actor,
            redirect=shown["redirect"],
            issuer=shown["issuer"],
            resource=shown["resource"],
            scopes=tuple(shown["scopes"]),
            made_s=now,
            expires_s=now + GRANT_S,
            secret=self._world.entropy.take(32).hex(),
        )

    async def _make_room(self, visitor: Visitor) -> None:
        own = self._grants.of(visitor.scope.tenant, visitor.scope.principal)
        registered = [each.client for each in own if not each.voucher]
        crowd = set(list(dict.fromkeys(registered))[MAX_CLIENTS_OF_PERSON - 1 :])
        for number, each in enumerate(own):
            if number >= MAX_PER_PERSON - 1 or each.client in crowd:
                await self._end(each, reason="made room for another", by=visitor.scope.principal)

    # -- the token endpoint

    async def redeem(self, form: Mapping[str, str], headers: Mapping[str, str], issuer: str) -> dict[str, Any]:
        """The answer to a code or a refresh token. Raises Denied (OMG-T001, OMG-T002), InputError (OMG-I001)."""
        client = self._client(form, headers)
        if form.get("grant_type") == "authorization_code":
            grant, generation = await self._of_code(form, client, issuer), 0
        else:
            grant, generation = await self._of_refresh(form, client, issuer)
        if form.get("resource") and _named(form["resource"]) != grant.resource:
            raise InputError("OMG-I001", "the grant is for another resource", details={"oauth": "invalid_target"})
        wanted = tuple(each for each in scopes_of(form.get("scope", "")) if each != OFFLINE) or grant.scopes
        if not set(wanted) <= set(grant.scopes):
            raise Denied("OMG-T002", "a right was asked for that was not allowed", details={"oauth": "invalid_scope"})
        passport, rights, left_s = self._passport(grant, wanted)
        turned = self._grants.turned(grant, generation)
        if turned is None:
            await self._end(grant, reason="one token was used twice at once", by=grant.actor)
            raise _refused("invalid_grant")
        return {
            "access_token": passport,
            "token_type": "Bearer",
            "expires_in": left_s,
            "scope": " ".join(sorted(rights)),
            "refresh_token": refresh_token(turned),
        }

    async def give_up(self, form: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """End the grant of a client that gives its refresh token back (RFC 7009); any other token is none of its own, which is no fault."""
        client = self._client(form, headers)
        grant = self._grants.find(_grant_id(form.get("token", "")))
        if grant is not None and grant.client == client.id and generation_of(grant, form["token"]):
            await self._end(grant, reason="given back", by=grant.actor)

    async def _of_code(self, form: Mapping[str, str], client: Client, issuer: str) -> Grant:
        id, said = self._grants.spend(form.get("code", ""))
        grant = self._grants.find(id)
        if grant is None:
            raise _refused("invalid_grant")
        if said is None:
            await self._end(grant, reason="its code came twice", by=client.actor)
            raise _refused("invalid_grant")
        same = (grant.client, grant.redirect, grant.issuer) == (client.id, form.get("redirect_uri", ""), issuer)
        if not same or not verifies(form.get("code_verifier", ""), said["challenge"]):
            raise _refused("invalid_grant")
        return grant

    async def _of_refresh(self, form: Mapping[str, str], client: Client, issuer: str) -> tuple[Grant, int]:
        token = form.get("refresh_token", "")
        grant = self._grants.find(_grant_id(token))
        number = 0 if grant is None else generation_of(grant, token)
        if grant is None or not number or (grant.client, grant.issuer) != (client.id, issuer):
            raise _refused("invalid_grant")
        if number < grant.generation:
            await self._end(grant, reason="a refresh token came twice", by=grant.actor)
            raise _refused("invalid_grant")
        return grant, number

    def _client(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Client:
        """The client that asks, which has shown its secret where it has one (RFC 6749, 2.3.1). Raises Denied (OMG-T001)."""
        basic = headers.get("authorization", "")
        if basic and "client_secret" in form:
            raise InputError("OMG-I001", "a client shows its secret once", details={"oauth": "invalid_request"})
        name, secret = _basic(basic) if basic else (form.get("client_id", ""), form.get("client_secret", ""))
        if form.get("client_id", name) != name:
            raise _refused("invalid_client")
        client = self._clients.known(name)
        if client is None:
            raise _refused("invalid_client")
        shown = sha256(secret.encode("utf-8", "replace")).hexdigest()
        if client.secret_sha256 and not hmac.compare_digest(shown, client.secret_sha256):
            raise _refused("invalid_client")
        return client

    def _passport(self, grant: Grant, wanted: Sequence[str]) -> tuple[str, tuple[str, ...], int]:
        """A passport with which the client acts for the person, its rights, and its life in seconds. What the person has lost since, the
        client does not get. Raises Denied (OMG-T001, OMG-T002)."""
        world, now_us = self._world, self._world.clock.now_us()
        try:
            bearer = self._exchange.current(grant.bearer)
            if grant.anchor:
                world.authority.check_id(grant.anchor)
        except Denied as error:
            raise _refused("invalid_grant") from error
        rights = tuple(each for each in wanted if _holds(bearer, each))
        if not rights:
            raise Denied("OMG-T002", "nothing of what was allowed is held any more", details={"oauth": "invalid_scope"})
        left_s = int(min(KEY_TTL_S, max(1, grant.expires_s - now_us / 1_000_000)))
        own = new_id(PASSPORT, now_ms=now_us // 1_000, entropy=world.entropy.take(10))
        root = grant.anchor or above(bearer)
        passport = self._exchange.issuer(bearer.tenant).issue(
            tenant=bearer.tenant,
            principal=bearer.principal,
            groups=bearer.roles,
            capabilities=rights,
            actors=(grant.actor,),
            region=bearer.region,
            ttl_s=left_s,
            now=now_us / 1_000_000,
            jti="/".join(filter(None, (root, grant.id, resource_part(grant.resource), own))),
        )
        return passport, rights, left_s

    # -- what somebody has allowed

    def connections(self, visitor: Visitor) -> list[dict[str, Any]]:
        """What the visitor has allowed, the newest first. Who acts for somebody else sees nothing of theirs."""
        scope = visitor.scope
        return [] if scope.actors else [each.facts() for each in self._grants.of(scope.tenant, scope.principal)]

    async def withdraw(self, grant: str, visitor: Visitor) -> None:
        """End what the visitor has allowed; on record. Raises InputError (OMG-I003) when it is none of theirs."""
        found, scope = self._grants.find(grant), visitor.scope
        if found is None or scope.actors or (found.bearer.tenant, found.bearer.principal) != (scope.tenant, scope.principal):
            raise InputError("OMG-I003", "there is no such connection")
        await self._end(found, reason="withdrawn", by=scope.principal)

    async def _end(self, grant: Grant, *, reason: str, by: str) -> None:
        """Refused first, then on record."""
        self._grants.end(grant.id, grant.bearer.tenant)
        facts = {"facts": grant.facts(), "reason": reason, "by": by}
        await run_open(self._omega, withdraw_client, facts, grant.bearer.tenant)

    def _now(self) -> float:
        return self._world.clock.now_us() / 1_000_000


def as_desk(desk: Authorization) -> Desk:
    """The same desk as the entrances see it: the type checker holds the two together here."""
    return desk


def _fault(given: Mapping[str, str]) -> tuple[str, str]:
    """What is wrong with a request of a client that is known, as a word of the standards and in words; nothing where all is well."""
    if "request" in given:
        return "request_not_supported", "requests are sent as they are, not signed in an object"
    if "request_uri" in given:
        return "request_uri_not_supported", "requests are sent as they are, not fetched"
    if given.get("response_type") != "code":
        return "unsupported_response_type", "clients are answered with a code alone"
    if given.get("response_mode", "query") != "query":
        return "invalid_request", "clients are answered in the query of their address"
    if given.get("code_challenge_method") != "S256" or not is_challenge(given.get("code_challenge", "")):
        return "invalid_request", "a code takes PKCE: code_challenge, and code_challenge_method=S256"
    if len(scopes_of(given.get("scope", ""))) > MAX_SCOPES:
        return "invalid_scope", f"at most {MAX_SCOPES} rights are asked for at once"
    if given.get("prompt") == "none":
        return "interaction_required", "nobody is asked without a page"
    return "", ""


def _resource(asked: str, issuer: str) -> str:
    """The resource that is meant: of this installation, the entrance for MCP where none is named. Raises InputError (OMG-G012)."""
    name = resource_name(asked) if asked else f"{issuer}/mcp"
    path = name.removeprefix(issuer)
    parts = path.strip("/").split("/") if path else []
    own = name.startswith(issuer) and (not path or path.startswith("/"))
    known = not parts or (len(parts) == 1 and parts[0] in ENTRANCES) or (len(parts) == 2 and parts[0] == "mcp" and parts[1])
    if not own or not known:
        raise unfit("there is no such resource at this installation", oauth="invalid_target")
    return name


def _named(resource: str) -> str:
    try:
        return resource_name(resource)
    except InputError:
        return ""


def _holds(bearer: Bearer, right: str) -> bool:
    held = bearer.capabilities
    return ANY in held or right in held or f"{right.partition(':')[0]}:{ANY}" in held


def _grant_id(token: str) -> str:
    found = REFRESH.fullmatch(token)
    return f"grt_{found[1]}" if found is not None else ""


def _basic(header: str) -> tuple[str, str]:
    kind, _, given = header.partition(" ")
    try:
        name, colon, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _refused("invalid_client") from error
    if kind.lower() != "basic" or not colon:
        raise _refused("invalid_client")
    return unquote_plus(name), unquote_plus(secret)


def _refused(oauth: str) -> Denied:
    return Denied("OMG-T001", "the credential is not accepted here", advice="have the person sign in again", details={"oauth": oauth})


def _who(visitor: Visitor) -> tuple[str, str]:
    """Whose asking about clients it counts as."""
    return person_account(visitor.scope.tenant, visitor.scope.principal), subscriber_of(visitor.address)


def _begin_again() -> Denied:
    return Denied("OMG-T001", "this page was not for you, or is too old", advice="go back to the client and begin again")


def desk_of(omega: Any, exchange: Exchange) -> Authorization:
    """The desk of an open engine."""
    world, store = omega.world, omega.store
    now_us = world.clock.now_us
    grants = Grants(store, world.keyring, world.authority, now_us)
    clients = Clients(store, world.keyring, world.entropy, now_us, grants.clients)
    return Authorization(omega, world, clients, grants, exchange)
