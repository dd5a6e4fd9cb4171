"""The watch over usage: reads the log as it grows, scores what agents do, and puts one that goes rogue into quarantine.

It looks at agents alone, each by itself, in the tenant of this installation. What it sees is what the log holds: gated calls, denials,
money, tools. Whether it acts is arranged (`omega quarantine watch on`); the score of everybody can be asked for either way. What it does
is a flow like any other, so the log says when and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from omega.chronicle.pruned import is_pruned
from omega.chronicle.record import Leaf, decode
from omega.host.arrangements import Documents, arranged
from omega.kernel.errors import InputError, OmegaError
from omega.kernel.ports import Reader
from omega.warden.anomaly import Profile, Score

WATCH = "watch"
"""The kind of the document that says whether the watch acts; its name is the tenant."""

LOOK_S = 5.0
"""How often the log is looked at, in seconds."""

BATCH = 2_048
"""Leaves read at once."""

MAX_BEHIND = 200_000
"""Leaves before the end at which a new watch begins: older ones say little about what is usual."""

MAX_CALLERS = 4_096
"""Most agents that are watched; further ones are not, until others have been forgotten."""

Isolating = Callable[[str, str], Awaitable[object]]
"""Puts a caller into quarantine, for a reason."""


class Watch:
    """Scores what the agents of one tenant do, as its log tells it."""

    def __init__(self, reader: Reader, tenant: str) -> None:
        self.profiles: dict[str, Profile] = {}
        self._reader, self._tenant = reader, tenant
        self._next = -1

    def look(self) -> dict[str, Score]:
        """Read what is new; gives the score of every agent of whom something new was read. Raises StorageError, IntegrityError."""
        size = max((size for size, _ in self._reader.checkpoints(self._tenant)), default=0)
        if self._next < 0:
            self._next = max(0, size - MAX_BEHIND)
        seen = set()
        while self._next < size:
            raw = self._reader.leaves(self._tenant, self._next, min(size, self._next + BATCH))
            if not raw:
                break
            for leaf in (decode(each) for each in raw if not is_pruned(each)):
                seen |= self._note(leaf)
            self._next += len(raw)
        return {name: self.profiles[name].score() for name in sorted(seen)}

    def _note(self, leaf: Leaf) -> set[str]:
        if leaf.kind not in ("outcome", "deny") or (leaf.kind == "deny" and leaf.decision != "deny"):
            return set()
        agents = {name for name in (leaf.principal, *leaf.actors) if name.startswith("agent:")}
        tool = leaf.flow if "/" in leaf.flow else ""
        for name in agents:
            if name in self.profiles or len(self.profiles) < MAX_CALLERS:
                profile = self.profiles.setdefault(name, Profile())
                profile.note(leaf.at_us / 1_000_000, cost_micros=leaf.cost_micros, refused=leaf.kind == "deny", tool=tool)
        return agents & self.profiles.keys()


async def keep(watch: Watch, documents: Documents, tenant: str, isolate: Isolating, isolated: Callable[[str], bool]) -> None:
    """Look again and again, and put whoever is rogue into quarantine while that is arranged. Never ends by itself."""
    while True:
        await asyncio.sleep(LOOK_S)
        with suppress(OmegaError):  # what could not be read or done now is looked at again
            if acts(documents, tenant):
                for principal, score in watch.look().items():
                    if score.rogue and not isolated(principal):
                        await isolate(principal, f"the watch over usage: {score.reason}"[:300])


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whether the watch acts, as it is kept (see `arrangements.Reading`)."""
    if type(body.get("acts")) is not bool:
        raise InputError("OMG-I001", "the watch acts, or does not", advice="omega quarantine watch on")
    return {"acts": body["acts"]}


def acts(documents: Documents, tenant: str) -> bool:
    """Whether the watch puts agents of `tenant` into quarantine by itself."""
    found = arranged(documents, WATCH, tenant)
    return found is not None and bool(found["acts"])
