"""Nodes: engines that work side by side on the same records, and that they come and go.

    node:joined    an engine takes work from the records that it shares with others
    node:left      it stopped, as it was told to; one that is killed says nothing, its leases end

Both are published like any event: gated, on record, in the tenant of the installation. A folder has one engine, which nobody joins: there
nothing is told.
"""

from __future__ import annotations

import os
import platform
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from omega.contracts.events import Fact, NodeJoined, NodeLeft
from omega.contracts.publishing import Notice, publish
from omega.host.embedded import Omega
from omega.kernel.errors import OmegaError
from omega.kernel.ids import is_id, new_id

PREFIX = "nod"
"""How the ids of the executions begin that tell of nodes."""

STOPPED = "stopped"
"""Why a node left that was told to."""


@asynccontextmanager
async def announced(omega: Omega, roles: Sequence[str]) -> AsyncIterator[None]:
    """Tell that this engine is there, for as long as this is open: for what, `roles` says (`gateway`, `worker`).

    Telling is no condition of working: where the gate or the store refuses it, the engine works all the same. What ends this with an error
    is not followed by an event, for the store may be what failed.
    """
    if not omega.settings.store.shared:
        yield
        return
    node = f"{platform.node() or 'machine'}-{os.getpid()}"
    await _tell(omega, NodeJoined(node=node, roles=tuple(roles), version=version("omega-platform")))
    yield
    await _tell(omega, NodeLeft(node=node, reason=STOPPED))


async def _tell(omega: Omega, fact: Fact) -> None:
    world = omega.world
    execution = new_id(PREFIX, now_ms=world.clock.now_us() // 1_000, entropy=world.entropy.take(10))
    with suppress(OmegaError):
        await omega.run(publish, Notice.of(fact), execution=execution)


def is_telling(execution: str) -> bool:
    """Whether an execution is one that tells of a node: no work that somebody wanted done."""
    return execution.startswith(f"{PREFIX}_") and is_id(execution)
