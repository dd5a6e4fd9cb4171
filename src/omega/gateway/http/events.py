"""Server-sent events (WHATWG HTML, 9.2): the parts of a streaming execution as they are made, then how it ended.

    event: started    data: {"execution": "exe_..."}
    event: part       data: {"step": "...", "index": 0, "value": ...}
    event: outcome    data: {"execution": ..., "status": "done", "value": ...} or with "error": problem details

Parts are shown, not recorded: whoever comes late asks for the outcome. A comment goes out now and then, so that proxies keep the way open.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from omega.gateway.front.core import Core, Send
from omega.gateway.front.request import dump
from omega.kernel.errors import OmegaError
from omega.kernel.ids import EXECUTION, new_id
from omega.kernel.ports import Call, Outcome
from omega.kernel.scope import Scope
from omega.wire.problem import problem_of

Left = Callable[[], Awaitable[None]]
"""Returns when the caller has gone, or the process is stopping."""

HEARTBEAT_S = 15.0
"""How often (seconds) something is sent while nothing happens."""

LINGER_S = 0.1
"""How long (seconds) an execution that has ended is listened to for parts that are still on their way."""

_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}


async def stream_outcome(core: Core, scope: Scope, send: Send, left: Left, call: Call) -> None:
    """Start `call` and show its parts and its outcome. Raises what is refused before it starts."""
    if not call.execution:
        call = replace(call, execution=new_id(EXECUTION, now_ms=core.now_us() // 1_000, entropy=secrets.token_bytes(10)))
    parts = core.watch(call.execution, scope)
    try:
        execution = await core.start(call)
    except BaseException:
        _close(parts)
        raise
    await _show(core, execution, scope, send, left, parts)


async def stream_execution(core: Core, execution: str, scope: Scope, send: Send, left: Left) -> None:
    """Show what `execution` shows from now on, and its outcome. Raises InputError (OMG-I003)."""
    core.line(execution, scope)
    await _show(core, execution, scope, send, left, core.watch(execution, scope))


async def _show(core: Core, execution: str, scope: Scope, send: Send, left: Left, parts: AsyncIterator[Any]) -> None:
    await send(dict(_HEAD))
    await send(_event("started", {"execution": execution}))
    end = asyncio.ensure_future(core.outcome(execution, scope))
    try:
        async for part in _until(parts, end, left):
            if part is None:
                await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
            else:
                await send(_event("part", {"step": part.position, "index": part.index, "value": part.value}))
        if end.done():
            await send(_event("outcome", _outcome(end)))
    finally:
        end.cancel()
        _close(parts)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until(parts: AsyncIterator[Any], end: asyncio.Future[Outcome], left: Left) -> AsyncIterator[Any]:
    """Each part; None when nothing came for a while. Over when the execution is, with everything that it showed, or when
    somebody leaves."""
    gone = asyncio.ensure_future(left())
    coming: asyncio.Future[Any] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(parts, _OVER))
            ended = end.done()
            awaited: set[asyncio.Future[Any]] = {coming, gone} if ended else {coming, gone, end}
            await asyncio.wait(awaited, timeout=LINGER_S if ended else HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                part, coming = coming.result(), None
                if part is _OVER:
                    waited: set[asyncio.Future[Any]] = {end, gone}
                    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                    return
                yield part
            elif gone.done() or ended:
                return
            elif not end.done():
                yield None
    finally:
        gone.cancel()
        if coming is not None:
            coming.cancel()
            with suppress(asyncio.CancelledError, OmegaError):
                await coming


_OVER = object()


def _outcome(end: asyncio.Future[Outcome]) -> dict[str, Any]:
    try:
        return outcome_document(end.result())
    except OmegaError as error:
        return {"status": "unknown", "error": problem_of(error.record())[1]}


def outcome_document(outcome: Outcome, *, base: str = "") -> dict[str, Any]:
    """How an execution ended or stands, as data."""
    error = {"error": problem_of(outcome.error, base=base)[1]} if outcome.error is not None else {}
    value = {"value": outcome.value} if outcome.error is None else {}
    return {"execution": outcome.execution, "status": str(outcome.status), **value, **error, "cost_micros": outcome.cost_micros}


def _event(name: str, data: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": b"event: %s\ndata: %s\n\n" % (name.encode(), dump(data)), "more_body": True}


def _close(parts: AsyncIterator[Any]) -> None:
    close = getattr(parts, "close", None)
    if close is not None:
        close()
