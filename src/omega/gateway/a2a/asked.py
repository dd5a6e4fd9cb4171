"""A request whose caller and agent are known, and what every operation does with it: find the task, wait for it, tell what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from omega.gateway.a2a.desk import LABEL, Account, Agent, Desk
from omega.gateway.a2a.tasks import state_of
from omega.gateway.front.core import AsgiScope, Core, Receive, Send, Visitor
from omega.gateway.front.door import LEAVING
from omega.gateway.front.request import Arrival
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.kernel.ports import Line
from omega.wire.a2a.faults import TASK_NOT_FOUND, A2aFault
from omega.wire.a2a.messages import INTERRUPTED, TERMINAL

LOOK_S: Final = 0.02
"""How soon it is looked again how a task stands that another engine has in hand, in seconds; then twice as long, up to `LOOK_MOST_S`."""

LOOK_MOST_S: Final = 0.5

GO_ON_S: Final = 5.0
"""How long (seconds) a task that was given what it waited for may take to go on."""

Mark = tuple[str, int, int]
"""What of a line changes whenever its execution gets on."""


@dataclass(slots=True)
class Asked:
    """One request."""

    core: Core
    desk: Desk
    agent: Agent
    visitor: Visitor
    arrival: Arrival
    connection: tuple[AsgiScope, Receive, Send]

    def found(self, execution: str) -> Account:
        """The task of that id. Raises A2aFault (TASK_NOT_FOUND) where this agent has none that the caller may see."""
        try:
            line = self.core.line(execution, self.visitor.scope)
            if line.labels.get(LABEL) == self.agent.name:
                return self.desk.account(execution, self.visitor.scope)
        except InputError as error:
            if error.code != "OMG-I003":
                raise
        raise A2aFault(TASK_NOT_FOUND, f"there is no task {execution[:80]} of {self.agent.name} for you")

    async def begun(self, execution: str) -> Account:
        """The task of that id, which was just begun: one that is over at once may be written a moment later. Raises what `found` raises."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GO_ON_S):
                while not self._is_there(execution):  # noqa: ASYNC110 - the store tells nobody
                    await asyncio.sleep(LOOK_S)
        return self.found(execution)

    def _is_there(self, execution: str) -> bool:
        try:
            self.core.line(execution, self.visitor.scope)
        except InputError:
            return False
        return True

    async def settled(self, execution: str) -> Account:
        """The task once it has ended, or waits for whoever sent it a message."""
        pause = LOOK_S
        while True:
            outcome = await self.core.outcome(execution, self.visitor.scope)
            if Status(outcome.status) not in (Status.RUNNING, Status.QUEUED):
                account = self.found(execution)
                if state_of(account) in TERMINAL | INTERRUPTED:
                    return account
            await asyncio.sleep(pause)
            pause = min(pause * 2, LOOK_MOST_S)

    async def went_on(self, execution: str, since: Mark) -> None:
        """Return once `execution` has got on since `since`, or does not in a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GO_ON_S):
                while mark_of(self.core.line(execution, self.visitor.scope)) == since:  # noqa: ASYNC110 - another process may go on with it
                    await asyncio.sleep(LOOK_S)

    async def while_here(self, work: Awaitable[Any]) -> Any:
        """What `work` gives; None when the caller has gone before, or the process is stopping."""
        doing, left = asyncio.ensure_future(work), asyncio.ensure_future(self.left())
        try:
            await asyncio.wait({doing, left}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            left.cancel()
            doing.cancel()

    async def left(self) -> None:
        """Return when the caller has gone, or the process is stopping."""
        scope, receive, _ = self.connection
        leaving: asyncio.Event = scope.get(LEAVING) or asyncio.Event()
        stopping, gone = asyncio.ensure_future(leaving.wait()), asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({stopping, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def mark_of(line: Line) -> Mark:
    """Where an execution stands."""
    return str(line.status), line.epoch, line.updated_us
