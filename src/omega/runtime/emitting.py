"""Showing parts: what a step emits goes to whoever watches the run, and nowhere else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from omega.kernel.errors import FlowError
from omega.kernel.streams import MAX_PART
from omega.kernel.trail import shown
from omega.kernel.types import ANY
from omega.runtime.branching import Branching
from omega.runtime.streaming import Part
from omega.runtime.world import Moment

MAX_NOTE = 200
"""Characters of a part that a `Moment` shows."""


class Emitting(Branching):
    """The part of an execution that shows parts."""

    async def emitted(self, position: str, index: int, value: Any) -> None:
        """Show part `index` of the step at `position` to whoever watches, and let others run in between.

        Raises FlowError: OMG-R002 for what is no plain data, OMG-R003 past `MAX_PART`.
        """
        data, plain = ANY.encode(value)
        if len(data) > MAX_PART:
            raise FlowError("OMG-R003", f"a part of {len(data):,} bytes is over the limit of {MAX_PART:,}")
        step = shown(position)
        self.world.watch(Moment(kind="part", execution=self.book.execution, position=step, note=_brief(plain)))
        part = Part(execution=self.book.execution, position=step, index=index, value=plain)
        await self.world.streams.publish(self.book.scope.tenant, part)
        await asyncio.sleep(0)


def _brief(plain: Any) -> str:
    return (plain if isinstance(plain, str) else json.dumps(plain))[:MAX_NOTE]
