"""Showing other processes what runs here: the parts of streams, and that an execution came to rest.

A process that waits for an execution asks every other one, and asks again every `elsewhere.ASK_S` seconds. Where the execution runs, or
begins to run while the question is fresh, its parts are sent, as many as were asked for: the flow waits for a reader that is slow, as it
would for one that is here (`runtime.streaming`), and after a while goes on without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from omega.host.between import ASK, WINDOW, Between, Said, between
from omega.host.embedded import Omega
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import FlowError

FRESH_S = 6.0
"""How long a question stands without being asked again, in seconds: three times as long as it takes to ask again."""

STALE_US = 10_000_000
"""How old a question may be when it arrives, in microseconds: one that somebody repeats later holds nothing up."""

SWEEP_S = 1.0
"""How often it is looked for questions that nobody asks any more, in seconds."""

MAX_ASKED = 8_192
"""Most questions that stand at once; others are asked again, and find room then."""

Key = tuple[str, str]


@dataclass(slots=True)
class _Asked:
    """One question: which execution, who asks under which number, how many parts may be sent in all, until when it stands."""

    key: Key
    to: str
    watch: str
    credit: int
    until: float
    more: asyncio.Event = field(default_factory=asyncio.Event)
    showing: asyncio.Task[None] | None = None


class Showing:
    """Answers the questions of other processes about what runs in `omega`."""

    def __init__(self, omega: Omega, between: Between) -> None:
        self._streams = omega.world.streams
        self._now_us = omega.world.clock.now_us
        self._between = between
        self._asked: dict[str, _Asked] = {}
        self._of: dict[Key, dict[str, _Asked]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        before = omega.world.rested

        def rested(tenant: str, execution: str, flow: AnyFlow) -> None:
            before(tenant, execution, flow)
            self.rested((tenant, execution))

        omega.world.rested = rested

    async def run(self) -> None:
        """Answer, for ever."""
        subscription = await self._between.subscribe(ASK)
        try:
            await asyncio.gather(self._between.hear(subscription, self.asked), self._sweep())
        finally:
            for asked in list(self._asked.values()):
                self._forget(asked)
            await subscription.aclose()

    def asked(self, said: Said) -> None:
        """Take in a question. One that is not of this form is of a release that we do not know: nobody is answered then."""
        key, to, watch, credit = (said.get("tenant"), said.get("execution")), said.get("to"), said.get("watch"), said.get("credit")
        if to == self._between.address or not all(isinstance(each, str) for each in (*key, to, watch)) or type(credit) is not int:
            return
        at_us = said.get("at_us")
        if type(at_us) is not int or abs(self._now_us() - at_us) > STALE_US:
            return
        until = time.monotonic() + FRESH_S
        if said.get("by") not in ("", self._between.address):  # it counts the parts of a process that showed it before
            credit = min(credit, WINDOW)
        known = self._asked.get(str(watch))
        if known is not None:
            known.until, known.credit = until, max(known.credit, credit)
            known.more.set()
        elif len(self._asked) < MAX_ASKED:
            made = _Asked((str(key[0]), str(key[1])), str(to), str(watch), credit, until)
            self._asked[made.watch] = made
            self._of.setdefault(made.key, {})[made.watch] = made
            if credit > 0:
                made.showing = asyncio.create_task(self._show(made))

    def rested(self, key: Key) -> None:
        """Tell everyone who waits for no more than that; whoever is shown parts is told after the last of them."""
        for asked in list(self._of.get(key, {}).values()):
            if asked.showing is None:
                self._forget(asked)
                task = asyncio.create_task(self._over(asked))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)

    async def _show(self, asked: _Asked) -> None:
        with suppress(FlowError):  # too many watch it, or nobody took anything for too long: it is asked for again
            await self._parts(asked)
        self._forget(asked)
        await self._over(asked)

    async def _parts(self, asked: _Asked) -> None:
        sent = 0
        async with self._streams.watch(*asked.key) as watching:
            async for part in watching:
                if asked.key in self._between.relayed:
                    continue
                while sent >= asked.credit:
                    asked.more.clear()
                    await asked.more.wait()
                sent += 1
                told = {"watch": asked.watch, "by": self._between.address, "n": sent}
                await self._between.tell(asked.to, {**told, "part": [part.position, part.index, part.value]})

    async def _over(self, asked: _Asked) -> None:
        await self._between.tell(asked.to, {"watch": asked.watch, "over": True})

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for asked in [each for each in self._asked.values() if each.until < now]:
                self._forget(asked)

    def _forget(self, asked: _Asked) -> None:
        self._asked.pop(asked.watch, None)
        rest = self._of.get(asked.key, {})
        rest.pop(asked.watch, None)
        if not rest:
            self._of.pop(asked.key, None)
        if asked.showing is not None and asked.showing is not asyncio.current_task():
            asked.showing.cancel()


@asynccontextmanager
async def shown(omega: Omega) -> AsyncIterator[Between | None]:
    """Show other processes what runs in `omega`, for as long as this is open, and give the way to them; None where there are no others.

    Raises StorageError (OMG-S002) when the bus cannot be reached.
    """
    async with between(omega) as ours:
        if ours is None:
            yield None
            return
        running = asyncio.create_task(omega.chores.keep("showing", Showing(omega, ours).run))
        try:
            yield ours
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
