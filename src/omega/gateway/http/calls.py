"""One call over HTTP: from a body to a flow's outcome, and the outcome as an answer.

    done                      200, the value
    waits for somebody        202, where it is to be looked at, and what it waits for
    takes longer than wanted  202 (`Prefer: respond-async`, `Prefer: wait=10`; RFC 7240), where to look
    refused or failed         problem details

With `Idempotency-Key` the id of the execution follows from (tenant, caller, operation, key). The same request again gives the recorded
outcome, whenever it comes and whichever process answers; another request under that key is refused. With `Accept: text/event-stream` the
parts of a streaming flow come as they are made, then the outcome.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from omega.gateway.front.core import Core, Receive, Send, Visitor
from omega.gateway.front.request import Arrival, Headers, dump, reply, reply_error, reply_json
from omega.gateway.front.turns import Turns
from omega.gateway.http.events import stream_execution, stream_outcome
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, StorageError
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Outcome
from omega.kernel.propagation import extract
from omega.wire.problem import problem_of, status_of

EXECUTIONS = "/api/v1/executions"

WAIT_S = 30.0
"""How long (seconds) an answer waits for the end of its execution unless the caller says otherwise; then it says where to look."""

LONGEST_WAIT_S = 300.0
"""Longest time that a caller may ask to be kept waiting, in seconds."""

MAX_KEY = 255
"""Longest idempotency key, in characters."""

FRESH = (b"cache-control", b"no-store")
_CARRIED = ("traceparent", "tracestate", "omega-budget", "omega-deadline")
_WAIT = re.compile(r"\bwait=(\d{1,6})\b")


@dataclass(slots=True)
class Asked:
    """A request whose caller is known."""

    core: Core
    arrival: Arrival
    receive: Receive
    send: Send
    visitor: Visitor
    turns: Turns
    leaving: asyncio.Event

    async def left(self) -> None:
        """Return when the caller has gone, or the process is stopping."""
        stopping, gone = asyncio.ensure_future(self.leaving.wait()), asyncio.ensure_future(self._disconnected())
        try:
            await asyncio.wait((stopping, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            gone.cancel()

    async def _disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is called: the flow and its input, under the name of an `operation`; `target` is where the flow is loaded from again, `cache_s`
    how long its answer may be kept, `keyed` that it takes an idempotency key."""

    flow: AnyFlow
    input: Any
    operation: str
    target: str = ""
    cache_s: float = 0.0
    keyed: bool = False


async def run(asked: Asked, wanted: Wanted) -> None:
    """Call it and answer. Raises what is refused before it starts."""
    call, key = _call(asked, wanted), asked.arrival.header("idempotency-key")
    if wanted.keyed and not key:
        raise InputError("OMG-G001", f"{wanted.operation} takes an idempotency key", advice="send the header Idempotency-Key, new for each")
    if "text/event-stream" in asked.arrival.header("accept"):
        await _streamed(asked, call, repeatable=bool(key))
        return
    prefer = asked.arrival.header("prefer")
    if not key and not prefer:  # its id is told with the outcome, or once it has lasted
        call = replace(call, untold=True)
    execution, again = await _started(asked, call, repeatable=bool(key))
    outcome = None if "respond-async" in prefer else await _waited(asked, execution, prefer)
    headers: Headers = [(b"omega-execution", execution.encode()), *([(b"idempotent-replayed", b"true")] if again else [])]
    if outcome is None or outcome.status == Status.RUNNING:
        await _reply_later(asked, execution, Status.RUNNING, {}, headers)
    elif outcome.status == Status.DONE:
        await _reply_value(asked, outcome, wanted.cache_s, headers)
    else:
        await _reply_error(asked, outcome, headers)


def _call(asked: Asked, wanted: Wanted) -> Call:
    arrival, visitor = asked.arrival, asked.visitor
    call = Call(
        passport=visitor.passport,
        flow=wanted.flow,
        input=wanted.input,
        execution=execution_of(visitor, wanted.operation, arrival.header("idempotency-key")),
        target=wanted.target,
        origin=visitor.origin(arrival.headers),
    )
    carried = {name: arrival.headers[name] for name in _CARRIED if name in arrival.headers}
    if carried:
        call = replace(extract(carried).onto(call, now=asked.core.now_us() / 1_000_000), passport=visitor.passport)
    return call


