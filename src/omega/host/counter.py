"""The counter: where the one engine of a folder takes the orders of other processes (`omega.host.orders`) and puts its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from omega.host.arrangements import arrange, dissolve
from omega.host.enrolling import enrol_code, reset_factors
from omega.host.erasing import erase
from omega.host.holds import release_hold
from omega.host.logbook import note_access, read_log
from omega.host.orders import ANSWER, ORDER, Order
from omega.host.primary import ask_primary, read_primary
from omega.host.quarantine import isolate, release
from omega.host.registry import accept_listing, drop_registry, read_registry
from omega.host.retiring import retire
from omega.host.storage import EngineStore
from omega.host.targets import Target, load_target
from omega.host.tools import accept_tools, forget_tools, sandbox_server
from omega.host.vouching import begin_credentials, challenge_holder, check_credential, issue_credential, present_credential
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, OmegaError
from omega.kernel.ports import Outcome
from omega.runtime.recovery import pin_of
from omega.trust.sealing import Keyring

_FLOWS = (
    accept_listing,
    accept_tools,
    arrange,
    ask_primary,
    begin_credentials,
    challenge_holder,
    check_credential,
    dissolve,
    drop_registry,
    enrol_code,
    erase,
    forget_tools,
    isolate,
    issue_credential,
    note_access,
    present_credential,
    read_log,
    read_primary,
    read_registry,
    release,
    release_hold,
    reset_factors,
    retire,
    sandbox_server,
)

OWN: Mapping[str, AnyFlow] = {f"omega:{flow.name}": flow for flow in _FLOWS}
"""Flows of the host itself, which an order names like a target."""

ASKING = "omega:a2a.ask"
"""The one that asks an agent elsewhere."""


class Fulfils(Protocol):
    """Who carries orders out: an open engine."""

    async def fulfil(self, order: Order, target: Target) -> Outcome: ...


async def serve(store: EngineStore, keyring: Keyring, engine: Fulfils, now_us: int) -> int:
    """Carry out every order that lies there, one after the other; gives how many. Raises StorageError."""
    orders = store.documents(ORDER)
    for name, body in orders:
        try:
            outcome = await _fulfil(Order.open(name, body, keyring), engine)
            answer = {"status": str(outcome.status), "error": None if outcome.error is None else dict(outcome.error)}
        except OmegaError as error:
            if error.code == "OMG-S004":
                raise
            answer = {"status": "failed", "error": error.record()}
        store.put_document(ANSWER, name, json.dumps(answer).encode(), now_us)
        store.drop_document(ORDER, name)
    return len(orders)


def forget_answers(store: EngineStore) -> None:
    """Drop what nobody fetched: whoever asked an earlier engine has given up."""
    for name, _ in store.documents(ANSWER):
        store.drop_document(ANSWER, name)


def own(text: str) -> Target | None:
    """The flow of the host itself that `text` names, if it does."""
    if text == ASKING:
        from omega.adapters.a2a import ask_peer  # what agents elsewhere need is loaded by those alone who ask one

        return Target(text, ask_peer, ())
    return Target(text, OWN[text], ()) if text in OWN else None


async def _fulfil(order: Order, engine: Fulfils) -> Outcome:
    target = own(order.target) or load_target(order.target)
    if order.digest != pin_of(target.flow):
        raise InputError(
            "OMG-I002",
            f"the engine at work has another version of {order.target[:200]}",
            advice="start the worker again, so that it loads the flow as it is now",
        )
    return await engine.fulfil(order, target)


def answer_of(body: bytes) -> dict[str, Any]:
    """An answer as data: `status` and `error`."""
    return dict(json.loads(body))
