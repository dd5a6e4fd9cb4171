"""One session: the calls of one WebSocket, side by side, each with its own pace.

    reading ──request──▶ a task per call ──┬── one answer
       │                                   └── parts, each for a credit, then the answer
       ├──credit, cancel──▶ the call of that id
       └── the socket closes ──▶ calls that only read are cancelled; all others run to their recorded end

Who calls is settled when the session is opened, and looked at again every `recheck_s` seconds: a passport that was revoked ends the session
and cancels what it still streams. What was admitted before goes on under the grant that it was admitted with, as everywhere.

Sending is one message at a time, and waits for the socket: a client that does not read holds up the calls that want to tell it something.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from omega.gateway.front.core import AsgiScope, Core, Message, Receive, Send, Visitor
from omega.gateway.front.door import LEAVING
from omega.gateway.front.request import Arrival
from omega.gateway.front.turns import Turns
from omega.kernel.effects import Effect
from omega.kernel.errors import Denied, InputError, OmegaError, StorageError, from_record
from omega.kernel.ids import EXECUTION, new_id
from omega.kernel.journal import Status
from omega.kernel.ports import Call, Outcome
from omega.kernel.service import Offer
from omega.wire import jsonrpc
from omega.wire.rpc import (
    AUTHORIZE,
    CANCEL,
    CLOSE_GOING,
    CLOSE_PROTOCOL,
    CLOSE_REVOKED,
    CLOSE_TOO_LARGE,
    CREDIT,
    MAX_CREDIT,
    MAX_FRAME,
    PART,
    PING,
    REFUSED,
    CallParams,
)

ENTRANCES = ("client", "http")
"""A method that is offered to clients or over HTTP can be called here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one session may take: calls at once, frames that make no sense in all, seconds without a frame, seconds between two looks at the
    passport, and bytes of a frame."""

    at_once: int = 64
    nonsense: int = 10
    idle_s: float = 900.0
    recheck_s: float = 1.0
    frame: int = MAX_FRAME


class _Closed(Exception):
    """The session is over: the close code, and a word for it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class _Running:
    """One call under way. Once it is `unheard` its parts are drained and told to nobody."""

    __slots__ = ("credit", "execution", "granted", "offer", "task", "unheard")

    def __init__(self, offer: Offer, execution: str, credit: int) -> None:
        self.offer = offer
        self.execution = execution
        self.credit = credit
        self.granted = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.unheard = False

    def grant(self, more: int) -> None:
        """Let `more` parts through."""
        self.credit = min(MAX_CREDIT, self.credit + more)
        self.granted.set()

    def hush(self) -> None:
        """Nobody wants its parts any more."""
        self.unheard = True
        self.granted.set()

    async def take(self) -> bool:
        """Whether the next part is to be told: as soon as there is a credit for it."""
        while not self.credit and not self.unheard:
            self.granted.clear()
            await self.granted.wait()
        if self.unheard:
            return False
        self.credit -= 1
        return True


