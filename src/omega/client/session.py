"""RPC over one WebSocket, from the client's side: any number of calls at once, each with its answer, its parts, its cancellation.

    async with client.session() as rpc:
        summary = await rpc.call("insights.summary", {"hours": 24})
        async with rpc.stream("events.follow", {"types": ["flow:*"]}) as events:
            async for event in events: ...

A stream asks for more parts as its own are taken: whoever reads slowly slows down the flow at the other end, and nothing piles up here.
Leaving a stream early cancels its execution. The protocol is `omega.wire.rpc`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Final

from omega.client.failures import unreachable
from omega.client.transport import Transport
from omega.kernel.errors import InputError, OmegaError, from_record
from omega.wire import jsonrpc
from omega.wire.rpc import (
    AUTHORIZE,
    CANCEL,
    CLOSE_REVOKED,
    CREDIT,
    MAX_ANSWER,
    PART,
    PING,
    SUBPROTOCOL,
    CallParams,
)

PATH: Final = "/rpc"
WINDOW: Final = 32
"""Parts of one stream that may be on their way at once."""


class _Waiting:
    """A call whose answer is awaited, and the parts that came of it."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.parts: asyncio.Queue[Any] = asyncio.Queue()
        """As large as the credit that was given, because no part comes without."""


class Session:
    """An open session; made by `Client.session`. Belongs to one event loop."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stack = AsyncExitStack()
        self._socket: Any = None
        self._reading: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[jsonrpc.Id, _Waiting] = {}

    async def __aenter__(self) -> Session:
        self._socket = await self._stack.enter_async_context(self._transport.socket(PATH, protocol=SUBPROTOCOL, most=MAX_ANSWER))
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._stack.aclose()

    async def call(self, method: str, value: Any = None, *, key: str = "", timeout_s: float | None = None) -> Any:
        """The value of `service.method`. When the awaiting task is cancelled, so is the call. Raises OmegaError."""
        id, waiting = await self._begin(method, CallParams({} if value is None else value, key, timeout_s))
        try:
            answer = await waiting.answer
        except asyncio.CancelledError:
            await self._tell(CANCEL, {"id": id})
            raise
        finally:
            self._waiting.pop(id, None)
        if "value" not in answer:
            raise InputError("OMG-R010", f"{answer.get('execution', 'the execution')} is {answer.get('status', 'not at its end')}")
        return answer["value"]

    def stream(self, method: str, value: Any = None, *, window: int = WINDOW) -> Parts:
        """The parts of a streaming method: `async with` it, and iterate. At most `window` of them are on their way at once."""
        return Parts(self, method, {} if value is None else value, window)

    async def ping(self) -> int:
        """The time of the records at the other end, in Unix microseconds."""
        found: dict[str, Any] = await self._ask(PING, {})
        return int(found["now_us"])

    async def renew(self) -> None:
        """Make later calls with the newest passport that the client's credentials give. Raises Denied (OMG-T001)."""
        await self._ask(AUTHORIZE, {"passport": await self._transport.token()})

    # -- one call

    async def _ask(self, method: str, params: dict[str, Any]) -> Any:
        id = next(self._ids)
        waiting = self._waiting[id] = _Waiting()
        try:
            await self._send(jsonrpc.request(id, method, params))
            return await waiting.answer
        finally:
            self._waiting.pop(id, None)

    async def _begin(self, method: str, params: CallParams) -> tuple[jsonrpc.Id, _Waiting]:
        id = next(self._ids)
        waiting = self._waiting[id] = _Waiting()
        try:
            await self._send(jsonrpc.request(id, method, params.record()))
        except OmegaError:
            del self._waiting[id]
            raise
        return id, waiting

    async def _tell(self, method: str, params: dict[str, Any]) -> None:
        with suppress(OmegaError):  # the socket is gone, and with it whatever this was about
            await self._send(jsonrpc.notification(method, params))

    async def _send(self, body: bytes) -> None:
        if self._socket is None or self._socket.closed or (self._reading is not None and self._reading.done()):
            raise self._over()
        try:
            await self._socket.send_str(body.decode())
        except (OSError, RuntimeError) as error:
            raise self._over() from error

    # -- reading

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if message.type.name != "TEXT":
                    continue
                try:
                    self._take(jsonrpc.decode(message.data.encode()))
                except jsonrpc.ProtocolFault:  # not ours to mend: what waits for an answer finds out by its own time limit
                    continue
        finally:
            error = self._over()
            for waiting in self._waiting.values():
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
                    waiting.answer.exception()  # one that nobody awaits any more is no news

    def _take(self, incoming: jsonrpc.Incoming) -> None:
        if incoming.method == PART:
            waiting = self._waiting.get(incoming.params.get("id", ""))
            if waiting is not None:
                waiting.parts.put_nowait(incoming.params.get("part"))
            return
        waiting = self._waiting.get(incoming.id) if incoming.is_response and incoming.id is not None else None
        if waiting is None or waiting.answer.done():
            return
        if incoming.error is None:
            waiting.answer.set_result(incoming.result)
        else:
            waiting.answer.set_exception(_refused(incoming.error))

    def _over(self) -> OmegaError:
        code = getattr(self._socket, "close_code", None)
        if code == CLOSE_REVOKED:
            return from_record({"family": "denied", "code": "OMG-T001", "cause": "the passport of the session does not stand any more"})
        return unreachable("closed the session", close_code=code)


