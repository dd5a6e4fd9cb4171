"""An embedded Omega: the whole house in one process on one folder.

    async with Omega.open() as omega:
        outcome = await omega.run(triage, ticket)

`run` is the same for a script or a notebook: `omega.run(triage, ticket)`. The folder (OMEGA_HOME) belongs to one engine at a time; reading
commands work beside it, deciding ones reach it through its inbox.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omega.adapters.files import FileEffector
from omega.adapters.mcp import McpEffector, ToolDescription, Upstream, describe
from omega.adapters.models import ModelEffector
from omega.adapters.process import ProcessEffector, launch
from omega.adapters.records import RecordsEffector
from omega.adapters.sqlite import SqliteStore
from omega.host.additions import installed_effectors
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Caller, Identity
from omega.host.policy import load_bundle
from omega.host.settings import Settings
from omega.host.tools import Catalogue, CatalogueEffector, accept_tools, forget_tools, unpinned
from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import DefinitionError, OmegaError, from_record
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Effector, Letter, Outcome
from omega.kernel.scope import Scope
from omega.kernel.servers import Server
from omega.runtime.decisions import decide
from omega.runtime.engine import Engine
from omega.runtime.recovery import LEASE_US
from omega.runtime.replay import Report, replay
from omega.runtime.road import EngineRoad
from omega.runtime.world import Moment, Watch, World, unwatched
from omega.warden.admit import Warden

REVOKED = "revoked"
"""The kind of the documents that name revoked passports."""

INBOX_POLL_S = 0.1
"""How often a live engine looks for letters of other processes: one cheap read."""


@runtime_checkable
class Closing(Protocol):
    """An effector that holds servers or connections."""

    async def aclose(self) -> None: ...


class Omega:
    """An open embedded engine. Make one with `Omega.open`."""

    def __init__(
        self, settings: Settings, store: SqliteStore, identity: Identity, catalogue: Catalogue, world: World, closing: Sequence[Effector]
    ) -> None:
        self.settings = settings
        self.store = store
        self.identity = identity
        self.catalogue = catalogue
        self.world = world
        self.engine = Engine(world)
        self.road = EngineRoad(self.engine)
        self._closing = closing

    @classmethod
    @asynccontextmanager
    async def open(
        cls, home: str | os.PathLike[str] | None = None, *, watch: Watch = unwatched, effectors: Iterable[Effector] = ()
    ) -> AsyncIterator[Omega]:
        """Become the engine of a folder (OMEGA_HOME unless given), making keys and database on first use.

        `effectors` serve ports beside the built-in ones and those of installed packages; the same port cannot be served twice (OMG-F003).

        Raises StorageError: OMG-S001 while another engine works there, OMG-S002 when it is not usable, OMG-T003 when its keys are not
        the owner's alone; InputError (OMG-W003) when a policy file is wrong.
        """
        omega = cls._wire(Settings.load(home), watch, (*installed_effectors(), *effectors))
        chores = [asyncio.create_task(omega._read_letters()), asyncio.create_task(omega._keep_leases())]
        try:
            yield omega
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            await omega.engine.close()
            for each in omega._closing:
                if isinstance(each, Closing):
                    await each.aclose()
            with suppress(OmegaError):
                await omega.store.flush()
            omega.store.close()

    @classmethod
    def _wire(cls, settings: Settings, watch: Watch, more: Sequence[Effector]) -> Omega:
        clock, entropy = SystemClock(), SystemEntropy()
        bundle = load_bundle(settings.policies)
        identity = Identity.load(settings, entropy)
        store = SqliteStore.open(settings.home, sequencer=identity.sequencer, owner="embedded", now_us=clock.now_us)
        try:
            for passport, _ in store.documents(REVOKED):
                identity.authority.revoke(passport)
            catalogue = Catalogue(store)
            effectors = _by_port((*_built_in(store, catalogue, clock.now_us), *more))
        except OmegaError:
            store.close()
            raise
        world = World(
            store=store,
            reader=store,
            clock=clock,
            entropy=entropy,
            warden=Warden(bundle),
            keyring=identity.keyring,
            authority=identity.authority,
            effectors=effectors,
            bind=catalogue.bind,
            watch=_harmless(watch),
        )
        return cls(settings, store, identity, catalogue, world, tuple(effectors.values()))

    # -- running

    def passport(self, principal: Caller | str = "") -> str:
        """A short-lived passport of this installation: the owner's own, or one for an agent (`agent:NAME`) with an agent's rights."""
        return self.identity.passport(principal, now_us=self.world.clock.now_us())

    def scope(self, principal: str = "") -> Scope:
        """The scope that such a passport proves."""
        return self.world.authority.verify(self.passport(principal), now=self.world.clock.now_us() / 1_000_000)

    def revoke(self, passport: str) -> None:
        """Refuse the passport of that id, and all delegated from it, at the next gated call and ever after."""
        self.store.put_document(REVOKED, passport, b"", self.world.clock.now_us())
        self.world.authority.revoke(passport)

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
                passport=self.passport(principal),
                flow=bound,
                input=value,
                execution=execution,
                target=target,
                budget=budget,
                timeout_s=timeout_s,
            )
        )

    async def resume(self, execution: str, flow: AnyFlow, servers: Sequence[Server] = ()) -> Outcome:
        """Go on with an execution to its end. Raises what `Engine.resume` raises."""
        await self.engine.resume(execution, await self.prepare(flow, servers))
        return await self.engine.outcome(execution)

    async def replay(self, execution: str, flow: AnyFlow) -> Report:
        """Repeat an execution from its records: offline, nothing touched, nothing written."""
        return await replay(self.world, execution, self.catalogue.bound(flow))

    async def prepare(self, flow: AnyFlow, servers: Sequence[Server] = ()) -> AnyFlow:
        """`flow` with its tools bound; a server declared beside it is looked at, and its descriptions accepted, the first time."""
        for upstream in unpinned(self.catalogue, servers):
            await self.accept(upstream, await self.describe(upstream))
        return self.catalogue.bound(flow)

    # -- deciding

    async def decide(self, execution: str, verb: str, body: dict[str, Any], principal: str = "") -> None:
        """Cancel, approve, resolve or signal. Raises what `omega.runtime.decisions.decide` raises."""
        await decide(self.engine, execution, verb, body, self.scope(principal))

    async def _read_letters(self) -> None:
        while True:
            for letter in self.store.letters():
                await self._answer(letter)
            await asyncio.sleep(INBOX_POLL_S)
            while not self.store.inbox_changed():  # noqa: ASYNC110 - the change is another process's, there is no event to wait for
                await asyncio.sleep(INBOX_POLL_S)

    async def _answer(self, letter: Letter) -> None:
        """Carry out a letter once. One that cannot be carried out is settled too: its writer looked at the execution before."""
        with suppress(OmegaError):
            await self.decide(letter.execution, letter.verb, dict(letter.body))
        self.store.settle(letter.number)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(LEASE_US / 3_000_000)
            with suppress(OmegaError):
                await self.engine.renew()

    # -- tools

    async def describe(self, upstream: Upstream) -> list[ToolDescription]:
        """What a server offers now. Raises UpstreamError with an M code."""
        return await describe(upstream, launch)

    async def accept(self, upstream: Upstream, tools: Sequence[ToolDescription]) -> None:
        """Accept a server and the descriptions of its tools, in place of what was accepted before: an execution of its own, on record."""
        await self._quietly(accept_tools, {"upstream": upstream.to_json(), "tools": [tool.to_json() for tool in tools]})

    async def forget(self, name: str) -> None:
        """Forget a server and what was accepted of it: on record too. Raises InputError (OMG-M005) when it is not known."""
        await self._quietly(forget_tools, name)

    async def _quietly(self, flow: AnyFlow, value: Any) -> None:
        """Run a flow of the host's own, down the road, without telling whoever watches the flow that they asked for."""
        watch, self.world.watch = self.world.watch, unwatched
        try:
            outcome = await self.road.call(Call(passport=self.passport(), flow=flow, input=value))
        finally:
            self.world.watch = watch
        if outcome.error is not None:
            raise from_record(outcome.error)


def _built_in(store: SqliteStore, catalogue: Catalogue, now_us: Callable[[], int]) -> tuple[Effector, ...]:
    return (
        ProcessEffector(),
        FileEffector(),
        McpEffector(catalogue.upstream, catalogue.pin, launch),
        ModelEffector(),
        RecordsEffector(store),
        CatalogueEffector(catalogue, store, now_us),
    )


def _by_port(effectors: Iterable[Effector]) -> dict[str, Effector]:
    found: dict[str, Effector] = {}
    for each in effectors:
        if each.port in found:
            raise DefinitionError(
                "OMG-F003", f"two effectors serve the port {each.port}", advice="leave one of them out, or give it a port of its own"
            )
        found[each.port] = each
    return found


def _harmless(watch: Watch) -> Watch:
    """`watch`, asked no more once it raises: a broken terminal must not end what it shows."""
    listening = True

    def told(moment: Moment) -> None:
        nonlocal listening
        if listening:
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
