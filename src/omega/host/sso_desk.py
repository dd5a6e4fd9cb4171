"""Signing on with a browser: from the first page to the provider and back, to a session.

What an attempt needs to remember (its state, nonce, verifier, request, where the browser wants to go) lies in the browser itself, in a
cookie that is sealed: so nothing is kept of attempts that nobody ends, an attempt ends in the browser in which it began, and nobody who
is sent a link ends up as somebody else. An attempt is good for ten minutes, and once: it is an execution of its own, whose id follows
from its state.

A provider is asked where its page is by one call at a time for each connection, whoever waits for it, and what came of it is kept: also
that nothing came, for a few seconds. So a provider that does not answer holds up its own people alone. Whoever comes back with what is no
good, or of whom nothing can be learnt because the provider fails, is counted as one whose credential was refused
(`omega.host.guessing`), and braked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

from omega.adapters.oidc import challenge_of
from omega.gateway.sso import Arrived, Sent
from omega.host.arrangements import Documents
from omega.host.exchange import Exchange
from omega.host.guessing import Guesses
from omega.host.sso import OIDC, SAML, Connection, connection_of
from omega.host.sso_proving import NEEDS, PROOF, Shown, ask, sign_on
from omega.host.tenants import Bearer, demand_active, passport_for
from omega.host.users import Users
from omega.host.visitors import Sessions
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import Denied, InputError, IntegrityError, OmegaError, from_record
from omega.kernel.ports import Call, Entropy, Road
from omega.trust.keys import b64url
from omega.trust.sealing import Keyring

ATTEMPT_S: Final = 600.0
"""How long (seconds) somebody may take with their provider."""

KEPT_S: Final = 3_600.0
"""How long (seconds) it is believed where a provider's page is."""

FAILED_S: Final = 15.0
"""How long (seconds) a provider that could not be asked is not asked again."""

PASSPORT_S: Final = 120
AGENT: Final = "agent:sign-on"
"""As whom the installation signs people on: policies may speak of it."""

_CONTEXT: Final = "sign-on attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What the browser holds of an attempt, sealed."""

    connection: str
    state: str
    nonce: str
    verifier: str
    base: str
    onward: str
    until: float
    names_itself: bool = False

    @property
    def request(self) -> str:
        """The id of the SAML request of this attempt: an id of XML begins with a letter."""
        return f"omega-{sha256(self.nonce.encode()).hexdigest()}"

    @property
    def execution(self) -> str:
        """The execution that ends it, of which there is one."""
        return f"sso-{sha256(self.state.encode()).hexdigest()[:40]}"

    def seal(self, keyring: Keyring) -> str:
        wrapped, sealer = keyring.create(_CONTEXT)
        sealed = sealer.seal(json.dumps(asdict(self)).encode(), _CONTEXT.encode())
        return ".".join(b64url(part) for part in (wrapped, sealed))

    @classmethod
    def open(cls, text: str, keyring: Keyring) -> _Attempt | None:
        try:
            wrapped, sealed = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in text.split("."))
            return cls(**json.loads(keyring.open(_CONTEXT, wrapped).open(sealed, _CONTEXT.encode())))
        except (ValueError, TypeError, binascii.Error, IntegrityError):
            return None


