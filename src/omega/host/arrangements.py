"""What an operator has arranged: queues, schedules, how long payloads are kept. Each is a document of the store under its own name.

Arranging is a flow like any other: admitted by the gate, journaled, sealed. So who changed a limit, and when, is in the log, and nothing in
here can be changed beside it. What a document of a kind may say is that kind's business (`Reading`); here it is only kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from omega.host.settings import TENANT
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.verdict import Permit

MAX_NAME = 64
"""Longest name of an arrangement in characters."""

MOST_OWN = 128
"""Most documents of one kind that a hosted tenant arranges for itself: what one of them keeps, the gate of all of them holds."""

Reading = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Checks the document of one kind: its name and body; gives the body as it is kept. Raises InputError (OMG-I001)."""


Owner = Callable[[str, Mapping[str, Any], str], str]
"""Whose an arrangement is, told from its name, its body and the principal who asks: a tenant; empty for the installation's own."""


class Documents(Protocol):
    """Where documents are read."""

    def document(self, kind: str, name: str) -> bytes | None: ...

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]: ...


class Shelf(Documents, Protocol):
    """Where documents are written too."""

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None: ...

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool: ...

    def drop_document(self, kind: str, name: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep(Request):
    """Keep `body` as the arrangement `name` of `kind`, in place of an earlier one."""

    port: ClassVar[str] = "arrangements"
    kind: str
    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Request):
    """Forget the arrangement `name` of `kind`."""

    port: ClassVar[str] = "arrangements"
    kind: str
    name: str


class ArrangementsEffector:
    """Serves `Keep` and `Drop` on the documents of a store; `readings` says which kinds there are and what each may hold."""

    port = Keep.port

    def __init__(
        self,
        shelf: Shelf,
        readings: Mapping[str, Reading],
        now_us: Callable[[], int],
        lasting: Mapping[str, str] = MappingProxyType({}),
        owners: Mapping[str, Owner] = MappingProxyType({}),
        beside: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> None:
        """Arrangements of the kinds in `lasting` are neither changed nor dropped here: they have the way to end that it names. `owners`
        says whose an arrangement is, by kind (none: the installation's): a hosted tenant arranges, replaces and drops its own alone.
        `beside` names, by kind, the kinds of documents that go with one of it."""
        self._shelf, self._readings, self._now_us = shelf, readings, now_us
        self._lasting, self._owners, self._beside = lasting, owners, beside

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what is kept now (None after a drop).

        Raises InputError: OMG-I001 for what its kind does not admit, OMG-I003 for something to drop that is not there; Denied (OMG-W007)
        for what ends in another way, Denied (OMG-W001) for what is another tenant's, Denied (OMG-W012) for one more than a tenant may have.
        """
        permit.spend(self.port)
        if isinstance(request, (Keep, Drop)) and permit.tenant != TENANT:
            self._demand_own(permit, request)
        if isinstance(request, (Keep, Drop)) and request.kind in self._lasting and self._shelf.document(request.kind, request.name):
            cause = f"the {request.kind} on {request.name[:MAX_NAME]} stands until it is released"
            raise Denied("OMG-W007", cause, advice=self._lasting[request.kind])
        if isinstance(request, Keep):
            body = self._reading(request.kind)(checked_name(request.name), request.body)
            if permit.tenant != TENANT:
                self._demand_room(permit, request)
            self._shelf.put_document(request.kind, request.name, json.dumps(dict(body)).encode(), self._now_us())
            return dict(body), Receipt()
        if isinstance(request, Drop):
            self._reading(request.kind)
            if not self._shelf.drop_document(request.kind, request.name):
                raise InputError("OMG-I003", f"there is no {request.kind} {request.name[:MAX_NAME]}")
            for kind in self._beside.get(request.kind, ()):
                self._shelf.drop_document(kind, request.name)
            return None, Receipt()
        raise InputError("OMG-I001", f"arrangements are kept and dropped, there is no {type(request).__name__}")

    def _demand_own(self, permit: Permit, request: Keep | Drop) -> None:
        """Raise Denied (OMG-W001) unless what is arranged, and what it takes the place of, is the permit's own tenant's. Whether somebody
        else's is there is not told."""
        standing = arranged(self._shelf, request.kind, request.name)
        bodies = [*([standing] if standing is not None else []), *([request.body] if isinstance(request, Keep) else [])]
        owner = self._owners.get(request.kind)
        fits = owner is not None and all(isinstance(body, Mapping) for body in bodies)
        if not bodies or not fits or any(owner(request.name, body, permit.principal) != permit.tenant for body in bodies if owner):
            cause = f"{permit.tenant} arranges for itself alone, and this {request.kind[:MAX_NAME]} is not its own"
            raise Denied("OMG-W001", cause, advice="have an operator do it")

    def _demand_room(self, permit: Permit, wanted: Keep) -> None:
        """Raise Denied (OMG-W012) where as many of the kind as a hosted tenant may have are the permit's tenant's. What takes the place of
        another is not one more."""
        owner, found = self._owners[wanted.kind], all_arranged(self._shelf, wanted.kind)
        own = sum(owner(name, body, permit.principal) == permit.tenant for name, body in found.items())
        if wanted.name not in found and own >= MOST_OWN:
            raise Denied("OMG-W012", f"{permit.tenant} has arranged {MOST_OWN} of kind {wanted.kind} for itself already")

    def _reading(self, kind: str) -> Reading:
        found = self._readings.get(kind)
        if found is None:
            raise InputError("OMG-I001", f"nothing is arranged as {kind[:MAX_NAME]!r} (known: {', '.join(sorted(self._readings))})")
        return found


@flow(name="arrange", effect="idempotent", needs="arrangements:use")
async def arrange(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Keep an arrangement: `kind`, `name`, `body`; gives what is kept."""
    kept: dict[str, Any] = await ctx.touch(Keep(kind=str(wanted["kind"]), name=str(wanted["name"]), body=wanted["body"]))
    return kept


@flow(name="dissolve", effect="idempotent", needs="arrangements:use")
async def dissolve(ctx: Context, wanted: dict[str, Any]) -> None:
    """Forget an arrangement: `kind`, `name`."""
    await ctx.touch(Drop(kind=str(wanted["kind"]), name=str(wanted["name"])))


def arranged(documents: Documents, kind: str, name: str) -> dict[str, Any] | None:
    """What is arranged under that name, or None."""
    found = documents.document(kind, name)
    return None if found is None else dict(json.loads(found))


def all_arranged(documents: Documents, kind: str) -> dict[str, dict[str, Any]]:
    """Everything of a kind by name, sorted."""
    return {name: dict(json.loads(body)) for name, body in documents.documents(kind)}


def checked_name(name: str) -> str:
    """`name`, if it can name an arrangement. Raises InputError (OMG-I001)."""
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise InputError("OMG-I001", f"{name[:MAX_NAME]!r} cannot be a name: 1 to {MAX_NAME} printable characters")
    return name