def execution_of(visitor: Visitor, operation: str, key: str) -> str:
    """The id of the execution that an idempotency key stands for; empty without a key. Raises InputError (OMG-G001) for what is no key."""
    if not key:
        return ""
    if len(key) > MAX_KEY or not key.isprintable():
        raise InputError("OMG-G001", f"an idempotency key has at most {MAX_KEY} printable characters")
    scope = visitor.scope
    names = [scope.tenant, scope.principal, list(scope.actors), operation, key]
    return f"key-{sha256(json.dumps(names).encode()).hexdigest()[:40]}"


async def _started(asked: Asked, call: Call, *, repeatable: bool) -> tuple[str, bool]:
    """The execution, and whether it had been started before. Raises InputError (OMG-G010) for a key that stands for another request."""
    try:
        return await asked.core.start(call), False
    except (InputError, StorageError) as error:  # the store's, where two processes begin it in the same moment
        if error.code != "OMG-R010" or not repeatable:
            raise
    _demand_same(asked, call)
    return call.execution, True


async def _streamed(asked: Asked, call: Call, *, repeatable: bool) -> None:
    """Show what the call shows; a repeat of one that was started before joins it. Raises InputError (OMG-G010)."""
    scope = asked.visitor.scope
    try:
        await stream_outcome(asked.core, scope, asked.send, asked.left, call)
    except (InputError, StorageError) as error:
        if error.code != "OMG-R010" or not repeatable:
            raise
        _demand_same(asked, call)
        await stream_execution(asked.core, call.execution, scope, asked.send, asked.left)


def _demand_same(asked: Asked, call: Call) -> None:
    """Raises InputError (OMG-G010) when the execution was started with another input."""
    recorded = asked.core.input_of(call.execution, asked.visitor.scope)
    if recorded != call.flow.input.plain(call.flow.input.read(call.input)):
        raise InputError("OMG-G010", "this key stands for a request with another content")


async def _waited(asked: Asked, execution: str, prefer: str) -> Outcome | None:
    """The outcome, if it comes in the time that the caller wants to wait."""
    match = _WAIT.search(prefer)
    patience_s = WAIT_S if match is None else min(float(match[1]), LONGEST_WAIT_S)
    try:
        async with asyncio.timeout(patience_s):
            return await asked.core.outcome(execution, asked.visitor.scope)
    except TimeoutError:
        return None


async def _reply_value(asked: Asked, outcome: Outcome, cache_s: float, headers: Headers) -> None:
    body = dump(outcome.value)
    if asked.arrival.method != "GET" or not cache_s:
        await reply(asked.send, 200, body, headers=[*headers, FRESH])
        return
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = [*headers, (b"etag", tag.encode()), (b"cache-control", b"private, max-age=%d" % int(cache_s))]
    same = tag in asked.arrival.header("if-none-match")
    await reply(asked.send, 304 if same else 200, b"" if same else body, headers=headers)


async def _reply_error(asked: Asked, outcome: Outcome, headers: Headers) -> None:
    record = outcome.error or {}
    if status_of(str(record.get("code", ""))) == 202:
        await _reply_later(asked, outcome.execution, outcome.status, record, headers)
    else:
        await reply_error(asked.send, record, asked.arrival, headers=headers)


async def _reply_later(asked: Asked, execution: str, status: str, record: Mapping[str, Any], headers: Headers) -> None:
    waits = {"waits_for": problem_of(record, base=asked.arrival.base)[1]} if record else {}
    place = f"{EXECUTIONS}/{execution}"
    document = {"execution": execution, "status": str(status), **waits, "outcome": f"{place}/outcome"}
    await reply_json(asked.send, document, status=202, headers=[*headers, (b"location", place.encode()), FRESH])
