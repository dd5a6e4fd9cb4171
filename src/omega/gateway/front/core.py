"""What an entrance holds of the process it stands in: a `Core`, and nothing behind it.

An entrance (HTTP, MCP, an OpenAI-compatible endpoint, WebSocket) reads a request, asks the core who is calling, and hands a `Call` to
`core.road`. It never sees the engine, the store, keys or policies. The host implements the protocol (`omega.host.house`).

    def entrance(core: Core) -> Mounted:          # one per protocol: a path prefix and the ASGI callable that answers below it
        async def app(scope, receive, send): ...
        return Mounted("/mcp", app)

The fast path of a request is `visitor` (a look into a cache of verified passports) and one await of `core.road.call`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from omega.kernel.compose import AnyFlow
from omega.kernel.ports import Call, Line, Outcome, Road, Search
from omega.kernel.scope import Scope
from omega.kernel.service import Offer

AsgiScope = MutableMapping[str, Any]
"""What ASGI says about a connection (asgi.readthedocs.io, version 3)."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[AsgiScope, Receive, Send], Awaitable[None]]
"""An ASGI application, version 3."""


Tell = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Tells other processes something; done when it is on its way."""

Take = Callable[[Mapping[str, Any]], None]
"""Is given what another process told."""


class Proof(StrEnum):
    """How a visitor has shown who they are."""

    BEARER = "bearer"
    """A passport that is not bound to a key."""
    BOUND = "bound"
    """A passport, with a proof by the key that it is bound to."""
    KEY = "key"
    """An API key."""
    BROWSER = "browser"
    """The cookie of a browser that signed in."""
    CERTIFICATE = "certificate"
    """A client certificate."""


MAX_AGENT = 200
"""Letters of a user agent that go on record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who stands at the door, once trust has said so.

    `passport` goes into `Call.passport`; `scope` is what it stands for; `address` is the peer's, for the record; `proof` is how they have
    shown it; `anchor` the id that ends a browser's session when it is revoked, where there is one.
    """

    passport: str
    scope: Scope
    proof: Proof
    address: str = ""
    anchor: str = ""

    def origin(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Where a request of theirs came from, as `kernel.ports.Call.origin` has it: address and user agent, as far as they are known."""
        found = {"address": self.address, "agent": headers.get("user-agent", "")[:MAX_AGENT]}
        return {name: text for name, text in found.items() if text}


