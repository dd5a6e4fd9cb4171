"""The desk behind the pages where people register passkeys, and approve with them what waits for a person.

It asks for keys (`omega.host.passkeys`) and has factors come and go (`omega.host.enrolling`). An answer about a decision goes to the
decision itself, down the same way as any other: nothing here approves anything.

A key is bound to the name in the address of the page that asks, so a page counts only at an address that is this gateway's own
(`own_origins`); at any other nothing is asked, whatever the `Host` header says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from omega.gateway.front.core import Visitor
from omega.host.account import moment
from omega.host.embedded import Omega
from omega.host.enrolling import REGISTER, REMOVE, factors, register_passkey, remove_passkey
from omega.host.mfa import FACTOR, name_of
from omega.host.passkeys import Passkeys, Person
from omega.host.reading import Archive
from omega.host.settings import TENANT
from omega.host.whereabouts import known, named
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import Denied, InputError, IntegrityError, from_record
from omega.kernel.ids import is_chosen_id
from omega.kernel.journal import Status, Step, decode_meta
from omega.kernel.past import Past, Recorded
from omega.kernel.people import question_of
from omega.kernel.ports import Call, Line, Road, Search
from omega.kernel.scope import Scope
from omega.kernel.trail import shown
from omega.runtime.decisions import one_step
from omega.trust import passkeys
from omega.warden.approvals import OWNER, PASSKEY, PROVEN, STEP_UP

MOST_WAITING = 100
"""Most runs that are looked through for what waits: a page of more is read by nobody."""

DEFAULT_PORTS = {"http": 80, "https": 443}


def own_origins(url: str, hosts: Iterable[str], public: Iterable[str] = ()) -> frozenset[str]:
    """The origins of this gateway's own pages: those where it listens (`url`, under each of its `hosts`), and, where a proxy stands before
    it, its `public` names over HTTPS at the usual port."""
    found = urlsplit(url)
    port = "" if found.port in (None, DEFAULT_PORTS.get(found.scheme)) else f":{found.port}"
    return frozenset({*(f"{found.scheme}://{host}{port}" for host in hosts), *(f"https://{name}" for name in public)})


def approval_path(execution: str, step: str = "") -> str:
    """Where the page stands on which a step is approved."""
    return f"/approvals?{urlencode({'execution': execution} | ({'step': step} if step else {}))}"


def page_at(archive: Archive, path: str) -> str:
    """The address of a page of the gateway of this folder; empty where none answers."""
    url = known(archive.settings.home)
    return f"{named(url)}{path}" if url else ""


def page_for(home: str | os.PathLike[str] | None, execution: str, text: str) -> str | None:
    """Where the person of this folder approves the step that `text` means, when a terminal cannot: it takes a passkey, or a second factor
    and they have nothing but passkeys. Empty when no gateway answers, None for any other step.

    Raises InputError (OMG-I003, OMG-I004, OMG-I005), StorageError.
    """
    with Archive.open(home) as archive:
        past = Past(archive.reader.rows(execution))
        steps = past.waits()
        role = str(_decision(one_step(past, text, steps, "waits for an approval")).get("role", "")) if steps else ""
        name = (TENANT, f"person:{archive.settings.person}")
        keys = Passkeys.reading(archive.reader, archive.identity.keyring, name)
        apps = archive.reader.document(FACTOR, name_of(*name))
        if role == PASSKEY or (role == STEP_UP and keys and apps is None):
            return page_at(archive, approval_path(execution, text))
    return None


class Stands(Protocol):
    """The house, as far as the desk stands in it."""

    omega: Omega
    origins: frozenset[str]

    @property
    def road(self) -> Road: ...

    def line(self, execution: str, scope: Scope) -> Line: ...

    def input_of(self, execution: str, scope: Scope) -> Any: ...


class FactorDesk:
    """What the pages ask for, each in the name of a visitor."""

    def __init__(self, house: Stands) -> None:
        self._house = house
        world = house.omega.world
        self._keys = Passkeys(house.omega.store, world.keyring, world.clock.now_us, world.entropy.take)

    # -- keys

    def ring(self, visitor: Visitor, base: str) -> dict[str, Any]:
        """The visitor's keys and other factors; `here` says why there can be no passkeys at `base`, empty where there can."""
        person = _person(visitor.scope)
        found = factors(self._house.omega.store, self._keys, person)
        keys = [held.record() | {"made": moment(held.made_us), "used": moment(held.used_us)} for held in self._keys.keys(person)]
        try:
            passkeys.domain_of(self._origin(base))
            passkeys.demand_library()
            why = ""
        except (InputError, Denied) as error:
            why = error.cause
        return {"person": person[1], "keys": keys, "code": "code" in found, "here": why}

    def ask(self, visitor: Visitor, base: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """What the browser is to ask the key for `wanted["for"]`: register, remove (`key`), approve (`execution`, `step`) or cancel
        (`execution`). `prove` asks a key that counts, `create` a new one; `code` says that the code of an authenticator app is asked for.

        Raises InputError (OMG-I001, OMG-I003 where there is no key, or nothing such), Denied.
        """
        person, origin = _person(visitor.scope), self._origin(base)
        purpose, execution, step = (_text(wanted, name) for name in ("for", "execution", "step"))
        if purpose == REGISTER:
            found = factors(self._house.omega.store, self._keys, person)
            prove = self._keys.ask(person, (REGISTER,), origin) if "passkey" in found else None
            return {"create": self._keys.ask_new(person, origin), "prove": prove, "code": prove is None and "code" in found}
        if purpose == REMOVE:
            return {"prove": self._keys.ask(person, (REMOVE, _text(wanted, "key")), origin)}
        if purpose == "approve":
            _, recorded = self._one(visitor.scope, execution, step)
            about = ("approve", execution, recorded.position)
            return {"prove": self._keys.ask(person, about, origin), "step": recorded.position}
        if purpose == "cancel":
            return {"prove": self._keys.ask(person, ("cancel", _named(execution), ""), origin)}
        raise InputError("OMG-I001", "a passkey is asked for to register, remove, approve or cancel")

    async def register(self, visitor: Visitor, body: Mapping[str, Any]) -> dict[str, Any]:
        """Register the key of `body` (`name`, `said`, `proof`) as the visitor's, on record. Raises what `FactorsEffector` raises."""
        wanted = {"name": _text(body, "name"), "said": _object(body, "said"), "proof": _object(body, "proof")}
        return await self._run(visitor, register_passkey, wanted)

    async def remove(self, visitor: Visitor, body: Mapping[str, Any]) -> dict[str, Any]:
        """Remove the visitor's key of that id (`key`, `proof`), on record. Raises what `FactorsEffector` raises."""
        return await self._run(visitor, remove_passkey, {"key": _text(body, "key"), "proof": _object(body, "proof")})

    async def _run(self, visitor: Visitor, flow: AnyFlow, value: dict[str, Any]) -> dict[str, Any]:
        _person(visitor.scope)
        call = Call(passport=visitor.passport, flow=flow, input=value, origin={"address": visitor.address})
        outcome = await self._house.road.call(call)
        if outcome.error is not None:
            raise from_record(outcome.error)
        return dict(outcome.value)

    def _origin(self, base: str) -> str:
        if base not in self._house.origins:
            raise Denied("OMG-G006", "this page stands at none of this gateway's own addresses", advice="omega up --allow-host HOST")
        return base

    # -- what waits

    async def waiting(self, visitor: Visitor) -> list[dict[str, Any]]:
        """What waits for an approval that the visitor may see: their own runs', those for a role of theirs, all with `records:read`."""
        return await asyncio.to_thread(self._waiting, visitor.scope)

    def _waiting(self, scope: Scope) -> list[dict[str, Any]]:
        _person(scope)
        store = self._house.omega.store
        found = []
        for line in store.search(Search(tenant=scope.tenant, status=(Status.WAITING, Status.RUNNING), limit=MOST_WAITING)):
            steps = Past(store.rows(line.execution)).waits()
            found += [_told(line, step) for step in steps if self._may_see(scope, line, step)]
        return found

    def one(self, visitor: Visitor, execution: str, step: str) -> dict[str, Any]:
        """What is approved: the entry of `waiting`, and `input`, what the run was started with, where the visitor may see it; else
        `withheld` says why not. Raises InputError (OMG-I003, OMG-I004, OMG-I005)."""
        line, recorded = self._one(visitor.scope, execution, step)
        told = _told(line, recorded)
        try:
            return told | {"input": self._house.input_of(execution, visitor.scope), "withheld": ""}
        except InputError:
            return told | {"input": None, "withheld": "the values of this run are shown to whoever started it, and with records:read"}
        except IntegrityError as error:
            return told | {"input": None, "withheld": error.cause}

    def _one(self, scope: Scope, execution: str, step: str) -> tuple[Line, Recorded]:
        _person(scope)
        store = self._house.omega.store
        line = store.line(_named(execution))
        if line is not None and line.tenant == scope.tenant:
            past = Past(store.rows(execution))
            steps = [each for each in past.waits() if self._may_see(scope, line, each)]
            if steps:
                return line, one_step(past, step, steps, "waits for an approval")
            self._house.line(execution, scope)  # who may see the run is told that nothing waits
            raise InputError("OMG-I005", "no step of it waits for an approval")
        raise InputError("OMG-I003", f"{execution[:80]} is not recorded here")

    def _may_see(self, scope: Scope, line: Line, step: Recorded) -> bool:
        role = str(_decision(step).get("role", ""))
        if OWNER in scope.groups or role in scope.groups or (role in PROVEN and line.principal == scope.principal):
            return True
        with suppress(InputError):
            return self._house.line(line.execution, scope) is not None
        return False


def _decision(step: Recorded) -> Mapping[str, Any]:
    meta = decode_meta(step.waiting) if step.waiting is not None else None
    return (meta.decision or {}) if isinstance(meta, Step) else {}


def _told(line: Line, step: Recorded) -> dict[str, Any]:
    """What a page shows of a step that waits."""
    decision, question = _decision(step), question_of(step)
    meta = step.meta.step
    return {
        "execution": line.execution,
        "run": line.flow,
        "step": shown(step.position),
        "position": step.position,
        "flow": meta.flow if meta is not None else "",
        "effect": meta.effect if meta is not None else "",
        "principal": line.principal,
        "role": str(decision.get("role", "")),
        "reason": str(decision.get("reason", "")),
        "policies": list(decision.get("policies", ())),
        "where": str(decision.get("where", "")),
        "message": question.message if question is not None else "",
        "until": moment(question.due_us) if question is not None else "",
        "started": moment(line.started_us),
        "approved_by": [note.by for note in step.approvals],
    }


def _person(scope: Scope) -> Person:
    """Raises Denied (OMG-W001) for whoever is no person, or acts for one."""
    if not scope.principal.startswith("person:") or scope.actors:
        raise Denied("OMG-W001", "only a person acting themself has second factors", advice="come with your own passport")
    return scope.tenant, scope.principal


def _named(execution: str) -> str:
    if not is_chosen_id(execution):
        raise InputError("OMG-I003", "this cannot be the id of an execution")
    return execution


def _text(body: Mapping[str, Any], name: str) -> str:
    found = body.get(name, "")
    if not isinstance(found, str):
        raise InputError("OMG-I001", f"{name} is a text")
    return found


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name, {})
    if not isinstance(found, dict):
        raise InputError("OMG-I001", f"{name} is an object")
    return found
