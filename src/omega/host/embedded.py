"""An embedded Omega: the whole house in one process on one folder.

    async with Omega.open() as omega:
        outcome = await omega.run(triage, ticket)

`run` is the same for a script or a notebook: `omega.run(triage, ticket)`. The folder (OMEGA_HOME) belongs to one engine at a time; reading
commands work beside it, deciding ones reach it through its inbox. With OMEGA_STORE the records lie in a PostgreSQL database, and there any
number of engines work side by side.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omega.adapters.blobs import open_blobs
from omega.host import counter, watching
from omega.host.acting import owner_passport
from omega.host.additions import installed_effectors
from omega.host.arrangements import arrange, dissolve
from omega.host.chores import Chore, Chores
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.erasing import erase
from omega.host.expiry import watch_expiry
from omega.host.governing import Governor
from omega.host.identity import Caller, Identity
from omega.host.levels import PATIENCE_US, Levels
from omega.host.logbook import read_log
from omega.host.orders import Order, Placing, Wanted
from omega.host.policy import load_bundle
from omega.host.quarantine import isolate
from omega.host.revocations import Follower, load, revoke, sweep
from omega.host.revoking import revoke_passport
from omega.host.settings import Settings
from omega.host.storage import EngineStore, may_make_keys, note_keys, open_store, open_wakeups, told_by
from omega.host.targets import Target
from omega.host.tools import Catalogue, accept_tools, forget_tools, unpinned
from omega.host.wallet import Wallet
from omega.host.wiring import Effectors, House, built_in, given, hosting, watchful
from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import OmegaError, StorageError, from_record
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Effector, Letter, Outcome
from omega.kernel.scope import Scope
from omega.kernel.servers import Server
from omega.runtime.decisions import decide
from omega.runtime.engine import Engine
from omega.runtime.forking import fork
from omega.runtime.lease import LEASE_US
from omega.runtime.letters import carry_out, decide_anywhere
from omega.runtime.replay import Report, replay
from omega.runtime.road import EngineRoad
from omega.runtime.steady import SteadyClock
from omega.runtime.streaming import BUFFER, Watching
from omega.runtime.world import Moment, Watch, World, unwatched
from omega.warden.admit import Warden

if TYPE_CHECKING:
    from omega.adapters.mcp import ToolDescription, Upstream

INBOX_POLL_S = 0.1
"""How often a live engine looks for letters of other processes: one cheap read."""

SWEEP_S = 60.0
"""How often what was revoked long ago is made small, in seconds."""

FOLLOW_S = 0.5
"""How often an engine that shares its records looks for what others have changed: revoked passports, accepted tools."""


@runtime_checkable
class Closing(Protocol):
    """An effector that holds servers or connections."""

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How an engine that works off queues differs from one that runs what it is told: it hears hints (`works`), does not hold waits longer
    than `park_s` seconds in memory, and may own what it runs for another while (`lease_us`). `wakeups` outweighs OMEGA_WAKEUPS."""

    works: bool = False
    wakeups: str = ""
    lease_us: int = LEASE_US
    park_s: float | None = None


