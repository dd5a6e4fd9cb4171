"""What the guard does by itself, carried out: each act is a touch of a gated flow, looked at once more before it is done.

    redrive     a letter to whoever has the execution, as the person in whose name the sweep runs: the gate is asked about `redrive` as
                ever. Its id follows from the execution and the moment it died, so one death is redriven once, however many sweeps see it
    isolate     the document that `omega quarantine add` writes; two people release it
    pause       the document of the schedule or queue, changed in that one point, unless somebody else changes it meanwhile

What was arranged (`ORDERS`) and when which act was done (`ACTED`) are documents named after the tenant, so they go with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from omega.defence.guard.acting import Do, Facts, Orders, Survey, rested
from omega.host.arrangements import Documents, Shelf, arranged
from omega.host.quarantine import QuarantineEffector, isolated
from omega.host.queues import QUEUE, Queue, arranged_queues
from omega.host.schedules import SCHEDULE, Schedule, schedules
from omega.host.settings import TENANT
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError, StorageError
from omega.kernel.ids import LETTER, new_id
from omega.kernel.journal import Status
from omega.kernel.past import Past
from omega.kernel.ports import Search
from omega.kernel.verdict import Permit
from omega.runtime.recovery import load
from omega.trust import letter

if TYPE_CHECKING:
    from omega.kernel.scope import Scope
    from omega.runtime.world import Inbox, World

ORDERS: Final = "guard-orders"
"""The kind of the documents that say what the guard may do by itself; each is named after its tenant."""

ACTED: Final = "guard-acted"
"""The kind of the documents that note when the guard last did which act, one per tenant."""

MOST_NOTED: Final = 1_000
"""Most acts that are noted per tenant; the oldest are forgotten."""

MOST_DEAD: Final = 200
"""Most dead executions that are looked at in one sweep, newest first: each takes a look at its journal."""

HOUR_US: Final = 3_600_000_000

DECIDERS: Final = "deciders"
"""The group whose members decide about executions whoever they are (see the rule `people-decide`)."""


class GuardEffector:
    """Serves `Survey` and `Do`. The tenant comes from the permit, never from the request."""

    port = Survey.port

    def __init__(
        self, world: World, shelf: Shelf, quarantine: QuarantineEffector, now_us: Callable[[], int], *, home: str = TENANT
    ) -> None:
        """`home` is the installation's own tenant: queues are its own to pause."""
        self._world, self._shelf, self._quarantine, self._now_us, self._home = world, shelf, quarantine, now_us, home

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the `Facts`, or whether the act was done: False for one that is not due any more.

        Raises InputError (OMG-I001) for another request, (OMG-I005) for what is not arranged; Denied, IntegrityError, StorageError.
        """
        permit.spend(self.port)
        if isinstance(request, Survey):
            return self._facts(permit.tenant), Receipt()
        if not isinstance(request, Do):
            raise InputError("OMG-I001", f"the guard looks and acts, there is no {type(request).__name__}")
        return self._done(permit, request, execution), Receipt()

    # -- looking

    def _facts(self, tenant: str) -> Facts:
        orders = orders_of(self._shelf, tenant)
        if not orders.any:
            return Facts()
        tried, doubtful = self._dead(tenant) if orders.redrive else ({}, [])
        found = schedules(self._shelf, self._world.keyring)[0] if orders.pause else []
        return Facts(
            orders=orders,
            tried=tried,
            doubtful=doubtful,
            schedules=[each.name for each in found if not each.paused and each.claims.get("tenant") == tenant],
            paused=[each.name for each in arranged_queues(self._shelf).values() if each.paused],
            queues=tenant == self._home,
            locked=[each.principal for each in isolated(self._shelf) if each.tenant == tenant],
            noted={key: at_us for key, (at_us, _) in (arranged(self._shelf, ACTED, tenant) or {}).items()},
        )

    def _dead(self, tenant: str) -> tuple[dict[str, int], list[str]]:
        """How often each dead execution was redriven, by whomever; and which have a step in doubt."""
        tried, doubtful = {}, []
        for line in self._world.reader.search(Search(tenant=tenant, status=(Status.DEAD,), limit=MOST_DEAD)):
            past = Past(self._world.reader.rows(line.execution))
            tried[line.execution] = past.redriven
            if past.doubts():
                doubtful.append(line.execution)
        return tried, doubtful

    # -- acting

    def _done(self, permit: Permit, wanted: Do, execution: str) -> bool:
        """Note the act, then carry it out: a step that is repeated after a crash finds its own note, and says that it was done."""
        key, step = f"{wanted.kind} {wanted.about}", permit.idempotency_key()
        noted = (arranged(self._shelf, ACTED, permit.tenant) or {}).get(key, (0, ""))
        act = self._prepared(permit, wanted, execution, 0 if noted[1] == step else noted[0])
        if act is None:
            return bool(noted[1] == step)
        self._note(permit.tenant, key, step)
        return act()

    def _prepared(self, permit: Permit, wanted: Do, execution: str, noted_us: int) -> Callable[[], bool] | None:
        """What carries the act out, None where it is not due any more; it was last done at `noted_us`. Raises InputError (OMG-I005)."""
        orders = orders_of(self._shelf, permit.tenant)
        allowed = {"redrive": orders.redrive > 0, "isolate": orders.isolate, "schedule": orders.pause, "queue": orders.pause}
        if not allowed.get(wanted.kind, False):
            raise InputError("OMG-I005", f"the guard may not {wanted.kind[:16]} here by itself", advice="omega guard act --help")
        match wanted.kind:
            case "redrive":
                return self._redrive(permit.tenant, wanted, execution, orders.redrive, noted_us)
            case "isolate":
                return self._isolate(permit, wanted)
            case "schedule":
                return self._pause_schedule(permit.tenant, wanted.about)
            case _:
                return self._pause_queue(permit.tenant, wanted.about)

    def _redrive(self, tenant: str, wanted: Do, execution: str, most: int, noted_us: int) -> Callable[[], bool] | None:
        world, now = self._world, self._now_us()
        line = world.reader.line(wanted.about)
        if line is None or line.tenant != tenant or line.status != Status.DEAD or line.updated_us != wanted.since_us:
            return None
        past = Past(world.reader.rows(line.execution))
        waited = rested(past.redriven, max(line.updated_us, noted_us), now)
        if past.redriven >= most or past.doubts() or not waited or world.inbox is None:
            return None
        scope = load(world, execution)[1].scope
        _demand_person(scope)
        seed = f"{tenant}/{line.execution}/{past.redriven}/{line.updated_us}"
        contents = letter.Contents(
            id=new_id(LETTER, now_ms=line.updated_us // 1_000, entropy=hashlib.sha256(seed.encode()).digest()),
            body={},
            until_s=letter.end_of(scope, now / 1_000_000),
            claims=scope.claims() | ({} if scope.delegated else {"actors": []}),
        )
        sealed = letter.seal(contents, execution=line.execution, verb="redrive", keyring=world.keyring)
        return partial(_posted, world.inbox, line.execution, sealed, now)

    def _isolate(self, permit: Permit, wanted: Do) -> Callable[[], bool] | None:
        """Whoever is locked out already stays so, for the reason that stands: a release that one person gave is not undone."""
        locked = {each.principal for each in isolated(self._shelf) if each.tenant == permit.tenant}
        if wanted.about == permit.principal or wanted.about in locked:
            return None
        reason = f"the guard: {wanted.why}"[:300]
        return lambda: bool(self._quarantine.lock_out(permit.tenant, wanted.about, reason, permit.principal))

    def _pause_schedule(self, tenant: str, name: str) -> Callable[[], bool] | None:
        kept = self._shelf.document(SCHEDULE, name)
        if kept is None:
            return None
        found = Schedule.open(name, json.loads(kept), self._world.keyring)
        if found.paused or found.claims.get("tenant") != tenant:
            return None
        return partial(self._swap, SCHEDULE, name, kept, replace(found, paused=True).seal(self._world.keyring))

    def _pause_queue(self, tenant: str, name: str) -> Callable[[], bool] | None:
        """Queues are the installation's; one in which another tenant's work ended well within the hour is not paused for them."""
        well = self._world.reader.search(Search(queue=name, status=(Status.DONE,), after_us=self._now_us() - HOUR_US, limit=1))
        kept = self._shelf.document(QUEUE, name)
        found = Queue(name) if kept is None else Queue.read(name, json.loads(kept))
        if tenant != self._home or well or found.paused:
            return None
        return partial(self._swap, QUEUE, name, kept, replace(found, paused=True).record())

    def _swap(self, kind: str, name: str, was: bytes | None, body: Mapping[str, Any]) -> bool:
        """Write what follows from `was`. Whoever changed it meanwhile has looked at it: theirs stands, and the next sweep looks again."""
        return self._shelf.swap_document(kind, name, was, json.dumps(dict(body)).encode(), self._now_us())

    def _note(self, tenant: str, key: str, step: str) -> None:
        """Note that an act is done now, by that step. Raises StorageError (OMG-S004) when others keep noting at the same time."""
        for _ in range(10):
            kept = self._shelf.document(ACTED, tenant)
            noted = {**({} if kept is None else json.loads(kept)), key: (self._now_us(), step)}
            latest = dict(sorted(noted.items(), key=lambda each: -each[1][0])[:MOST_NOTED])
            if self._swap(ACTED, tenant, kept, latest):
                return
        raise StorageError("OMG-S004", "what the guard did could not be noted")


def _demand_person(scope: Scope) -> None:
    """Raise Denied (OMG-W007) for a sweep in whose name nothing would be redriven: it would be told, and refused when the letter is read.
    A schedule is nobody else, so what one starts decides as the person who made it."""
    if DECIDERS not in scope.groups and (scope.delegated or not scope.principal.startswith("person:")):
        raise Denied(
            "OMG-W007", "what was given up is redriven in the name of a person", advice="have a schedule of a person's do the sweep"
        )


def _posted(inbox: Inbox, execution: str, sealed: Mapping[str, Any], at_us: int) -> bool:
    inbox.post(execution, "redrive", dict(sealed), at_us)
    return True


def orders_of(documents: Documents, tenant: str) -> Orders:
    """What the guard may do by itself in `tenant`; nothing unless that was arranged."""
    found = arranged(documents, ORDERS, tenant)
    return Orders() if found is None else Orders.model_validate(found)


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the guard may do, as it is kept (see `arrangements.Reading`). Raises InputError (OMG-I001)."""
    try:
        return Orders.model_validate(dict(body), strict=True).model_dump()
    except ValidationError as error:
        cause = "the guard is told how often to redrive (0 to 10), whether to isolate and whether to pause"
        raise InputError("OMG-I001", cause, advice="omega guard act --help") from error