@dataclass(frozen=True, slots=True)
class _Said:
    """What came of asking where a provider's page is, at `at_s`: what it said, or the record of the error."""

    at_s: float
    connection: Connection
    said: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None

    def counts(self, connection: Connection, now_s: float) -> bool:
        """Whether it still holds, for the connection as it is now."""
        return self.connection == connection and 0 <= now_s - self.at_s < (FAILED_S if self.said is None else KEPT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What of an installation it takes to sign people on."""

    documents: Documents
    keyring: Keyring
    entropy: Entropy
    road: Road
    exchange: Exchange
    sessions: Sessions
    users: Users
    guesses: Guesses
    now_us: Callable[[], int]


class SignOnDesk:
    """Implements `omega.gateway.sso.Desk`."""

    def __init__(self, here: Installed) -> None:
        self._here = here
        self._known: dict[str, _Said] = {}
        self._asking: dict[str, tuple[Connection, asyncio.Task[_Said]]] = {}

    async def begin(self, name: str, base: str, onward: str, *, address: str = "") -> Sent:
        """Where the browser is sent, and what it is to hold. Raises InputError (OMG-I003), Denied (OMG-G007 for a braked address),
        UpstreamError."""
        self._here.guesses.demand(address, self._now())
        connection, now = self._connection(name), self._now()
        attempt = _Attempt(
            connection=name,
            state=b64url(self._here.entropy.take(32)),
            nonce=b64url(self._here.entropy.take(32)),
            verifier=b64url(self._here.entropy.take(32)),
            base=base,
            onward=onward,
            until=now + ATTEMPT_S,
        )
        if connection.kind == SAML:
            from omega.adapters.saml import address_of

            place = address_of(connection.address, _side(name, base), attempt.request, attempt.state, now)
            return Sent(location=place, cookie=attempt.seal(self._here.keyring))
        said = await self._said(connection)
        attempt = replace(attempt, names_itself=bool(said["names_itself"]))
        query = {
            "response_type": "code",
            "client_id": connection.client_id,
            "redirect_uri": _back(name, base),
            "scope": " ".join(connection.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge_of(attempt.verifier),
            "code_challenge_method": "S256",
        }
        place = str(said["authorization"])
        return Sent(location=f"{place}{'&' if '?' in place else '?'}{urlencode(query)}", cookie=attempt.seal(self._here.keyring))

    async def end(self, name: str, cookie: str, given: Mapping[str, str], *, address: str = "") -> Arrived:
        """The session of whoever came back with what their provider gave. Raises Denied (OMG-T001; OMG-G007 for a braked address), and
        what the flow is refused with. Every end that fails is counted, whoever's fault it is: each is an execution that is kept."""
        self._here.guesses.demand(address, self._now())
        with self._here.guesses.counted(address, self._now(), every=True):
            return await self._end(name, cookie, given)

    async def _end(self, name: str, cookie: str, given: Mapping[str, str]) -> Arrived:
        connection, attempt = self._connection(name), _Attempt.open(cookie, self._here.keyring)
        state = given.get("RelayState" if connection.kind == SAML else "state", "")
        if attempt is None or attempt.connection != name or self._now() >= attempt.until:
            raise _refused("the sign-in did not begin in this browser, or too long ago")
        if not hmac.compare_digest(attempt.state.encode(), state.encode("utf-8", "replace")):
            raise _refused("the sign-in did not begin in this browser")
        shown = _code(connection, attempt, given) if connection.kind == OIDC else _response(attempt, given)
        standing = demand_active(self._here.documents, connection.tenant, self._here.now_us())
        PROOF.set(shown)
        try:
            found = await self._run(connection, sign_on, {"connection": name, "attempt": attempt.execution}, attempt.execution)
        finally:
            PROOF.set(None)
        bearer = self._here.users.bearer(connection.tenant, str(found["principal"]), str(standing["region"]))
        return Arrived(cookie=self._here.sessions.begin(bearer, self._now()), onward=attempt.onward)

    def metadata(self, name: str, base: str) -> bytes:
        """What the provider of a SAML connection is told about this side. Raises InputError (OMG-I003)."""
        if self._connection(name).kind != SAML:
            raise InputError("OMG-I003", "this connection publishes nothing")
        from omega.adapters.saml import metadata

        return metadata(_side(name, base))

    def _connection(self, name: str) -> Connection:
        return connection_of(self._here.documents, self._here.keyring, name)

    async def _said(self, connection: Connection) -> Mapping[str, Any]:
        """Where the provider's page is: asked for down the road, at most once an hour. Raises what asking is refused with."""
        known = self._known.get(connection.name)
        if known is None or not known.counts(connection, self._now()):
            known = await self._asked(connection)
        if known.said is None:
            raise from_record(known.failure or {})
        return known.said

    async def _asked(self, connection: Connection) -> _Said:
        """What comes of asking now; all who wait for it have it from one call, which goes on where one of them goes away."""
        under_way = self._asking.get(connection.name)
        if under_way is None or under_way[0] != connection or under_way[1].done():
            under_way = self._asking[connection.name] = (connection, asyncio.create_task(self._ask(connection)))
        return await asyncio.shield(under_way[1])

    async def _ask(self, connection: Connection) -> _Said:
        try:
            found = dict(await self._run(connection, ask, {"connection": connection.name}))
        except OmegaError as error:
            made = _Said(self._now(), connection, failure=error.record())
        else:
            made = _Said(self._now(), connection, said=found)
        self._known[connection.name] = made
        return made

    async def _run(self, connection: Connection, flow: AnyFlow, value: Mapping[str, str], execution: str = "") -> Mapping[str, Any]:
        """What a flow gives, run as the installation's own agent in the connection's tenant. Raises its error, Denied (OMG-T001)."""
        now_us = self._here.now_us()
        region = str(demand_active(self._here.documents, connection.tenant, now_us)["region"])
        bearer = Bearer(tenant=connection.tenant, principal=AGENT, capabilities=("flows:run", *NEEDS), region=region)
        authority = self._here.exchange.issuer(connection.tenant)
        passport = passport_for(authority, self._here.entropy, bearer, ttl_s=PASSPORT_S, now_us=now_us)
        outcome = await self._here.road.call(Call(passport=passport, flow=flow, input=dict(value), execution=execution))
        if outcome.error is not None:
            error = from_record(outcome.error)
            raise _refused("the sign-in was ended before") if error.code == "OMG-R010" else error
        return dict(outcome.value)

    def _now(self) -> float:
        return self._here.now_us() / 1_000_000


def _code(connection: Connection, attempt: _Attempt, given: Mapping[str, str]) -> Shown:
    """What an OpenID provider sent the browser back with. Raises Denied (OMG-T001)."""
    if "error" in given:
        raise _refused("the provider did not sign anybody in")
    if given.get("iss", "" if attempt.names_itself else connection.issuer) != connection.issuer:  # RFC 9207: against mixed-up providers
        raise _refused("the answer is of another provider")
    if not given.get("code"):
        raise _refused("no code came back")
    back = _back(connection.name, attempt.base)
    return Shown(code=given["code"], verifier=attempt.verifier, nonce=attempt.nonce, back=back)


def _response(attempt: _Attempt, given: Mapping[str, str]) -> Shown:
    """What a SAML provider had the browser post. Raises Denied (OMG-T001)."""
    if not given.get("SAMLResponse"):
        raise _refused("no response came back")
    side = _side(attempt.connection, attempt.base)
    return Shown(response=given["SAMLResponse"], request=attempt.request, back=side.recipient, entity=side.entity)


def _back(name: str, base: str) -> str:
    return f"{base}/sso/{name}/back"


def _side(name: str, base: str) -> Any:
    from omega.adapters.saml import Side

    return Side(entity=f"{base}/sso/{name}/metadata", recipient=f"{base}/sso/{name}/acs")


def _refused(why: str) -> Denied:
    return Denied("OMG-T001", why, advice="sign in again")
