"""Who is told of tasks, in an open Omega: configurations as the desk keeps them, and the teller that starts deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from omega.adapters.webhooks.effector import GONE
from omega.adapters.webhooks.reach import checked_url, networks
from omega.gateway.a2a import CONTEXT, LABEL
from omega.gateway.front.core import Visitor
from omega.host.a2a_push import NEEDS, PUSH, TOLD, Config, Tell, demand_room, document_name, prefix_of, task_of, tell, untell
from omega.host.webhooks import JITTER, WAITS_S
from omega.kernel.budget import Budget
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.errors import InputError, OmegaError, StorageError, UpstreamError, from_record
from omega.kernel.flow import flow
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Line, Search
from omega.kernel.scope import SCHEDULER, Scope
from omega.runtime import admission
from omega.wire.a2a import messages

if TYPE_CHECKING:
    from omega.host.embedded import Omega

DELIVERY: Final = "a2a-push"
"""The label that names the configuration on each delivery."""

KEPT_S: Final = sum(WAITS_S) * (1 + JITTER) + 86_400.0
"""How long (seconds) the configurations of a task that has ended are kept: until the last attempt to tell of its end, and a day."""

MAX_RECOVERED: Final = 1_000
"""Most deliveries that a start looks at for those that an earlier process left."""

LOOK_S: Final = 0.5
"""How often a teller looks how tasks stand, in seconds."""

FORGET_S: Final = 60.0
"""How often a teller looks for configurations to forget, in seconds."""

OTHERS_AFTER: Final = 20
"""After how many configurations a teller lets others run."""

_UNFINISHED: Final = (Status.QUEUED, Status.RUNNING, Status.WAITING, Status.IN_DOUBT)
_STATES: Final = {
    Status.DONE: messages.COMPLETED,
    Status.FAILED: messages.FAILED,
    Status.CANCELLED: messages.CANCELED,
    Status.WAITING: messages.INPUT_REQUIRED,
    Status.IN_DOUBT: messages.INPUT_REQUIRED,
}
"""The states that are worth telling. A task that the gate refused never had anybody to tell."""


class Pushing:
    """Configurations, as the desk of an open Omega keeps them. `allowed` gives the private networks that an agent may tell."""

    def __init__(self, omega: Omega, allowed: Callable[[str], Sequence[str]]) -> None:
        self._omega, self._allowed = omega, allowed

    def check(self, agent: str, url: str, scope: Scope) -> None:
        """Raise Denied (OMG-P011) or InputError (OMG-I001) for an address that callers of `agent` may not leave, and for a caller who has
        left as many as there may be."""
        checked_url(url, networks(self._allowed(agent)))
        demand_room(self._omega.store, scope.tenant, scope.principal)

    async def keep(self, line: Line, given: Mapping[str, Any], visitor: Visitor) -> dict[str, Any]:
        """Keep a configuration of the task on `line`; gives it. Raises InputError (OMG-I001), Denied (OMG-P011), what the road refuses."""
        agent = str(line.labels.get(LABEL, ""))
        checked_url(str(given["url"]), networks(self._allowed(agent)))
        proof = given.get("authentication") or {}
        made = Config(
            id=str(given.get("id") or sha256(str(given["url"]).encode()).hexdigest()[:16]),
            task=line.execution,
            agent=agent,
            url=str(given["url"]),
            claims=visitor.scope.claims(),
            token=str(given.get("token", "")),
            scheme=str(proof.get("scheme", "")),
            credentials=str(proof.get("credentials", "")),
        )
        body = made.seal(self._omega.world.keyring)
        await self._call(tell, {"name": made.name, "task": line.execution, "body": body}, visitor)
        return made.shown()

    async def drop(self, line: Line, id: str, visitor: Visitor) -> None:
        """Forget a configuration; one of somebody else is left alone. Raises what the road refuses with."""
        name = document_name(visitor.scope.claims(), line.execution, id)
        if self._omega.store.document(PUSH, name) is not None:
            await self._call(untell, {"name": name, "task": line.execution}, visitor)

    def kept(self, line: Line, scope: Scope) -> list[dict[str, Any]]:
        """The configurations that this caller left with a task, by id: those of the same principal for whom the same act."""
        documents = self._omega.store.documents(PUSH, prefix_of(scope.tenant, scope.principal, line.execution))
        found = [Config.open(name, body, self._omega.world.keyring) for name, body in documents]
        own = [config for config in found if list(config.claims["actors"]) == list(scope.actors)]
        return sorted((config.shown() for config in own), key=lambda each: str(each["id"]))

    async def _call(self, wanted: AnyFlow, value: dict[str, Any], visitor: Visitor) -> None:
        outcome = await self._omega.road.call(Call(passport=visitor.passport, flow=wanted, input=value))
        if outcome.error is not None:
            raise from_record(outcome.error)


@flow(name="a2a.post", effect="idempotent", needs=NEEDS)
async def post(ctx: Context, wanted: dict[str, Any]) -> int:
    """One attempt: `name`, `id`, `document`; gives the status of the answer."""
    status: int = await ctx.touch(Tell(name=str(wanted["name"]), id=str(wanted["id"]), document=wanted["document"]))
    return status


@flow(name="a2a.push", effect="idempotent", needs=NEEDS)
async def push(ctx: Context, wanted: dict[str, Any]) -> int:
    """Tell one state: `name`, `id`, `document`; gives the status of the answer. Fails after the last attempt, or at once when the receiver
    is gone."""
    for wait_s in WAITS_S:
        try:
            return int(await ctx.call(post, wanted))
        except UpstreamError as error:
            if error.details.get("status") == GONE:
                raise
        await ctx.sleep(wait_s * (1 + JITTER * await ctx.random()))
    return int(await ctx.call(post, wanted))


@dataclass(slots=True)
class _Known:
    """A configuration as a teller keeps it: opened once for as long as its document is the same, and without its secrets. `told_us` is the
    change of the task that was told last, `over` that there is nothing more to tell."""

    body: bytes
    config: Config | None
    told_us: int = -1
    over: bool = False


class Teller:
    """Starts deliveries."""

    def __init__(self, omega: Omega) -> None:
        self._omega = omega
        self._recovered = False
        self._known: dict[str, _Known] = {}
        self._forgot_us = 0

    async def run(self) -> None:
        """Look for ever. A store that fails is looked at again."""
        while True:
            with suppress(StorageError):
                await self.tick()
            await asyncio.sleep(LOOK_S)

    async def tick(self) -> int:
        """Start what is to be told; gives how many deliveries were started. Raises StorageError."""
        documents = self._omega.store.documents(PUSH)
        if not self._recovered and documents:
            await self._recover()
        self._recovered = True
        names = {name for name, _ in documents}
        self._known = {name: known for name, known in self._known.items() if name in names}
        started = 0
        for number, (name, body) in enumerate(documents, 1):
            if number % OTHERS_AFTER == 0:
                await asyncio.sleep(0)
            known = self._opened(name, body)
            if known.config is None or known.over:
                continue
            try:
                started += await self._look(known, known.config)
            except StorageError:
                raise
            except OmegaError:  # of somebody whose passport was revoked, say: the others are told
                known.over = True
        await self._forget_old()
        return started

    def _opened(self, name: str, body: bytes) -> _Known:
        """The configuration in a document; nothing is there to be told where it cannot be opened."""
        known = self._known.get(name)
        if known is not None and known.body == body:
            return known
        config = None
        with suppress(OmegaError):
            config = replace(Config.open(name, body, self._omega.world.keyring), token="", credentials="")
        self._known[name] = _Known(body, config)
        return self._known[name]

    async def _look(self, known: _Known, config: Config) -> int:
        line = self._omega.store.line(config.task)
        state = None if line is None else _STATES.get(Status(line.status))
        if line is None or state is None:
            known.over = line is None
            return 0
        if known.told_us != line.updated_us:
            noted = (self._omega.store.document(TOLD, config.name) or b"").decode() == f"{line.updated_us}"
            if not noted:
                await self._start(config, line, state)
                self._omega.store.put_document(TOLD, config.name, f"{line.updated_us}".encode(), self._omega.world.clock.now_us())
            known.told_us = line.updated_us
            return int(not noted)
        known.over = Status(line.status).ended
        return 0

    async def _start(self, config: Config, line: Line, state: str) -> None:
        """One delivery, on record when this returns, unless another teller was first."""
        world = self._omega.world
        told = {
            "taskId": line.execution,
            "contextId": str(line.labels.get(CONTEXT, "")),
            "status": {"state": state, "timestamp": messages.timestamp(line.updated_us)},
        }
        execution = f"told-{sha256(config.name.encode()).hexdigest()[:32]}@{line.updated_us}"
        value = {"name": config.name, "id": execution, "document": {"statusUpdate": told}}
        order = admission.Order(
            execution=execution,
            flow=push,
            data=push.input.encode(value)[0],
            scope=world.authority.restore(config.claims).acting(SCHEDULER),
            budget=Budget(),
            target=f"{__name__}:push",
            line=admission.Line(labels={DELIVERY: config.task}),
        )
        try:
            await self._omega.engine.launch(order, value)
        except (InputError, StorageError) as error:
            if error.code != "OMG-R010":
                raise

    async def _recover(self) -> None:
        """Go on with deliveries that an earlier process left."""
        for line in self._omega.store.search(Search(flow=push.name, status=_UNFINISHED, limit=MAX_RECOVERED)):
            with suppress(OmegaError):  # it runs, here or elsewhere, or is not to be gone on with
                await self._omega.engine.resume(line.execution, push)

    async def _forget_old(self) -> None:
        """Forget what there is nothing more to tell under, once its task has been over for `KEPT_S`."""
        store, now_us = self._omega.store, self._omega.world.clock.now_us()
        if 0 <= now_us - self._forgot_us < FORGET_S * 1_000_000:
            return
        self._forgot_us = now_us
        done = [name for name, known in self._known.items() if known.over or known.config is None]
        for number, name in enumerate(done, 1):
            if number % OTHERS_AFTER == 0:
                await asyncio.sleep(0)
            line = store.line(task_of(name))
            if line is None or line.updated_us < now_us - KEPT_S * 1_000_000:
                store.drop_document(PUSH, name)
                store.drop_document(TOLD, name)


@asynccontextmanager
async def telling(omega: Omega) -> AsyncIterator[Teller]:
    """Tell callers of their tasks for as long as this is open."""
    teller = Teller(omega)
    running = asyncio.create_task(omega.chores.keep("a2a notices", teller.run))
    try:
        yield teller
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
