"""The house that `omega up` opens to the network: the core that entrances hold, on an open Omega.

Everything an entrance asks for comes through here, and everything that runs takes the road. What is only looked at (lists, accounts,
outcomes) is the caller's own, or needs `records:read`; an execution of another tenant is not there at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any

from omega.gateway.front.core import Core, Mounted, Proof, Served, Take, Tell, Visitor
from omega.host.a2a import AgentDesk
from omega.host.account import account, standing
from omega.host.admitting import Register
from omega.host.between import Between
from omega.host.bridged import Bridged
from omega.host.discover import offers
from omega.host.elsewhere import Elsewhere
from omega.host.embedded import Omega
from omega.host.exchange import Exchange, in_a_thread
from omega.host.guessing import LOOK_S, OTHERS, Guesses, guessed_credentials, refused_credentials
from omega.host.hall import ToolHall, passed_known
from omega.host.mfa import FACTOR, name_of
from omega.host.orders import Placing
from omega.host.passkeys import Passkeys
from omega.host.published import Publishing
from omega.host.reading import Archive
from omega.host.reputation import LATELY, Reputation, health_of
from omega.host.revocations import demand_room, person_account
from omega.host.searching import every
from omega.host.sso_desk import Installed, SignOnDesk
from omega.host.storage import demand_not_lost
from omega.host.targets import Target
from omega.host.tenants import is_sandbox
from omega.host.users import Users
from omega.host.visitors import Reception, shows
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import Tool, tool
from omega.kernel.errors import Denied, InputError, OmegaError, StorageError
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Line, Outcome, Search
from omega.kernel.scope import Scope
from omega.kernel.service import Offer
from omega.runtime.recovery import load, pin_of

READ = "records:read"
"""The capability of those who may look at what others of their tenant started."""

PAGE = 500
"""Most executions in one answer."""

INVITING = (Proof.BEARER, Proof.KEY)
"""What the owner may show who asks for a sign-in link."""

MAX_LEFT = 10_000
"""Most executions that a start looks at for those that an earlier process left running."""


def entrances(house: House) -> list[Mounted]:
    """What answers over the network, each under its own prefix. One line for each protocol, added by whoever wrote it."""
    from omega.gateway.a2a import cards
    from omega.gateway.a2a import entrance as a2a
    from omega.gateway.front import factors, oauth, signing_in
    from omega.gateway.front.authorizing import connections
    from omega.gateway.http import entrance as http
    from omega.gateway.mcp import entrance as mcp
    from omega.gateway.openai import entrance as openai
    from omega.gateway.registry import entrances as registry
    from omega.gateway.rpc import entrance as rpc
    from omega.gateway.scim import entrance as scim
    from omega.gateway.sso import entrance as sso
    from omega.host.authorizing import as_desk, desk_of
    from omega.host.confirming import FactorDesk

    hall = ToolHall(house.omega, house.offers)
    tools = mcp(house, hall, version("omega-platform"))
    listed = registry(house, Publishing(house.omega.store, hall.view))
    desk = AgentDesk(house)
    asked = as_desk(desk_of(house.omega, house.exchanging))
    known = [*oauth.entrances(house, asked, cards(house, desk)), connections(house, asked)]
    proving = factors.entrances(house, FactorDesk(house))
    organisations = [scim(house), sso(house.signing_on())]
    people = [*signing_in.entrances(house), *proving, *known, *organisations]
    return [*people, http(house), openai(house), rpc(house), tools, a2a(house, desk), *listed]


class House:
    """A `Core` on an open Omega. `put_up` are the flows that may be run from outside; `offered` stand in for the installed services.

    `ours` is the way to other processes on the same records; with a `queue`, what was put up is lined up there for workers, not run here.
    """

    def __init__(
        self,
        omega: Omega,
        put_up: Sequence[Served] = (),
        *,
        offered: Sequence[Offer] | None = None,
        ours: Between | None = None,
        queue: str = "",
    ) -> None:
        self.omega = omega
        self.road = omega.road
        world = omega.world
        self.users = Users(omega.store, world.keyring)
        self.exchanging = Exchange(omega.store, world.authority, world.entropy, world.clock.now_us, later=in_a_thread, users=self.users)
        workloads = Register(omega.store, world.keyring, world.authority, world.clock.now_us, world.entropy.take)
        certificates = workloads.passport_of
        shelf = omega.store if omega.settings.store.shared else None
        keys, people = self.exchanging.passport_of_key, self.exchanging.passport_of_person
        self.reception = Reception(
            world.authority, omega.passport, world.keyring, keys=keys, people=people, certificates=certificates, shelf=shelf
        )
        self.guesses = Guesses()
        self._put_up = tuple(put_up)
        self._bridged = Bridged(omega.store)
        self._offers = offers() if offered is None else offered
        self._fixed = not any(isinstance(leaf.body, Tool) for each in self._offers for leaf in each.flow.leaves())
        self._going_on: dict[str, asyncio.Task[None]] = {}
        self._reputation: Reputation | None = None
        self._queue = queue
        self.origins: frozenset[str] = frozenset()
        """Where this gateway's own pages stand; at none until it listens, so no passkey is asked for before."""
        self.a2a_grpc = 0
        """The port of the gRPC binding for agents of others, where there is one."""
        self.elsewhere = Elsewhere(omega, ours, self._go_on, self._going_on.__contains__)

    # -- who

    def now_us(self) -> int:
        """The time of the records, in Unix microseconds."""
        return self.omega.world.clock.now_us()

    def visitor(self, headers: Mapping[str, str], *, method: str, url: str, address: str, peer: str = "") -> Visitor:
        """Who is calling (see `omega.host.visitors`). Raises Denied (OMG-T001; OMG-G007 where too much was refused to that address)."""
        now = self.now_us() / 1_000_000
        with self.guesses.counted(address, now) if peer or shows(headers) else nullcontext():
            visitor = self.reception.visitor(headers, method=method, url=url, address=address, peer=peer, now=now)
            self.users.demand_current(visitor.scope)
        return visitor

    def sign_in(self, code: str, *, address: str = "") -> str:
        """The value of a browser's cookie, for the code of a sign-in link. Raises Denied (OMG-T001, OMG-G007)."""
        now = self.now_us() / 1_000_000
        with self.guesses.counted(address, now):
            return self.reception.sessions.redeem(code, now)

    def sign_in_by_key(self, key: str, code: str, *, address: str = "") -> str:
        """The value of a browser's cookie, for the API key of a person; `code` is of their second factor, where they have one, and is used
        up before it is said what was wrong. Raises Denied (OMG-T001, OMG-T013 for who has passkeys alone, OMG-G007),
        StorageError (OMG-G008: their tenant has no place left)."""
        now = self.now_us() / 1_000_000
        self.guesses.demand(address, now)
        with self.guesses.counted(address, now):
            return self._signed_in(key, code)

    def _signed_in(self, key: str, code: str) -> str:
        bearer, expires_us = self.exchanging.bearer_of_key(key)
        person = (bearer.tenant, bearer.principal)
        enrolled = self.omega.store.document(FACTOR, name_of(*person)) is not None
        if not enrolled and Passkeys.reading(self.omega.store, self.omega.world.keyring, person):
            # A passkey cannot be shown beside a key, and a key alone is not enough for who has a second factor.
            raise Denied("OMG-T013", f"{bearer.principal} has passkeys, and a key alone shows none")
        second = not enrolled or self.omega.world.second_factor(bearer.tenant, bearer.principal, {"code": code})
        if not second or not bearer.principal.startswith("person:"):
            raise Denied("OMG-T001", "this is not accepted", advice="show the API key of a person, and the code of their second factor")
        return self.reception.sessions.begin(bearer, self.now_us() / 1_000_000, until=expires_us / 1_000_000)

    def sign_in_code(self) -> str:
        """A new one-time code for the sign-in link that is printed where this process was started."""
        return self.reception.sessions.code(self.now_us() / 1_000_000)

    def sign_out(self, headers: Mapping[str, str], *, method: str, url: str) -> None:
        """Forget the session of the browser that asks, if it has one. Raises Denied (OMG-T001) when a foreign page asks for it."""
        self.reception.sign_out(headers, method=method, url=url)

    def invite(self, visitor: Visitor) -> str:
        """A new code for the owner: whoever signs in acts as they do, so nobody else may ask. What is revoked of a visitor's passport ends
        the session too; a cookie that asked for the next would never end, and one for a bound passport would be bound to nothing, so these
        may not ask either. Raises Denied (OMG-W001)."""
        now = self.now_us() / 1_000_000
        owner = self.omega.world.authority.verify(self.omega.passport(), now=now)
        scope = visitor.scope
        same = (scope.tenant, scope.principal, scope.groups, scope.capabilities) == (
            owner.tenant, owner.principal, owner.groups, owner.capabilities,
        )  # fmt: skip
        if not same or scope.actors:
            raise Denied("OMG-W001", "a sign-in link is for the owner of this installation", advice="have the owner run omega sign-in")
        if visitor.proof not in INVITING:
            raise Denied("OMG-W001", "a sign-in link takes a passport that is bound to no key", advice="have the owner run omega sign-in")
        return self.reception.sessions.code(now, scope.passport)

    def jwks(self) -> dict[str, Any]:
        """The public keys of this installation's passports, as a JWK set."""
        return self.omega.world.authority.jwks(now=self.now_us() / 1_000_000)

    async def exchange(self, form: Mapping[str, str], headers: Mapping[str, str], *, address: str = "") -> dict[str, Any]:
        """The answer of the token endpoint. Raises Denied (OMG-T001, OMG-T002, OMG-G007), InputError (OMG-I001)."""
        with self.guesses.counted(address, self.now_us() / 1_000_000):
            return await self.exchanging.exchange(form, headers)

    def introspect(self, token: str, visitor: Visitor) -> dict[str, Any]:
        """What a passport is worth, for callers of the same tenant."""
        return self.exchanging.introspect({"token": token}, visitor.scope)

    async def revoke(self, token: str, visitor: Visitor) -> None:
        """Refuse a passport of the visitor's own from now on, on record."""
        passport = self.exchanging.revoke({"token": token}, visitor.scope)
        if passport:
            account = person_account(visitor.scope.tenant, visitor.scope.principal)
            demand_room(self.omega.world.authority, account)
            await self.omega.revoke(passport, by=visitor.scope.principal, account=account)

    def signing_on(self) -> SignOnDesk:
        """What signs people on with the accounts of their organisations."""
        world = self.omega.world
        installed = Installed(
            documents=self.omega.store,
            keyring=world.keyring,
            entropy=world.entropy,
            road=self.road,
            exchange=self.exchanging,
            sessions=self.reception.sessions,
            users=self.users,
            guesses=self.guesses,
            now_us=self.now_us,
        )
        return SignOnDesk(installed)

    # -- what there is

    def offers(self) -> Sequence[Offer]:
        """Every method of every installed service that loads."""
        return self._offers if self._fixed else [replace(each, flow=self._bound(each.flow)) for each in self._offers]

    def tools(self, scope: Scope) -> Sequence[AnyFlow]:
        """The accepted upstream tools, by name: they belong to the tenant of the installation."""
        if scope.tenant != self.omega.settings.tenant:
            return []
        catalogue = self.omega.catalogue
        return [catalogue.bound(tool(pin.server, pin.name)) for _, pin in sorted(catalogue.pins.items())]

    def servers(self, scope: Scope) -> Sequence[dict[str, Any]]:
        """The tool servers and how each is: by the log, and by the circuits of this process's own gate. Where they are reached and what
        they are given stays with the operator: it may tell of secrets."""
        omega = self.omega
        if scope.tenant != omega.settings.tenant or not scope.has(READ):
            return []
        if self._reputation is None:
            self._reputation = Reputation(omega.store, scope.tenant, omega.world.clock.now_us, behind=LATELY)
        records, now_s = self._reputation.look(), self.now_us() / 1_000_000
        kept_away = [flow for _, tenant, flow, _ in omega.world.warden.breakers.standing(now_s) if tenant in ("", scope.tenant)]
        return [
            {
                "name": name,
                "transport": upstream.transport.value,
                "tools": len(omega.catalogue.tools_of(name)),
                "health": health_of(name, records, opened=kept_away).told(),
            }
            for name, upstream in sorted(omega.catalogue.upstreams.items())
        ]

    def flows(self, scope: Scope) -> Sequence[Served]:
        """The flows that the operator put up, and what primaries offer: they are the installation's own. Sandboxes have their samples."""
        if scope.tenant == self.omega.settings.tenant:
            return (*self._put_up, *self._bridged.served())
        return _samples() if is_sandbox(self.omega.store, scope.tenant) else ()

    def _bound(self, flow: AnyFlow) -> AnyFlow:
        with suppress(OmegaError):  # a tool that nobody has accepted: the call says so
            return self.omega.catalogue.bound(flow)
        return flow

    # -- running

    async def start(self, call: Call) -> str:
        """Admit `call`, and run it in the background or line it up for workers. Raises what the road refuses with."""
        if not self._queue or not call.target:
            return await self.omega.road.start(call)
        tenant = self.omega.world.authority.verify(call.passport, now=self.now_us() / 1_000_000).tenant
        if self.omega.world.streams.watched(tenant, call.execution):
            await self.elsewhere.follow(tenant, call.execution).wait()
        return await self.omega.line_up(call, Placing(queue=self._queue, labels=call.labels))

    async def outcome(self, execution: str, scope: Scope) -> Outcome:
        """How `execution` ended or stands; waits while it is under way, here or elsewhere. Raises InputError (OMG-I003)."""
        live = self.omega.engine.book_of(execution)
        if live is None:
            self.line(execution, scope)
            return await self.elsewhere.outcome(execution)
        self._mine(execution, live[0].scope.tenant, live[0].scope.principal, scope)
        found = await self.omega.engine.outcome(execution)
        return found if found.status != Status.RUNNING else await self.elsewhere.outcome(execution)

    def watch(self, execution: str, scope: Scope) -> AsyncIterator[Any]:
        """The parts that `execution` shows from now on; one that has not begun may be watched too. Raises InputError (OMG-I003)."""
        line = self.omega.store.line(execution)
        if line is not None:
            self._mine(execution, line.tenant, line.principal, scope)
        watching = self.omega.world.streams.watch(scope.tenant, execution)
        if line is not None and not self.omega.engine.runs(execution):
            self.elsewhere.follow(scope.tenant, execution)
        return watching

    async def decide(self, execution: str, verb: str, body: dict[str, Any], visitor: Visitor) -> None:
        """Decide as the visitor, then go on with what stood still and waited for it. Raises what `runtime.decisions.decide` raises."""
        try:
            await self.omega.decide_anywhere(execution, verb, body, visitor.scope)
        except InputError as error:
            if error.code in ("OMG-I004", "OMG-I005"):  # what these tell is for those who may see the execution
                self.line(execution, visitor.scope)
            raise
        self._go_on(execution)

    async def recover(self) -> int:
        """Go on with what an earlier process of this installation left running, where its flow is known here; gives how many."""
        return sum(self._go_on(execution) for execution in self._left())

    def others(self, kind: str, take: Take) -> Tell:
        """How an entrance tells the same one in other processes something of `kind`; `take` is given what they tell."""
        return self.elsewhere.others(kind, take)

    async def together(self, lease_s: float) -> None:
        """What a house does because there are others on the same records: hears them, and looks after what they leave behind. For ever."""
        if self.omega.settings.store.shared:
            chores = self.omega.chores
            await asyncio.gather(chores.keep("hearing", self.elsewhere.hear), chores.keep("left behind", lambda: self.look_after(lease_s)))

    async def tell_refused(self) -> None:
        """Put on record, minute by minute, to which addresses credentials were refused (see `omega.host.guessing`). For ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.tell_refused_until(self.now_us() / 1_000_000)

    async def tell_refused_until(self, now_s: float) -> None:
        """The same for the minutes that are over at that time, in Unix seconds. Raises Denied, StorageError."""
        for each in self.guesses.ended(now_s):
            told = {"address": each.address, "count": each.count, "minute_s": each.minute_s, "addresses": each.addresses}
            origin = {"address": each.address} if each.address != OTHERS else {}
            braked = each.count > self.guesses.most and each.address != OTHERS
            await self.omega.ask(guessed_credentials if braked else refused_credentials, told, origin=origin)

    async def look_after(self, every_s: float) -> None:
        """Go on, every so many seconds, with what another process has left running meanwhile; for ever."""
        while True:
            await asyncio.sleep(every_s)
            with suppress(StorageError):
                for execution in await asyncio.to_thread(self._left):
                    self._go_on(execution)

    def _left(self) -> list[str]:
        """What is recorded as running, in no queue, by a process that is gone."""
        now, shared = self.now_us(), self.omega.settings.store.shared
        lines = every(self.omega.store, Search(status=(Status.RUNNING,)), MAX_LEFT)
        return [line.execution for line in lines if not line.queue and not line.parent and (line.lease_us <= now or not shared)]

    def _go_on(self, execution: str) -> bool:
        """Go on in the background, unless a worker will, or the flow is not known here; whether it does."""
        if execution in self._going_on:
            return True
        line = self.omega.store.line(execution)
        if line is None or line.queue or Status(line.status).ended or self.omega.engine.runs(execution):
            return False
        flow = self._known(line)
        if flow is None:
            return False
        task = self._going_on[execution] = asyncio.create_task(self._resume(execution, flow))
        task.add_done_callback(lambda _: self._going_on.pop(execution, None))
        return True

    async def _resume(self, execution: str, flow: AnyFlow) -> None:
        with suppress(OmegaError):  # another engine was quicker, or the flow has changed: it stands where it stood
            await self.omega.engine.resume(execution, flow)

    def _known(self, line: Line) -> AnyFlow | None:
        put_up = (*self._put_up, *self._bridged.served(), *_samples())
        candidates = [*(each.flow for each in self.offers()), *(each.flow for each in put_up)]
        found = next((flow for flow in candidates if pin_of(flow) == line.digest), None)
        if found is None and "/" in line.flow:
            server, _, name = line.flow.partition("/")
            with suppress(OmegaError):
                bound = self.omega.catalogue.bound(tool(server, name))
                found = bound if pin_of(bound) == line.digest else passed_known(self.omega, line.flow, line.digest)
        return found

    # -- looking

    def find(self, search: Search, scope: Scope) -> list[Line]:
        """The executions of the caller's tenant that match; without `records:read` the caller's own."""
        if not scope.has(READ):
            if search.principal not in ("", scope.principal):
                return []
            search = replace(search, principal=scope.principal)
        found = self.omega.store.search(replace(search, tenant=scope.tenant, limit=min(max(search.limit, 1), PAGE)))
        return found if scope.has(READ) else [line for line in found if self._started_by(line.execution, scope)]

    def line(self, execution: str, scope: Scope) -> Line:
        """The line of `execution`. Raises InputError (OMG-I003) when the caller may not see one of that id."""
        line = self.omega.store.line(execution)
        if line is None:
            raise _unknown(execution)
        self._mine(execution, line.tenant, line.principal, scope)
        return line

    def is_own(self, execution: str, scope: Scope) -> bool:
        """Whether the very chain of `scope` started `execution`; not where that can no longer be told."""
        live = self.omega.engine.book_of(execution)
        try:
            theirs = (live[0] if live is not None else load(self.omega.world, execution)[1]).scope
        except OmegaError:  # there is none, or it was erased
            return False
        return (theirs.tenant, theirs.principal, theirs.actors) == (scope.tenant, scope.principal, scope.actors)

    def describe(self, execution: str, scope: Scope, *, values: bool = False) -> dict[str, Any]:
        """The account of `execution`. Raises InputError (OMG-I003), IntegrityError (OMG-T004)."""
        self.line(execution, scope)
        return account(self._archive, execution, values=values)

    def told(self, line: Line) -> dict[str, Any]:
        """A line as data (see `omega.host.account.standing`); its status is the one on record."""
        return standing(self._archive, line) | {"status": line.status}

    @property
    def _archive(self) -> Archive:
        omega = self.omega
        return Archive(omega.settings, omega.store, omega.identity, omega.catalogue, omega.world)

    def input_of(self, execution: str, scope: Scope) -> Any:
        """What `execution` was started with. Raises InputError (OMG-I003), IntegrityError (OMG-T004)."""
        self.line(execution, scope)
        return load(self.omega.world, execution)[2].input

    def ready(self) -> str:
        """Why the process is not ready; nothing when it is."""
        try:
            demand_not_lost(self.omega.store)
            self.omega.store.line("ready")
        except OmegaError as error:
            return f"the storage does not answer ({error.code})"
        return ""

    def _mine(self, execution: str, tenant: str, principal: str, scope: Scope) -> None:
        if tenant != scope.tenant or not (scope.has(READ) or (principal == scope.principal and self._started_by(execution, scope))):
            raise _unknown(execution)

    def _started_by(self, execution: str, scope: Scope) -> bool:
        """Whether a caller's own execution was started by those who act now: who acts for a person does not see what others started."""
        return not scope.actors or self.is_own(execution, scope)


def _unknown(execution: str) -> InputError:
    return InputError("OMG-I003", f"{execution[:80]} is not recorded here")


async def put_up(omega: Omega, targets: Sequence[Target]) -> list[Served]:
    """The flows of `targets`, bound to their tools, under their names. Raises InputError (OMG-X001) where two have the same name."""
    found: dict[str, Served] = {}
    for target in targets:
        flow = await omega.prepare(target.flow, target.servers)
        if found.setdefault(flow.name, made := Served(name=flow.name, flow=flow, target=target.text)) is not made:
            raise InputError("OMG-X001", f"two targets are called {flow.name}", advice="give one of the two another name")
    return list(found.values())


@cache
def _samples() -> tuple[Served, ...]:
    from omega.host.sandbox import samples

    return tuple(Served(name=each.flow.name, flow=each.flow, target=each.text) for each in samples())


def as_core(house: House) -> Core:
    """The same house as an entrance sees it: the type checker holds the two together here."""
    return house
