"""Second factors are enrolled, removed and reset on record: each is a flow of the host's own, gated and sealed like any other.

Where a person has a factor, they show it afresh before there is another or one less: else whoever finds their browser open makes a factor
of their own. Where a passkey counts, only a passkey shows it: a code can be asked for by a false page, and must not be the way to a key.
Whoever lost every factor has another person reset them, which is on record too.

The proof is looked at inside the touch, so a refused one is a leaf. A code that comes with it lies in the sealed input of the flow, and is
used up by then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.host import mfa
from omega.host.arrangements import Shelf
from omega.host.passkeys import Passkeys, Person
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.verdict import Permit
from omega.trust.sealing import Keyring

Proof = Mapping[str, Any]
"""What shows a factor: `code`, or `ceremony` and `answer` of a passkey; empty where there is none to show."""

REGISTER, REMOVE, ENROL = "register", "remove", "enrol"
"""What a passkey is asked for when it proves that another factor may come or go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPasskey(Request):
    """Put the key of `said` (`ceremony`, `answer`) on the ring of the permit's person, under `name`."""

    port: ClassVar[str] = "passkeys"
    name: str
    said: Mapping[str, Any]
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPasskey(Request):
    """Take the key of that id off the ring of the permit's person."""

    port: ClassVar[str] = "passkeys"
    key: str
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCode(Request):
    """Keep the sealed secret of an authenticator app of `person` (see `mfa.enrolment`)."""

    port: ClassVar[str] = "passkeys"
    person: str
    body: Mapping[str, Any]
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Request):
    """Forget every factor of `person`, who is another than the permit's."""

    port: ClassVar[str] = "passkeys"
    person: str


class FactorsEffector:
    """Serves the four. Tenant and person come from the permit, never from the request."""

    port = KeepPasskey.port

    def __init__(self, shelf: Shelf, keyring: Keyring, now_us: Callable[[], int]) -> None:
        self._shelf, self._now_us = shelf, now_us
        self._keys = Passkeys(shelf, keyring, now_us, _nothing)
        self._code_holds = mfa.verifier(shelf, keyring, now_us)

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the passkey that came or went, else the person.

        Raises Denied: OMG-T011 and OMG-T012 for a passkey that does not hold, OMG-W007 for a proof that is missing or does not hold, and
        for what takes another person, OMG-W012 for too many; InputError: OMG-I001, OMG-I003.
        """
        permit.spend(self.port)
        person = (permit.tenant, permit.principal)
        if not permit.principal.startswith("person:"):
            raise Denied("OMG-W007", "second factors are people's")
        match request:
            case KeepPasskey():
                self._demand_proof(person, (REGISTER,), request.proof)
                return self._keys.register(person, request.name, request.said).record(), Receipt()
            case DropPasskey():
                self._demand_proof(person, (REMOVE, request.key), request.proof)
                return self._keys.remove(person, request.key).record(), Receipt()
            case KeepCode():
                return self._keep_code(person, request), Receipt()
            case Reset():
                return self._reset(person, request.person), Receipt()
        raise InputError("OMG-I001", f"factors are registered, removed and reset, there is no {type(request).__name__}")

    def _keep_code(self, person: Person, request: KeepCode) -> str:
        whose = (person[0], request.person)
        if whose == person:
            self._demand_proof(person, (ENROL,), request.proof)
        elif factors(self._shelf, self._keys, whose):
            raise Denied("OMG-W007", f"{request.person[:80]} has a second factor", advice="omega mfa reset person:NAME takes it away")
        name = mfa.name_of(*whose)
        kept = mfa.check(name, request.body)
        self._shelf.put_document(mfa.FACTOR, name, json.dumps(dict(kept)).encode(), self._now_us())
        return request.person

    def _reset(self, person: Person, principal: str) -> str:
        if principal == person[1]:
            raise Denied("OMG-W007", "another person resets the factors of somebody", advice="show one and remove it, or ask an owner")
        whose = (person[0], principal)
        found = factors(self._shelf, self._keys, whose)
        if not found:
            raise InputError("OMG-I003", f"{principal[:80]} has no second factor", advice="omega mfa list")
        self._shelf.drop_document(mfa.FACTOR, mfa.name_of(*whose))
        for held in self._keys.keys(whose):
            self._keys.remove(whose, held.id)
        return principal

    def _demand_proof(self, person: Person, about: tuple[str, ...], proof: Proof) -> None:
        """Raise Denied unless a factor that the person has was shown for this very purpose; where there is none, nothing is shown."""
        found = factors(self._shelf, self._keys, person)
        if "passkey" in found:
            if "answer" not in proof:
                raise Denied("OMG-W007", "a passkey is registered, and it was not shown", advice="touch it on the page /passkeys")
            self._keys.prove(person, about, proof)
        elif found and not self._code_holds(*person, proof):
            raise Denied("OMG-W007", "the code of the authenticator app does not hold", advice="give a fresh one")


def factors(shelf: Shelf, keys: Passkeys, person: Person) -> frozenset[str]:
    """Which factors a person has: `code`, `passkey`. A key that may have a copy is one that cannot be shown: it does not open the door to
    a new one, so another person resets it."""
    found = {"code"} if shelf.document(mfa.FACTOR, mfa.name_of(*person)) is not None else set()
    return frozenset(found | ({"passkey"} if keys.keys(person) else set()))


def _nothing(count: int) -> bytes:
    raise AssertionError(f"an answer was checked, and {count} random bytes were asked for")


@flow(name="register_passkey", effect="idempotent", needs="passkeys:use")
async def register_passkey(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Register a passkey of one's own: `name`, `said` (ceremony, answer), `proof`."""
    kept: dict[str, Any] = await ctx.touch(KeepPasskey(name=str(wanted["name"]), said=wanted["said"], proof=wanted["proof"]))
    return kept


@flow(name="remove_passkey", effect="idempotent", needs="passkeys:use")
async def remove_passkey(ctx: Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Remove a passkey of one's own: `key`, its id; `proof`."""
    gone: dict[str, Any] = await ctx.touch(DropPasskey(key=str(wanted["key"]), proof=wanted["proof"]))
    return gone


@flow(name="enrol_code", effect="idempotent", needs=("passkeys:use", "arrangements:use"))
async def enrol_code(ctx: Context, wanted: dict[str, Any]) -> str:
    """Enrol an authenticator app: `person`, `body` (its sealed secret), `proof`."""
    return str(await ctx.touch(KeepCode(person=str(wanted["person"]), body=wanted["body"], proof=wanted["proof"])))


@flow(name="reset_factors", effect="idempotent", needs=("passkeys:use", "arrangements:use"))
async def reset_factors(ctx: Context, person: str) -> str:
    """Forget every second factor of another person."""
    return str(await ctx.touch(Reset(person=person)))