@dataclass(frozen=True, slots=True)
class Mounted:
    """An entrance in its place: `app` answers every path that is `prefix` or begins with it and a slash. With `names`, a path may hold
    names with a slash in them, written `%2F`; elsewhere that is refused. Where a path ends with `posted`, pages of other sites may have a
    browser post to it: what comes there is believed for nothing but itself."""

    prefix: str
    app: App
    names: bool = False
    posted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A flow that the operator has put up to be run from outside, under a `name`; `target` is where it is loaded from again."""

    name: str
    flow: AnyFlow
    target: str


class Core(Protocol):
    """What an entrance may ask of the process."""

    @property
    def road(self) -> Road:
        """Call -> Outcome, the one road."""
        ...

    def now_us(self) -> int:
        """The time of the records, in Unix microseconds."""
        ...

    def visitor(self, headers: Mapping[str, str], *, method: str, url: str, address: str, peer: str = "") -> Visitor:
        """Who is calling, by what came with the request: a bearer passport (with its DPoP proof, when it is bound), an API key, or the
        cookie of a browser that signed in. `headers` have lower-case names; `url` is scheme, host and path as the caller meant them;
        `address` is the peer's; `peer` the SPIFFE id of a verified client certificate.

        Raises Denied (OMG-T001) for whatever is no good, and for nothing at all.
        """
        ...

    def offers(self) -> Sequence[Offer]:
        """Every method of every installed service, its flow bound to its tools, with how it is offered."""
        ...

    def tools(self, scope: Scope) -> Sequence[AnyFlow]:
        """The upstream tools that were accepted, each a bound tool flow, as far as the caller's tenant has them."""
        ...

    def servers(self, scope: Scope) -> Sequence[dict[str, Any]]:
        """The tool servers behind the gateway, and how each is, for those of the installation's own tenant who hold `records:read`; nothing
        for anybody else."""
        ...

    def flows(self, scope: Scope) -> Sequence[Served]:
        """The flows that the operator has put up, as far as the caller's tenant has them; each is bound to its tools."""
        ...

    async def start(self, call: Call) -> str:
        """Admit `call` and run it in the background; gives its execution. Raises what the road refuses with."""
        ...

    async def outcome(self, execution: str, scope: Scope) -> Outcome:
        """How `execution` ended or stands; waits while it runs here. Raises InputError (OMG-I003) when the tenant has none of that id."""
        ...

    def watch(self, execution: str, scope: Scope) -> AsyncIterator[Any]:
        """The parts that streaming steps of `execution` show from now on; one that has not begun may be watched too. Raises InputError
        (OMG-I003), as `outcome` does."""
        ...

    async def decide(self, execution: str, verb: str, body: dict[str, Any], visitor: Visitor) -> None:
        """Cancel, approve, answer, resolve or signal, as the visitor. Raises what `omega.runtime.decisions.decide` raises."""
        ...

    def find(self, search: Search, scope: Scope) -> list[Line]:
        """The executions of the caller's tenant that match, the newest first; what `search` says of a tenant is not read. Who does not hold
        `records:read` sees those that they started themselves."""
        ...

    def line(self, execution: str, scope: Scope) -> Line:
        """The line of `execution`: for whoever started it, and for those who hold `records:read`. Raises InputError (OMG-I003)."""
        ...

    def told(self, line: Line) -> dict[str, Any]:
        """A line that the caller may see, as data: its fields, whether it stands `interrupted`, and for one that the gate refused the
        `code` and the `policies` that said no."""
        ...

    def is_own(self, execution: str, scope: Scope) -> bool:
        """Whether the very chain of `scope` (tenant, principal, actors) started `execution`; what it may read is beside the point."""
        ...

    def describe(self, execution: str, scope: Scope, *, values: bool = False) -> dict[str, Any]:
        """The account of `execution`: its line and every step of it; with `values` inputs and results too. For whoever started it, and for
        those who hold `records:read`. Raises InputError (OMG-I003), IntegrityError (OMG-T004) where values were erased."""
        ...

    def input_of(self, execution: str, scope: Scope) -> Any:
        """The input that `execution` was started with, as plain data. Raises what `describe` raises."""
        ...

    def others(self, kind: str, take: Take) -> Tell:
        """How an entrance tells the same entrance in the other processes of the installation something: plain data, sealed on its way, that
        may be lost and is then not missed. `take` is given what they tell of this `kind`."""
        ...

    def sign_in(self, code: str, *, address: str = "") -> str:
        """The value of a browser's cookie, for the one-time code of a sign-in link; `address` is the peer's, under which refusals are
        counted. Raises Denied (OMG-T001; OMG-G007 after too many from that address)."""
        ...

    def sign_in_by_key(self, key: str, code: str, *, address: str = "") -> str:
        """The value of a browser's cookie, for the API key of a person; `code` is of their second factor, where they have one. Raises
        Denied (OMG-T001, OMG-G007)."""
        ...

    def invite(self, visitor: Visitor) -> str:
        """A new one-time code for a sign-in link, for the owner of this installation alone, who shows a passport or an API key. Raises
        Denied (OMG-W001) for anybody else, and for other proofs: a browser cannot renew itself, and a cookie is bound to no key."""
        ...

    def sign_out(self, headers: Mapping[str, str], *, method: str, url: str) -> None:
        """Forget the session of the browser that asks, if it has one. Raises Denied (OMG-T001) when a foreign page asks for it."""
        ...

    def jwks(self) -> dict[str, Any]:
        """The public keys that passports of this installation are signed with, as a JWK set (RFC 7517)."""
        ...

    async def exchange(self, form: Mapping[str, str], headers: Mapping[str, str], *, address: str = "") -> dict[str, Any]:
        """The answer of the token endpoint (RFC 6749, 5.1; RFC 8693, 2.2) to a form of string fields.

        Raises Denied (OMG-T001, OMG-T002, OMG-G007), InputError (OMG-I001).
        """
        ...

    def introspect(self, token: str, visitor: Visitor) -> dict[str, Any]:
        """What the passport `token` is worth, as RFC 7662 says it: of another tenant, or not good, it is not active."""
        ...

    async def revoke(self, token: str, visitor: Visitor) -> None:
        """Refuse the passport `token`, and all delegated from it, from now on, where it is the visitor's own (RFC 7009); on record."""
        ...