class Omega:
    """An open embedded engine. Make one with `Omega.open`."""

    def __init__(
        self,
        settings: Settings,
        store: EngineStore,
        identity: Identity,
        catalogue: Catalogue,
        world: World,
        effectors: Effectors,
        *,
        governor: Governor,
    ) -> None:
        self.settings = settings
        self.store = store
        self.identity = identity
        self.catalogue = catalogue
        self.world = world
        self.engine = Engine(world)
        self.road = EngineRoad(self.engine)
        self._effectors = effectors
        self.governor = governor
        self.chores = Chores()
        self.levels = Levels(world, store, patience_us=PATIENCE_US if settings.store.shared else 0)
        self._wallet = Wallet(lambda caller, now_us: identity.passport(caller, now_us=now_us))

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        home: str | os.PathLike[str] | None = None,
        *,
        watch: Watch = unwatched,
        effectors: Iterable[Effector] = (),
        tuning: Tuning | None = None,
    ) -> AsyncIterator[Omega]:
        """Become the engine of a folder (OMEGA_HOME unless given), making keys and database on first use.

        `effectors` serve ports beside the built-in ones and those of installed packages; the same port cannot be served twice (OMG-F003).

        Raises StorageError: OMG-S001 while another engine works there, OMG-S002 when it is not usable, OMG-T003 when its keys are not
        the owner's alone or not those of the records; InputError (OMG-W003) when a policy file is wrong.
        """
        tuning = tuning or Tuning()
        settings = Settings.load(home)
        settings = replace(settings, wakeups=tuning.wakeups or settings.wakeups)
        omega = cls._wire(settings, watch, (*installed_effectors(), *effectors), tuning)
        try:
            await omega._tell_the_time()
        except OmegaError:
            omega.store.close()
            raise
        try:
            omega.world.wakeups = await open_wakeups(settings, listening=tuning.works)
        except StorageError:
            if tuning.works:
                omega.store.close()
                raise
            # whoever only lines up goes on without hints: workers look by themselves
        except OmegaError:
            omega.store.close()
            raise
        chores = [asyncio.create_task(omega.chores.keep(name, chore)) for name, chore in omega._chores()]
        try:
            yield omega
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            await omega.engine.close()
            with suppress(OmegaError):
                await omega.levels.finish()
            for each in (*omega._effectors.made(), omega.world.wakeups):
                if isinstance(each, Closing):
                    await each.aclose()
            with suppress(OmegaError):
                await omega.store.flush()
            omega.store.close()

    @classmethod
    def _wire(cls, settings: Settings, watch: Watch, more: Sequence[Effector], tuning: Tuning) -> Omega:
        own, entropy = SystemClock(), SystemEntropy()
        clock = SteadyClock(own, lambda: told_by(store)) if settings.store.shared else own
        bundle = load_bundle(settings.policies)
        may_make_keys(settings)
        identity = Identity.load(settings, entropy)
        store = open_store(
            settings, sequencer=identity.sequencer, now_us=clock.now_us, token=entropy.take(4).hex(), lease_us=tuning.lease_us
        )
        try:
            note_keys(settings, store, identity.log_public, clock.now_us())
            load(store, identity.authority)
            catalogue = Catalogue(store)
            blobs = open_blobs(settings.blobs) if settings.blobs else None
            governor = Governor(store, settings.policies, Warden(bundle), clock.now_us)
            house = House(
                settings=settings,
                store=store,
                catalogue=catalogue,
                keyring=identity.keyring,
                authority=identity.authority,
                governor=governor,
                now_us=clock.now_us,
                blobs=blobs,
            )
            effectors = Effectors(built_in(house), hosting(house), watchful(house, lambda: world), *given(more))
        except OmegaError:
            store.close()
            raise
        world = World(
            store=store,
            reader=store,
            clock=clock,
            entropy=entropy,
            warden=governor.warden,
            keyring=identity.keyring,
            authority=identity.authority,
            effectors=effectors,
            owner=store.owner,
            bind=catalogue.bind,
            watch=_harmless(watch),
            lease_us=tuning.lease_us,
            park_s=tuning.park_s,
            inbox=store,
            blobs=blobs,
        )
        try:
            governor.begin(world, store)
        except OmegaError:
            store.close()
            raise
        return cls(settings, store, identity, catalogue, world, effectors, governor=governor)

    # -- running

    def passport(self, principal: Caller | str = "") -> str:
        """A short-lived passport of this installation: the owner's own, or one for an agent (`agent:NAME`) with an agent's rights."""
        return self.identity.passport(principal, now_us=self.world.clock.now_us())

    def scope(self, principal: str = "") -> Scope:
        """The scope that such a passport proves."""
        return self.world.authority.verify(self.passport(principal), now=self.world.clock.now_us() / 1_000_000)

    async def revoke(self, passport: str, *, by: str = "", account: str = "") -> None:
        """Refuse the passport of that id, and all delegated from it, at the next gated call and ever after; the refusal holds before this
        first waits. Then it is put on record, with who asked for it. Raises Denied, StorageError where it could not be: it is refused all
        the same."""
        revoke(self.store, self.world.authority, passport, self.world.clock.now_us(), account=account)
        self._wallet.forget()
        await self._quietly(revoke_passport, {"passport": passport, "by": by or f"person:{self.settings.person}"})

    async def run(
        self,
        flow: AnyFlow,
        value: Any = None,
        *,
        execution: str = "",
        target: str = "",
        servers: Sequence[Server] = (),
        principal: Caller | str = "",
        budget: Budget | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        """Run `flow` durably to its end, down the road. A refusal or failure comes back in the Outcome."""
        try:
            bound = await self.prepare(flow, servers)
        except OmegaError as error:
            return Outcome(execution="", status=Status.FAILED, error=error.record())
        return await self.road.call(
            Call(
                passport=self._wallet.passport(principal, self.world.clock.now_us()),
                flow=bound,
                input=value,
                execution=execution,
                target=target,
                budget=budget,
                timeout_s=timeout_s,
            )
        )

    async def enqueue(self, wanted: Wanted) -> str:
        """Admit the flow that is wanted and line it up for the workers; gives its execution. Raises what `Engine.enqueue` raises."""
        call = Call(
            passport=self.passport(wanted.caller),
            flow=await self.prepare(wanted.target.flow, wanted.target.servers),
            input=wanted.input,
            execution=wanted.execution,
            target=wanted.target.text,
            budget=wanted.budget,
            timeout_s=wanted.timeout_s,
        )
        return await self.line_up(call, wanted.placing or Placing())

    async def line_up(self, call: Call, placing: Placing) -> str:
        """Admit `call`, whose flow is prepared, and leave it to workers; gives its execution. Raises what `Engine.enqueue` raises."""
        scope = self.world.authority.verify(call.passport, now=self.world.clock.now_us() / 1_000_000)
        return await self.engine.enqueue(
            call.flow,
            call.input,
            scope,
            execution=call.execution,
            target=call.target,
            budget=call.budget,
            timeout_s=call.timeout_s,
            queue=placing.queue,
            key=placing.key,
            priority=placing.priority,
            at_us=placing.due_us,
            labels=placing.labels,
            trace=call.trace,
            origin=call.origin,
        )

    async def fork(self, execution: str, target: Target, *, at: str, name: str = "", labels: Mapping[str, str], **given: Any) -> str:
        """Fork `execution` before its step `at`; with `value` that is the step's result. Raises what `runtime.forking.fork` raises."""
        flow = await self.prepare(target.flow, target.servers)
        return await fork(self.engine, execution, flow, self.scope(), at=at, name=name, labels=labels, **given)

    async def fulfil(self, order: Order, target: Target) -> Outcome:
        """Carry out the order of another process: see `omega.host.orders`. Raises OmegaError for what is refused before it starts."""
        if self.store.line(order.execution) is not None:  # read before, by an engine that did not come to answering
            return await self.engine.outcome(order.execution)
        call = Call(
            passport=order.passport,
            flow=await self.prepare(target.flow, target.servers),
            input=order.input,
            execution=order.execution,
            target="" if counter.own(order.target) else target.text,
            budget=order.budget,
            timeout_s=order.timeout_s,
        )
        if order.placing is None:
            return await self._unwatched(call)
        return Outcome(execution=await self.line_up(call, order.placing), status=Status.QUEUED)

    async def resume(self, execution: str, flow: AnyFlow, servers: Sequence[Server] = ()) -> Outcome:
        """Go on with an execution to its end. Raises what `Engine.resume` raises."""
        await self.engine.resume(execution, await self.prepare(flow, servers))
        return await self.engine.outcome(execution)

    async def replay(self, execution: str, flow: AnyFlow) -> Report:
        """Repeat an execution from its records: offline, nothing touched, nothing written."""
        return await replay(self.world, execution, self.catalogue.bound(flow))

    def watch(self, execution: str, principal: Caller | str = "", *, buffer: int = BUFFER) -> Watching:
        """The parts that `execution`, one of the caller's tenant, shows from now on. Raises what `Streams.watch` raises."""
        return self.world.streams.watch(self.scope(str(principal)).tenant, execution, buffer=buffer)

    async def prepare(self, flow: AnyFlow, servers: Sequence[Server] = ()) -> AnyFlow:
        """`flow` with its tools bound; a server declared beside it is looked at, and its descriptions accepted, the first time.

        Raises InputError (OMG-M012) where a description reads like an order: nothing of that server is accepted then.
        """
        for upstream in unpinned(self.catalogue, servers, self.settings):
            from omega.host.suspicion import demand_plain

            tools = await self.describe(upstream)
            demand_plain(tools, advice=f"read it; if it is right all the same: omega mcp add {upstream.name} --trusting ..., then again")
            await self.accept(upstream, tools)
        return self.catalogue.bound(flow)

    # -- deciding

    async def decide(self, execution: str, verb: str, body: dict[str, Any], principal: str = "") -> None:
        """Cancel, approve, resolve or signal. Raises what `omega.runtime.decisions.decide` raises."""
        await decide(self.engine, execution, verb, body, self.scope(principal))

    async def decide_anywhere(self, execution: str, verb: str, body: Mapping[str, Any], scope: Scope) -> int:
        """Decide for the person of `scope`, by letter where another engine has the execution in hand: see `omega.runtime.letters`."""
        return await decide_anywhere(self.engine, execution, verb, body, scope)

    def _chores(self) -> Iterable[tuple[str, Chore]]:
        """What an open engine does beside its executions."""
        yield "letters", self._read_letters
        yield "leases", self._keep_leases
        yield "usage", self._watch_usage
        yield "expiry", partial(watch_expiry, self)
        yield "revocations", self._sweep_revocations
        yield "levels", self.levels.keep
        yield "orders", self._follow if self.settings.store.shared else self._wait_for_orders

    async def _read_letters(self) -> None:
        while True:
            left = [letter for letter in self.store.letters() if not await self._answer(letter)]
            await asyncio.sleep(INBOX_POLL_S)
            while not left and not self.store.inbox_changed():  # noqa: ASYNC110 - another process's change, there is no event to wait for
                await asyncio.sleep(INBOX_POLL_S)

    async def _answer(self, letter: Letter) -> bool:
        """Carry out a letter once, as whoever wrote it; whether it is settled (see `omega.runtime.letters`)."""
        if not await carry_out(self.engine, letter):
            return False
        self.store.settle(letter.number)
        return True

    async def take_orders(self) -> int:
        """Carry out what other processes ordered so far; gives how much. Raises StorageError."""
        return await counter.serve(self.store, self.world.keyring, self, self.world.clock.now_us())

    async def _wait_for_orders(self) -> None:
        counter.forget_answers(self.store)
        while True:
            with suppress(StorageError):
                await self.take_orders()
            await asyncio.sleep(INBOX_POLL_S)

    async def _follow(self) -> None:
        """Learn what other engines on the same records have changed."""
        follower = Follower(self.store, self.world.authority)
        while True:
            await asyncio.sleep(FOLLOW_S)
            with suppress(StorageError):
                if follower.look(self.world.clock.now_us()):
                    self._wallet.forget()
                self.catalogue.read(self.store)
            with suppress(OmegaError):  # policies that do not load here: those in force stay so
                self.governor.follow(self.world.owner)

    async def _sweep_revocations(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            with suppress(StorageError):
                sweep(self.store, self.world.authority, self.world.clock.now_us())

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self.world.lease_us / 3_000_000)
            with suppress(OmegaError):
                await self.engine.renew()
                await self._tell_the_time()

    async def _watch_usage(self) -> None:
        """Put an agent that goes rogue into quarantine, where its tenant has arranged that."""

        async def put_away(tenant: str, principal: str, reason: str) -> None:
            passport = owner_passport(self.identity, tenant, self.world.clock.now_us())
            wanted = {"principal": principal, "reason": reason}
            done = await self._unwatched(Call(passport=passport, flow=isolate, input=wanted))
            if done.error is not None:  # the tenant's limits are used up, by the very rogue maybe: not those of the installation
                await self.ask(isolate, wanted | {"tenant": tenant})

        await watching.keep(self.store, self.store, put_away, self.world.warden.isolated)

    async def _tell_the_time(self) -> None:
        """Engines that share their records share a clock too: that of the records. Raises StorageError (OMG-S004)."""
        if isinstance(self.world.clock, SteadyClock):
            await self.world.clock.sync()

    # -- tools

    async def describe(self, upstream: Upstream) -> list[ToolDescription]:
        """What a server offers now. Raises UpstreamError with an M code."""
        from omega.adapters.mcp import describe
        from omega.host.openapi import OPENERS
        from omega.host.sandboxing import launcher

        return await describe(upstream, launcher(self.settings), openers=OPENERS)

    async def accept(self, upstream: Upstream, tools: Sequence[ToolDescription]) -> None:
        """Accept a server and the descriptions of its tools, in place of what was accepted before: an execution of its own, on record."""
        await self._quietly(accept_tools, {"upstream": upstream.to_json(), "tools": [tool.to_json() for tool in tools]})

    async def forget(self, name: str) -> None:
        """Forget a server and what was accepted of it: on record too. Raises InputError (OMG-M005) when it is not known."""
        await self._quietly(forget_tools, name)

    # -- arranging

    async def arrange(self, kind: str, name: str, body: Mapping[str, Any]) -> None:
        """Keep an arrangement (a queue, a schedule, a retention), on record. Raises InputError (OMG-I001), Denied."""
        await self._quietly(arrange, {"kind": kind, "name": name, "body": dict(body)})

    async def dissolve(self, kind: str, name: str) -> None:
        """Forget an arrangement, on record. Raises InputError (OMG-I003) when there is none of that name, Denied."""
        await self._quietly(dissolve, {"kind": kind, "name": name})

    # -- the log

    async def erase(self, ended_before_us: int) -> int:
        """Destroy payloads and keys of what this tenant ended before that moment; gives how many executions. Its leaves are the receipt.

        Raises Denied (OMG-C004 while a legal hold stands), InputError (OMG-I001).
        """
        return int((await self._quietly(erase, {"ended_before_us": ended_before_us}))["erased"])

    async def search_log(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Search the log of this tenant (see `omega.chronicle.search.Query`), on record. Raises InputError (OMG-I001), Denied."""
        return dict(await self._quietly(read_log, dict(wanted)))

    async def ask(self, flow: AnyFlow, value: Any, caller: Caller | str = "", *, origin: Mapping[str, str] | None = None) -> Any:
        """What a flow of the host's own gives, run down the road for `caller`, untold to whoever watches; `origin` is where what it tells
        of came from. Raises its error."""
        return await self._quietly(flow, value, caller, origin)

    async def _quietly(self, flow: AnyFlow, value: Any, caller: Caller | str = "", origin: Mapping[str, str] | None = None) -> Any:
        """Run a flow of the host's own, down the road, without telling whoever watches the flow that they asked for; gives its value."""
        outcome = await self._unwatched(Call(passport=self.passport(caller), flow=flow, input=value, origin=origin or {}))
        if outcome.error is not None:
            raise from_record(outcome.error)
        return outcome.value

    async def _unwatched(self, call: Call) -> Outcome:
        token = _QUIETLY.set(True)  # the execution's own task goes on in this context
        try:
            return await self.road.call(call)
        finally:
            _QUIETLY.reset(token)


_QUIETLY: ContextVar[bool] = ContextVar("quietly", default=False)
"""Whether what runs in this context is the host's own, of which whoever watches is told nothing."""


def _harmless(watch: Watch) -> Watch:
    """`watch`, asked no more once it raises: a broken terminal must not end what it shows. It hears nothing of what runs quietly."""
    if watch is unwatched:
        return watch
    listening = True

    def told(moment: Moment) -> None:
        nonlocal listening
        if listening and not _QUIETLY.get():
            try:
                watch(moment)
            except Exception:  # noqa: BLE001 - whatever the watcher raises is its own business
                listening = False

    return told


def run(
    flow: AnyFlow,
    value: Any = None,
    *,
    home: str | Path | None = None,
    principal: str = "",
    budget: Budget | None = None,
    effectors: Iterable[Effector] = (),
) -> Any:
    """Run `flow` durably to its end and give its value as plain data: for scripts and notebooks. Raises what the flow raises."""

    async def whole() -> Outcome:
        async with Omega.open(home, effectors=effectors) as omega:
            return await omega.run(flow, value, principal=principal, budget=budget)

    outcome = _to_its_end(whole())
    if outcome.error is not None:
        raise from_record(outcome.error)
    return outcome.value


def _to_its_end(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """The outcome of `work`, on an event loop of its own: in this thread, or in another where a loop runs here already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="omega-run") as thread:
        return thread.submit(asyncio.run, work).result()
