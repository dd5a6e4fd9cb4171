"""A message that is sent: it begins a task, or it is what a task waits for.

    without a task id    the published flow is run; its input is what it takes of the message
    with one             the answer to a form, a yes to an approval, else the signal that the task waits for

A message answers an approval with a data part `{"approved": true}` and with nothing else: words that mean yes to one reader are no
approval. Who may answer what, the gate decides as for everybody.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from omega.gateway.a2a.asked import Asked, mark_of
from omega.gateway.a2a.desk import CONTEXT, LABEL, MESSAGE, SIGNAL, Account, Agent, Question
from omega.gateway.a2a.tasks import answer_of, context_of, made_id, state_of, task_of
from omega.kernel.errors import InputError, StorageError
from omega.kernel.ids import EXECUTION, new_id
from omega.kernel.journal import Status
from omega.kernel.ports import Call
from omega.kernel.propagation import extract
from omega.wire.a2a.faults import PARAMS, UNSUPPORTED, A2aFault
from omega.wire.a2a.messages import JSON, TERMINAL, TEXT, check_media, data_of, message_of, text_of
from omega.wire.a2a.operations import Sending, sending_of

MAX_KEY: Final = 255
"""Longest idempotency key, in characters."""

_CARRIED: Final = ("traceparent", "tracestate", "omega-budget", "omega-deadline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A message that was read: the task that it belongs to, whether that is a new one, and how it is to be answered."""

    execution: str
    context: str
    message: Mapping[str, Any]
    how: Sending
    fresh: bool


async def send(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a message: the task, once it has ended or waits, or the one message that its result is."""
    begun = read(asked, params)
    execution = await begin(asked, begun)
    account = None if begun.how.at_once else await asked.while_here(asked.settled(execution))
    if account is None:
        account = await asked.begun(execution)
    answer = answer_of(account, asked.agent)
    return {"message": answer} if answer is not None else {"task": task_of(account, asked.agent, history=begun.how.history)}


def read(asked: Asked, params: Mapping[str, Any]) -> Begun:
    """What a request sends. Raises A2aFault (PARAMS, CONTENT_TYPE), Denied (OMG-P011) for an address that may not be told."""
    how, message = sending_of(params), message_of(params.get("message"))
    if how.push is not None:
        asked.desk.check_address(asked.agent.name, str(how.push["url"]), asked.visitor.scope)
    task = message.get("taskId", "")
    inputs = asked.agent.profile.inputs
    check_media(message["parts"], [*inputs, JSON, TEXT] if task else inputs)  # what a task asks for may be a form, whatever it began with
    execution = task or _keyed(asked) or new_id(EXECUTION, now_ms=asked.core.now_us() // 1_000, entropy=os.urandom(10))
    context = message.get("contextId") or ("" if task else made_id(execution, "context"))
    return Begun(execution=execution, context=context, message=message, how=how, fresh=not task)


async def begin(asked: Asked, begun: Begun) -> str:
    """Start the task, or give it what it waits for; gives its id. Raises A2aFault, and what the road refuses with."""
    execution = await _start(asked, begun) if begun.fresh else await _go_on(asked, begun)
    if begun.how.push is not None:
        await asked.begun(execution)
        await asked.desk.tell(execution, begun.how.push, asked.visitor)
    return execution


# -- a new task


async def _start(asked: Asked, begun: Begun) -> str:
    agent, visitor = asked.agent, asked.visitor
    message = {**begun.message, "contextId": begun.context}
    call = Call(
        passport=visitor.passport,
        flow=agent.flow,
        input=input_of(agent, message),
        execution=begun.execution,
        target=agent.target,
        labels={LABEL: agent.name, CONTEXT: begun.context, MESSAGE: str(message["messageId"])},
        origin=visitor.origin(asked.arrival.headers),
    )
    headers = asked.arrival.headers
    carried = {name: headers[name] for name in _CARRIED if name in headers}
    if carried:
        call = replace(extract(carried).onto(call, now=asked.core.now_us() / 1_000_000), passport=visitor.passport)
    try:
        return await asked.core.start(call)
    except (InputError, StorageError) as error:  # the latter where two processes begin it in the same moment
        if error.code == "OMG-R010" and asked.arrival.header("idempotency-key"):
            return begun.execution
        if error.code in ("OMG-I001", "OMG-R002", "OMG-R003"):
            raise A2aFault(PARAMS, f"{agent.name} does not take this: {error.cause}") from error
        raise


def input_of(agent: Agent, message: Mapping[str, Any]) -> Any:
    """What the flow of `agent` takes of a message. Raises A2aFault (PARAMS)."""
    if agent.takes == "message":
        return {name: value for name, value in message.items() if name != "taskId"}
    if agent.takes == "text":
        return text_of(message["parts"])
    found = data_of(message["parts"])
    if len(found) != 1:
        raise A2aFault(PARAMS, f"{agent.name} takes a message with one data part")
    return found[0]


def _keyed(asked: Asked) -> str:
    """The execution that an idempotency key stands for; empty without one. Raises A2aFault (PARAMS) for what is no key."""
    key = asked.arrival.header("idempotency-key")
    if not key:
        return ""
    if len(key) > MAX_KEY or not key.isprintable():
        raise A2aFault(PARAMS, f"an idempotency key has at most {MAX_KEY} printable characters")
    scope = asked.visitor.scope
    names = [scope.tenant, scope.principal, list(scope.actors), "a2a", asked.agent.name, key]
    return f"key-{sha256(json.dumps(names).encode()).hexdigest()[:40]}"


# -- a task that waits


async def _go_on(asked: Asked, begun: Begun) -> str:
    account = asked.found(begun.execution)
    if begun.context and begun.context != context_of(account):
        raise A2aFault(PARAMS, "message.contextId is not the one of the task")
    if state_of(account) in TERMINAL:
        raise A2aFault(UNSUPPORTED, f"the task {begun.execution} has ended: begin another one in the same context")
    if Status(account.line.status) in (Status.IN_DOUBT, Status.DEAD):
        raise A2aFault(UNSUPPORTED, f"the task {begun.execution} stands still until a person of the installation decides about it")
    verb, body = _decision(asked, account, begun)
    await asked.core.decide(begun.execution, verb, body, asked.visitor)
    if Status(account.line.status) is Status.WAITING:
        since = mark_of(asked.core.line(begun.execution, asked.visitor.scope))
        await asked.went_on(begun.execution, since)
    return begun.execution


def _decision(asked: Asked, account: Account, begun: Begun) -> tuple[str, dict[str, Any]]:
    """The decision that a message is."""
    asks = account.asks
    message = {**begun.message, "contextId": context_of(account)}
    if asks is not None and asks.kind == "approval":
        if not any(isinstance(each, Mapping) and each.get("approved") is True for each in data_of(message["parts"])):
            raise A2aFault(PARAMS, 'the task waits for an approval: send a data part {"approved": true}, or cancel it')
        return "approve", {"step": asks.step}
    value = _value(asked.agent, message, asks)
    if asks is not None and asks.kind == "form":
        return "answer", {"step": asks.step, "value": value}
    return "signal", {"name": asks.signal if asks is not None and asks.signal else SIGNAL, "value": value}


def _value(agent: Agent, message: Mapping[str, Any], asks: Question | None) -> Any:
    """What a message says to a task that waits."""
    if agent.takes == "message" and (asks is None or asks.kind != "form"):
        return message
    found = data_of(message["parts"])
    wants_text = asks is not None and asks.schema.get("type") == "string"
    return found[0] if len(found) == 1 and not wants_text else text_of(message["parts"])