class Parts:
    """The parts of one stream. Leaving it before its end cancels the execution."""

    def __init__(self, session: Session, method: str, value: Any, window: int) -> None:
        self._session = session
        self._asked = (method, CallParams(value, credit=window))
        self._window = window
        self._id: jsonrpc.Id = 0
        self._waiting: _Waiting | None = None
        self._owed = 0

    async def __aenter__(self) -> Parts:
        self._id, self._waiting = await self._session._begin(*self._asked)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        waiting = self._waiting
        if waiting is not None and not waiting.answer.done():
            await self._session._tell(CANCEL, {"id": self._id})
        self._session._waiting.pop(self._id, None)
        if waiting is not None and waiting.answer.done() and not waiting.answer.cancelled():
            waiting.answer.exception()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Each part; raises the error in which the call ended, after the parts that came before it."""
        waiting = self._waiting
        if waiting is None:
            raise InputError("OMG-X001", "a stream is opened with async with before it is read")
        while True:
            if waiting.parts.empty():
                taking = asyncio.ensure_future(waiting.parts.get())
                try:
                    await asyncio.wait([taking, waiting.answer], return_when=asyncio.FIRST_COMPLETED)
                    if not taking.done():
                        waiting.answer.result()
                        return
                    part = taking.result()
                finally:
                    taking.cancel()
            else:
                part = waiting.parts.get_nowait()
            yield part
            await self._more()

    async def _more(self) -> None:
        """Give credit back by the half window, so that a message is not sent for each part."""
        self._owed += 1
        if self._owed * 2 >= self._window:
            owed, self._owed = self._owed, 0
            await self._session._tell(CREDIT, {"id": self._id, "more": owed})


def opened(transport: Transport) -> Session:
    """A session over `transport`, opened when it is entered."""
    return Session(transport)


def _refused(error: Any) -> OmegaError:
    """The error of a response: Omega's own, or JSON-RPC's."""
    data = error.get("data") if isinstance(error, dict) else None
    if isinstance(data, dict) and "code" in data:
        return from_record(data)
    code = error.get("code") if isinstance(error, dict) else None
    said = str(error.get("message", "")) if isinstance(error, dict) else ""
    return InputError("OMG-I002" if code == jsonrpc.METHOD_NOT_FOUND else "OMG-G001", said[:200] or "the call was not understood")
