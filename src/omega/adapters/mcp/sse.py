"""Streams to a server that speaks the first remote transport of MCP, HTTP with SSE (revision 2024-11-05), which later ones deprecate.

    GET   the address of the server: an event stream, open as long as the conversation
          event: endpoint   where to send; has to lie at the same origin
          event: message    a JSON-RPC message
    POST  the endpoint: one JSON-RPC message; the answer comes on the stream

Read for compatibility alone: nothing in it can be gone on with after a break, so a stream that ends is the end of the conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import msgspec

from omega.adapters.mcp.http import Answer, HttpFault, Pool
from omega.adapters.mcp.limits import Limits
from omega.adapters.mcp.stdio import session_message
from omega.kernel.errors import UpstreamError
from omega.wire.jsonrpc import refusal
from omega.wire.sse import Event, Reader, TooLarge

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

    from omega.adapters.mcp.stdio import Incoming, Streams

MAX_ENDPOINT: Final = 4_096
"""Longest address of an endpoint, in characters."""

NOT_TAKEN: Final = -32_000
"""Code of the answer that stands in for one that will not come, because the server did not take the request."""

_ENDED_S: Final = 1.0


class SseTransport:
    """One event stream and the posts that belong to it, as the SDK's `Client` wants a transport: a context manager giving (read, write).

    `headers` are resolved: they hold secrets. A server elsewhere has no exit code, no last words and no caps.
    """

    last_words = ""
    exit_code: int | None = None
    over_cap = ""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], limits: Limits) -> None:
        self._name, self._url, self._headers, self._limits = name, url, dict(headers), limits
        self._pools: list[Pool] = []
        self._streams: tuple[MemoryObjectReceiveStream[Any] | MemoryObjectSendStream[Any], ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._left = False
        self.fault = ""
        self.ended = asyncio.Event()

    def hurry(self) -> None:
        """Nothing here has to be waited for."""

    async def __aenter__(self) -> Streams:
        import anyio

        stream = self._pool(self._url)
        answer = await self._opened(stream)
        incoming, read = anyio.create_memory_object_stream["Incoming"](0)
        write, outgoing = anyio.create_memory_object_stream["SessionMessage"](0)
        self._streams = (incoming, read, write, outgoing)
        self._tasks = [
            asyncio.create_task(self._listen(stream, answer, incoming)),
            asyncio.create_task(self._speak(outgoing, incoming)),
        ]
        return read, write

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import anyio

        self._left = True  # what ends from now on is no fault of the server
        with anyio.CancelScope(shield=True):
            for stream in self._streams:
                stream.close()
            for pool in self._pools:
                pool.close()
            await asyncio.wait(self._tasks, timeout=_ENDED_S)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if not self._endpoint.done():
                self._endpoint.cancel()

    def _pool(self, url: str) -> Pool:
        pool = Pool(url, self._headers, self._limits.message_bytes)
        self._pools.append(pool)
        return pool

    async def _opened(self, stream: Pool) -> Answer:
        try:
            answer = await stream.ask("GET", b"", {"Accept": "text/event-stream", "Cache-Control": "no-store"})
        except (HttpFault, TimeoutError) as error:
            raise UpstreamError("OMG-M001", f"{self._name} cannot be reached: {str(error) or 'nothing answered in time'}") from error
        if answer.status != 200 or answer.kind != "text/event-stream":
            stream.drop(answer)
            cause = f"{self._name} gives no event stream: status {answer.status}, {answer.kind[:80] or 'no type'}"
            raise UpstreamError("OMG-M001", cause, advice="leave --sse out: newer servers speak streamable HTTP")
        return answer

    async def _listen(self, stream: Pool, answer: Answer, incoming: MemoryObjectSendStream[Incoming]) -> None:
        """Give every message of the stream to the session; end the conversation with the stream, or when a limit is passed."""
        import anyio

        with incoming, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            try:
                async for event in self._events(stream, answer):
                    if event.kind == "endpoint":
                        self._take(event.data)
                    elif event.kind == "message" and (message := session_message(event.data)) is not None:
                        await incoming.send(message)
                self._fault("its event stream ended")
            except (HttpFault, TooLarge, ValueError) as error:  # the last: an endpoint that cannot be taken
                self._fault(str(error))
        self.ended.set()
        if not self._endpoint.done():
            self._endpoint.cancel()

    def _fault(self, words: str) -> None:
        if not self._left:
            self.fault = self.fault or words

    async def _events(self, stream: Pool, answer: Answer) -> AsyncIterator[Event]:
        reader = Reader(self._limits.message_bytes)
        async for piece in stream.pieces(answer):
            for event in reader.feed(piece):
                yield event

    def _take(self, data: bytes) -> None:
        """Take the address to send to. Raises ValueError for one at another origin: it would get this server's credentials."""
        if self._endpoint.done():
            raise ValueError("it named its endpoint twice")
        url = urljoin(self._url, data.decode("utf-8", "replace").strip())
        here, there = urlsplit(self._url), urlsplit(url)
        if len(url) > MAX_ENDPOINT or (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise ValueError("its endpoint lies at another origin")
        self._endpoint.set_result(url)

    async def _speak(self, outgoing: MemoryObjectReceiveStream[SessionMessage], incoming: MemoryObjectSendStream[Incoming]) -> None:
        import anyio

        with suppress(asyncio.CancelledError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            pool = self._pool(await self._endpoint)
            async for item in outgoing:
                body = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
                refused = await self._posted(pool, body)
                if refused and (answer := _refused(body, refused)) is not None:
                    await incoming.send(answer)

    async def _posted(self, pool: Pool, body: bytes) -> str:
        """Send one message; why the server did not take it, empty where it did."""
        try:
            answer = await pool.ask("POST", body, {"Content-Type": "application/json", "Accept": "application/json"})
            await pool.whole(answer)
        except (HttpFault, TimeoutError) as error:
            return str(error) or "nothing answered in time"
        return "" if 200 <= answer.status < 300 else f"status {answer.status}"


def _refused(body: bytes, why: str) -> SessionMessage | None:
    """The error that answers the request in `body`; None for what is no request."""
    asked = msgspec.json.decode(body)
    if "id" not in asked or "method" not in asked:
        return None
    return session_message(refusal(asked["id"], NOT_TAKEN, f"the server did not take the request: {why}"))
