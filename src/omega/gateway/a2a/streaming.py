"""A task as a stream of events (A2A 1.0, 3.1.2 and 3.1.6): the task, what its flow shows, and how it stands in the end.

Parts that a streaming flow shows are chunks of the artifact `result`. When the whole result is another than its chunks joined, it comes
once more, in place of them: whoever read the stream and whoever asks for the task later hold the same.

A stream that began with a message ends when the task has ended or waits; one that was subscribed to goes on until it has ended. Two who
watch the same task see the same events: those are made of what is on record, and of the parts in their order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

from omega.gateway.a2a import sending
from omega.gateway.a2a.asked import LOOK_MOST_S, Asked, mark_of
from omega.gateway.a2a.desk import Account
from omega.gateway.a2a.tasks import RESULT, artifacts_of, context_of, state_of, status_of, task_of
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Status
from omega.wire.a2a import messages
from omega.wire.a2a.faults import UNSUPPORTED, A2aFault
from omega.wire.a2a.messages import INTERRUPTED, TERMINAL, part_for, parts_of

HEARTBEAT_S: Final = 15.0
"""How often (seconds) something is sent while nothing happens."""

LINGER_S: Final = 0.05
"""How long (seconds) a task that stands still is listened to for parts that are still on their way."""

LOOK_S: Final = 0.1
"""How often (seconds) it is looked whether a task that waits has gone on."""

_OVER: Final = object()

Event = Mapping[str, Any] | None
"""One event as the protocol has it; None where only something is to be sent."""


async def sent(asked: Asked, params: Mapping[str, Any]) -> AsyncIterator[Event]:
    """The events of a task from a message on. What is refused is raised before the first of them."""
    begun = sending.read(asked, params)
    if not begun.fresh:
        asked.found(begun.execution)
    watching = Watching(asked, begun.execution, until_ended=False)
    try:
        await sending.begin(asked, begun)
        yield {"task": watching.first(await asked.begun(begun.execution), begun)}
        async for event in watching.events():
            yield event
    finally:
        watching.close()


async def subscribed(asked: Asked, execution: str) -> AsyncIterator[Event]:
    """The events of a task from now on. Raises A2aFault (TASK_NOT_FOUND, UNSUPPORTED for a task that has ended) before the first."""
    account = asked.found(execution)
    if state_of(account) in TERMINAL:
        raise A2aFault(UNSUPPORTED, f"the task {execution} has ended: GetTask gives it")
    watching = Watching(asked, execution, until_ended=True)
    try:
        watching.stood = status_of(account, asked.agent)
        yield {"task": task_of(account, asked.agent)}
        async for event in watching.events():
            yield event
    finally:
        watching.close()


class Watching:
    """One stream of one task."""

    def __init__(self, asked: Asked, execution: str, *, until_ended: bool) -> None:
        self._asked, self._execution, self._until_ended = asked, execution, until_ended
        self._parts = self._watch()
        self._shown: list[str] = []
        self._chunks: dict[str, int] = {}
        self._context = ""
        self.stood: Mapping[str, Any] = {}

    def close(self) -> None:
        """Listen no more."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()

    def first(self, account: Account, begun: sending.Begun) -> dict[str, Any]:
        """The task as it begins, or goes on, with this message: at work, whatever has come of it in the meantime."""
        line = account.line
        task = task_of(account, self._asked.agent, history=begun.how.history, artifacts=False)
        return task | {"status": messages.status(messages.WORKING, line.started_us if begun.fresh else line.updated_us)}

    async def events(self) -> AsyncIterator[Event]:
        """What happens, until the stream is to end, or the caller has gone."""
        gone = asyncio.ensure_future(self._asked.left())
        try:
            while not gone.done():
                async for part in self._stretch(gone):
                    yield None if part is None else self._artifact(part)
                if gone.done():
                    return
                account = self._asked.found(self._execution)
                state = state_of(account)
                for event in self._stands(account, state):
                    yield event
                if state in TERMINAL or (state in INTERRUPTED and not self._until_ended):
                    return
                async for _ in self._still(account, gone):
                    yield None
        finally:
            gone.cancel()

    # -- while it runs

    async def _stretch(self, gone: asyncio.Future[None]) -> AsyncIterator[Any]:
        """The parts that are shown until the task stands still; None when nothing came for a while."""
        end = asyncio.ensure_future(self._stood_still())
        coming: asyncio.Future[Any] | None = None
        try:
            while not gone.done():
                coming = coming or asyncio.ensure_future(self._next())
                ended = end.done()
                awaited: set[asyncio.Future[Any]] = {coming, gone} if ended else {coming, gone, end}
                await asyncio.wait(awaited, timeout=LINGER_S if ended else HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    part, coming = coming.result(), None
                    if part is _OVER:
                        await asyncio.wait({end, gone}, return_when=asyncio.FIRST_COMPLETED)
                        return
                    yield part.value
                elif ended:
                    return
                elif not end.done() and not gone.done():
                    yield None
        finally:
            end.cancel()
            if coming is not None:
                coming.cancel()
                with suppress(asyncio.CancelledError):
                    await coming

    async def _next(self) -> Any:
        try:
            return await anext(self._parts, _OVER)
        except OmegaError:  # it was read too slowly: the result has everything that was shown
            return _OVER

    async def _stood_still(self) -> None:
        pause, asked = LOOK_S, self._asked
        while (await asked.core.outcome(self._execution, asked.visitor.scope)).status in (Status.RUNNING, Status.QUEUED):
            await asyncio.sleep(pause)
            pause = min(pause * 2, LOOK_MOST_S)

    def _artifact(self, value: Any) -> dict[str, Any]:
        """A part as a chunk of an artifact. A flow that takes whole messages may show parts of the protocol's own."""
        id, parts = RESULT, [part_for(value)]
        if self._asked.agent.takes == "message" and isinstance(value, Mapping) and "parts" in value:
            with suppress(A2aFault):
                parts = parts_of(value["parts"], "part")
                id = str(value.get("artifactId") or RESULT)
        self._chunks[id] = self._chunks.get(id, 0) + 1
        if id == RESULT and len(parts) == 1 and "text" in parts[0]:
            self._shown.append(parts[0]["text"])
        return self._update({"artifactId": id, "parts": parts}, append=self._chunks[id] > 1, last=False)

    # -- when it stands still

    def _stands(self, account: Account, state: str) -> list[dict[str, Any]]:
        """How it stands, if that is news, with the artifacts of a task that has ended well."""
        status = status_of(account, self._asked.agent)
        if status == self.stood or (state not in TERMINAL and state not in INTERRUPTED):
            return []
        self.stood = status
        made = artifacts_of(account.value, self._asked.agent) if state == messages.COMPLETED else []
        shown = {"artifactId": RESULT, "parts": [{"text": "".join(self._shown)}]}
        updates = [self._update(each, append=False, last=True) for each in made if each != shown]
        told = {"taskId": self._execution, "contextId": context_of(account), "status": status}
        return [*updates, {"statusUpdate": told}]

    def _update(self, artifact: Mapping[str, Any], *, append: bool, last: bool) -> dict[str, Any]:
        self._context = self._context or context_of(self._asked.found(self._execution))
        told: dict[str, Any] = {"taskId": self._execution, "contextId": self._context, "artifact": dict(artifact)}
        told |= {"append": True} if append else {}
        return {"artifactUpdate": told | ({"lastChunk": True} if last else {})}

    async def _still(self, account: Account, gone: asyncio.Future[None]) -> AsyncIterator[None]:
        """Until the task has gone on; something each time that nothing happened for a while."""
        self.close()
        self._parts = self._watch()
        since, looked = mark_of(account.line), 0.0
        while not gone.done() and mark_of(self._asked.core.line(self._execution, self._asked.visitor.scope)) == since:
            await asyncio.wait({gone}, timeout=LOOK_S)
            looked += LOOK_S
            if looked >= HEARTBEAT_S:
                looked = 0.0
                yield None

    def _watch(self) -> AsyncIterator[Any]:
        return self._asked.core.watch(self._execution, self._asked.visitor.scope)
