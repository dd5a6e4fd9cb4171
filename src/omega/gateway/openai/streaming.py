"""A streamed answer as server-sent events, no faster than the caller reads them.

The head goes out with the first part: until then a failure is a plain answer with its own status. Whoever goes away in the middle has their
execution cancelled, and with it the question to the provider: nobody pays for what nobody reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from omega.gateway.front.core import AsgiScope, Core, Receive, Send, Visitor
from omega.gateway.front.door import LEAVING
from omega.gateway.front.request import dump
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Status
from omega.kernel.ports import Outcome
from omega.wire.openai import others
from omega.wire.openai.chat import Chunks
from omega.wire.openai.responses import Response
from omega.wire.sse import PING

HEARTBEAT_S: Final = 15.0
"""How often (seconds) something is sent while a model thinks."""

_OVER: Final = object()


class Form(Protocol):
    """How one interface writes a streamed answer: each is the bytes of some events."""

    def begin(self) -> bytes: ...

    def part(self, part: Mapping[str, Any]) -> bytes: ...

    def end(self, reply: Mapping[str, Any]) -> bytes: ...

    def fail(self, record: Mapping[str, Any]) -> bytes: ...


class CompletionStream:
    """Chat completions: data without names, and a last word."""

    def __init__(self, chunks: Chunks, *, usage: bool) -> None:
        self._chunks, self._usage = chunks, usage

    def begin(self) -> bytes:
        """The first chunk."""
        return _data(self._chunks.begin())

    def part(self, part: Mapping[str, Any]) -> bytes:
        """A chunk."""
        return _data(self._chunks.part(part))

    def end(self, reply: Mapping[str, Any]) -> bytes:
        """The last chunks."""
        used = _data(self._chunks.usage(reply)) if self._usage else b""
        return _data(self._chunks.end(reply)) + used + b"data: [DONE]\n\n"

    def fail(self, record: Mapping[str, Any]) -> bytes:
        """What programs take for an error in the middle."""
        return _data(others.error_of(record)[1])


class ResponseStream:
    """Responses: named events."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def begin(self) -> bytes:
        """The first events."""
        return _events(self._response.begin())

    def part(self, part: Mapping[str, Any]) -> bytes:
        """The events of a part."""
        return _events(self._response.part(part))

    def end(self, reply: Mapping[str, Any]) -> bytes:
        """The last events."""
        return _events(self._response.end(reply))

    def fail(self, record: Mapping[str, Any]) -> bytes:
        """The last event of one that failed."""
        return _events([self._response.fail(record)])


async def stream(
    core: Core, execution: str, visitor: Visitor, connection: tuple[AsgiScope, Receive, Send], form: Form, parts: AsyncIterator[Any]
) -> Mapping[str, Any] | None:
    """Show the parts of `execution` and how it ended; gives the error of one that failed before anything was shown."""
    scope, receive, send = connection
    leaving: asyncio.Event = scope.get(LEAVING) or asyncio.Event()
    end = asyncio.ensure_future(core.outcome(execution, visitor.scope))
    gone = asyncio.ensure_future(_gone(receive, leaving))
    writing = _Writing(send, form, execution)
    try:
        async for part in _until(parts, gone):
            await writing.heartbeat() if part is None else await writing.part(part.value)
        if not gone.done():
            await asyncio.wait({end, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            with suppress(OmegaError):  # it ended meanwhile, or may not be cancelled by this caller
                await core.decide(execution, "cancel", {}, visitor)
            return None
        return await writing.over(end.result())
    finally:
        end.cancel()
        gone.cancel()


class _Writing:
    """What has gone out."""

    def __init__(self, send: Send, form: Form, execution: str) -> None:
        self._send, self._form, self._execution = send, form, execution
        self._began = False

    async def part(self, part: Mapping[str, Any]) -> None:
        await self._begin()
        await self._more(self._form.part(part))

    async def heartbeat(self) -> None:
        await self._begin()
        await self._more(PING)

    async def over(self, outcome: Outcome) -> Mapping[str, Any] | None:
        if outcome.status != Status.DONE and not self._began:
            return outcome.error or {}
        await self._begin()
        last = self._form.end(outcome.value) if outcome.status == Status.DONE else self._form.fail(outcome.error or {})
        await self._more(last)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        return None

    async def _begin(self) -> None:
        if self._began:
            return
        self._began = True
        headers: Sequence[tuple[bytes, bytes]] = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"omega-execution", self._execution.encode()),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._more(self._form.begin())

    async def _more(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive, leaving: asyncio.Event) -> None:
    """Returns when the caller has gone away, or this process is about to."""
    left = asyncio.ensure_future(leaving.wait())
    try:
        while not left.done():
            coming = asyncio.ensure_future(receive())
            await asyncio.wait({coming, left}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
            elif coming.result()["type"] == "http.disconnect":
                return
    finally:
        left.cancel()


async def _until(parts: AsyncIterator[Any], gone: asyncio.Future[None]) -> AsyncIterator[Any]:
    """Each part; None when nothing came for a while. Over when there are no more, or nobody is there to read them."""
    coming: asyncio.Future[Any] | None = None
    try:
        while not gone.done():
            coming = coming or asyncio.ensure_future(anext(parts, _OVER))
            await asyncio.wait({coming, gone}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                if not gone.done():
                    yield None
                continue
            part, coming = coming.result(), None
            if part is _OVER:
                return
            yield part
    finally:
        if coming is not None:
            coming.cancel()
            with suppress(asyncio.CancelledError, OmegaError):
                await coming


def _data(value: Any) -> bytes:
    return b"data: " + dump(value) + b"\n\n"


def _events(events: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (str(each["type"]).encode(), dump(each)) for each in events)