class Session:
    """One WebSocket that was accepted."""

    def __init__(
        self, core: Core, visitor: Visitor, arrival: Arrival, scope: AsgiScope, send: Send, *, limits: Limits, turns: Turns
    ) -> None:
        self._core = core
        self._visitor = visitor
        self._arrival = arrival
        self._headers = dict(arrival.headers)
        self._leaving: asyncio.Event | None = scope.get(LEAVING)
        self._send = send
        self._limits = limits
        self._turns = turns
        self._origin = visitor.origin(arrival.headers)
        self._calls: dict[jsonrpc.Id, _Running] = {}
        self._sending = asyncio.Lock()
        self._nonsense = 0
        self._gone = False

    async def run(self, receive: Receive) -> None:
        """Serve until the socket is closed, by either side."""
        watching = [asyncio.create_task(self._recheck()), asyncio.create_task(self._leave())]
        reading = asyncio.create_task(self._read(receive))
        try:
            done, _ = await asyncio.wait([reading, *watching], return_when=asyncio.FIRST_COMPLETED)
            closed = next((error for each in done if isinstance(error := each.exception(), _Closed)), None)
            if closed is not None:
                await self._say({"type": "websocket.close", "code": closed.code, "reason": closed.reason})
            else:
                await reading
        finally:
            self._gone = True
            for task in (reading, *watching):
                task.cancel()
            await asyncio.gather(reading, *watching, return_exceptions=True)
            await self._part()

    # -- reading

    async def _read(self, receive: Receive) -> None:
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_s if not self._calls else None):
                    message = await receive()
            except TimeoutError:
                raise _Closed(CLOSE_GOING, "nothing was said for too long") from None
            if message["type"] == "websocket.disconnect":
                return
            await self._frame(message)

    async def _frame(self, message: Message) -> None:
        text = message.get("text")
        raw = text.encode() if text is not None else message.get("bytes") or b""
        if len(raw) > self._limits.frame:
            raise _Closed(CLOSE_TOO_LARGE, f"a frame has at most {self._limits.frame} bytes")
        try:
            incoming = jsonrpc.decode(raw)
        except jsonrpc.ProtocolFault as fault:
            self._nonsense += 1
            await self._text(jsonrpc.refusal(fault.id, fault.code, fault.message))
            if self._nonsense >= self._limits.nonsense:
                raise _Closed(CLOSE_PROTOCOL, "too much of that was no message") from None
            return
        if incoming.is_response:
            return  # nothing is ever asked of a client
        if incoming.id is None:
            await self._told(incoming)
            return
        await self._asked(incoming.id, incoming)

    async def _told(self, incoming: jsonrpc.Incoming) -> None:
        """A notification: about a call under way, or about none any more, which is no mistake."""
        params = incoming.params
        running = self._calls.get(params["id"]) if isinstance(params.get("id"), (str, int)) else None
        if running is None:
            return
        if incoming.method == CREDIT and type(params.get("more")) is int and params["more"] > 0:
            running.grant(params["more"])
        elif incoming.method == CANCEL:
            await self._cancel(running)

    async def _asked(self, id: jsonrpc.Id, incoming: jsonrpc.Incoming) -> None:
        if incoming.method == PING:
            await self._text(jsonrpc.answer(id, {"now_us": self._core.now_us()}))
            return
        try:
            if incoming.method == AUTHORIZE:
                await self._text(jsonrpc.answer(id, self._authorize(incoming.params)))
                return
            self._begin(id, incoming)
        except OmegaError as error:
            await self._refuse(id, error)
        except LookupError:
            await self._text(jsonrpc.refusal(id, jsonrpc.METHOD_NOT_FOUND, f"there is no method {incoming.method!r}"))

    def _begin(self, id: jsonrpc.Id, incoming: jsonrpc.Incoming) -> None:
        """Start the task of a call. Raises LookupError for an unknown method, InputError for a bad call."""
        if id in self._calls:
            raise InputError("OMG-I001", "a call of that id is under way", advice="give each call an id of its own")
        if len(self._calls) >= self._limits.at_once:
            raise StorageError("OMG-G008", f"{self._limits.at_once} calls of this session are under way already")
        offer = self._offer(incoming.method)
        params = CallParams.read(incoming.params)
        if offer.method.keyed and not params.key:
            raise InputError("OMG-I001", f"{incoming.method} takes a key, so that a repeat does nothing twice")
        if offer.method.rate is not None:
            self._turns.take(offer.flow.name, offer.method.rate, self._visitor.scope, self._core.now_us())
        execution = self._execution(offer.flow.name, params.key)
        running = self._calls[id] = _Running(offer, execution, params.credit)
        call = Call(passport=self._visitor.passport, flow=offer.flow, input=params.input, execution=execution, timeout_s=params.timeout_s)
        work = self._stream(id, running, call) if params.credit else self._unary(id, running, call)
        running.task = asyncio.create_task(self._to_its_end(id, work))

    def _offer(self, method: str) -> Offer:
        service, _, name = method.partition(".")
        for offer in self._core.offers():
            if offer.service == service and offer.name == name and any(each in ENTRANCES for each in offer.method.entrances):
                return offer
        raise LookupError(method)

    def _execution(self, method: str, key: str) -> str:
        """The id of a call's execution; with a key always the same one, which is that of the same call over HTTP."""
        if not key:
            return new_id(EXECUTION, now_ms=self._core.now_us() // 1_000, entropy=os.urandom(10))
        scope = self._visitor.scope
        names = [scope.tenant, scope.principal, list(scope.actors), method, key]
        return f"key-{sha256(json.dumps(names).encode()).hexdigest()[:40]}"

    # -- calls

    async def _to_its_end(self, id: jsonrpc.Id, work: Awaitable[None]) -> None:
        try:
            await work
        except OmegaError as error:
            await self._refuse(id, error)
        finally:
            self._calls.pop(id, None)

    async def _unary(self, id: jsonrpc.Id, running: _Running, call: Call) -> None:
        outcome = await self._once(call)
        await self._end(id, outcome, {"value": outcome.value})

    async def _once(self, call: Call) -> Outcome:
        """The outcome of a call; the recorded one, when the same call was made before under its key.

        Raises InputError (OMG-G010) for a key that stands for another call.
        """
        outcome = await self._core.road.call(call)
        if outcome.error is None or outcome.error.get("code") != "OMG-R010" or not call.execution.startswith("key-"):
            return outcome
        if self._core.input_of(call.execution, self._visitor.scope) != call.flow.input.plain(call.flow.input.read(call.input)):
            raise InputError("OMG-G010", "this key stands for a call with another input")
        return await self._core.outcome(call.execution, self._visitor.scope)

    async def _stream(self, id: jsonrpc.Id, running: _Running, call: Call) -> None:
        """Show the parts of a call as they are made, each for a credit."""
        watching = self._core.watch(running.execution, self._visitor.scope)
        try:
            started = await self._core.start(call)
            index = 0
            async for part in watching:
                if await running.take():
                    await self._text(jsonrpc.notification(PART, {"id": id, "index": index, "part": part.value}))
                index += 1
            outcome = await self._core.outcome(started, self._visitor.scope)
        finally:
            _close(watching)
        await self._end(id, outcome, {"parts": index})

    async def _end(self, id: jsonrpc.Id, outcome: Outcome, told: dict[str, Any]) -> None:
        if outcome.error is not None:
            await self._refuse(id, from_record(outcome.error))
            return
        facts = {"execution": outcome.execution, "status": str(outcome.status), "cost_micros": outcome.cost_micros}
        await self._text(jsonrpc.answer(id, facts | (told if outcome.status == Status.DONE else {})))

    async def _cancel(self, running: _Running) -> None:
        with suppress(OmegaError):  # it has ended meanwhile, or may not be cancelled by this caller: its answer says what became of it
            await self._core.decide(running.execution, "cancel", {}, self._visitor)
        running.hush()

    # -- who calls

    def _authorize(self, params: dict[str, Any]) -> dict[str, Any]:
        """Go on with a newer passport of the same principal. Raises Denied (OMG-T001)."""
        passport = params.get("passport")
        if not isinstance(passport, str):
            raise InputError("OMG-I001", "rpc.authorize takes a passport")
        headers = self._headers | {"authorization": f"Bearer {passport}"}
        visitor = self._look(headers)
        old = self._visitor.scope
        if (visitor.scope.tenant, visitor.scope.principal) != (old.tenant, old.principal):
            raise Denied("OMG-T001", "a session stays with the principal who opened it")
        self._headers, self._visitor = headers, visitor
        return {"principal": visitor.scope.principal}

    def _look(self, headers: dict[str, str]) -> Visitor:
        arrival = self._arrival
        return self._core.visitor(headers, method="GET", url=arrival.url, address=arrival.address, peer=arrival.peer)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(self._limits.recheck_s)
            if (
                self._headers.get("authorization", "").lower().startswith("dpop ")
            ):  # a proof serves once; each call is looked at by the road, each touch by the engine
                continue
            try:
                self._look(self._headers)
            except Denied as refusal:
                raise _Closed(CLOSE_REVOKED, refusal.code) from None

    async def _leave(self) -> None:
        if self._leaving is None:
            await asyncio.Event().wait()
        else:
            await self._leaving.wait()
        raise _Closed(CLOSE_GOING, "the process is stopping")

    async def _part(self) -> None:
        """The socket is gone. What only reads is for nobody any more; what writes runs to its recorded end, which needs no session."""
        left = list(self._calls.values())
        for running in left:
            if running.offer.flow.effect.rank <= Effect.READ.rank:
                await self._cancel(running)
        for running in left:
            if running.task is not None:
                running.task.cancel()
        await asyncio.gather(*(each.task for each in left if each.task is not None), return_exceptions=True)

    # -- sending

    async def _refuse(self, id: jsonrpc.Id, error: OmegaError) -> None:
        await self._text(jsonrpc.refusal(id, REFUSED, f"{error.code} {error.cause}", error.record()))

    async def _text(self, body: bytes) -> None:
        await self._say({"type": "websocket.send", "text": body.decode()})

    async def _say(self, message: Message) -> None:
        if self._gone:
            return
        async with self._sending:
            with suppress(OSError, RuntimeError):  # the socket closed under us: the reader is told of it
                await self._send(message)


def _close(watching: AsyncIterator[Any]) -> None:
    """Watch no more: what nobody takes would hold up its flow."""
    close = getattr(watching, "close", None)
    if close is not None:
        close()
