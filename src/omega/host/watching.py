"""The watch over usage: reads the log as it grows, scores what agents do, and puts one that goes rogue into quarantine.

It looks at agents alone, each by itself, in every tenant that arranged it. What it sees is what the log holds: gated calls, denials,
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
from omega.host.arrangements import Documents, all_arranged
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

BATCHES = 4
"""Batches of one look: a watch that begins catches up over many, and holds up nobody."""

Isolating = Callable[[str, str, str], Awaitable[object]]
"""Puts a caller of a tenant into quarantine, for a reason."""


class Watch:
    """Scores what the agents of one tenant do, as its log tells it."""

    def __init__(self, reader: Reader, tenant: str) -> None:
        self.profiles: dict[str, Profile] = {}
        self._reader, self._tenant = reader, tenant
        self._next = -1
        self._size = 0
        self._seen: set[str] = set()

    def look(self) -> dict[str, Score]:
        """Read on; gives the score of every agent of whom something new was read, once the end of the log is reached: nobody is judged by
        a part of what they did. Raises StorageError, IntegrityError."""
        self._size = max((size for size, _ in self._reader.checkpoints(self._tenant, self._size)), default=self._size)
        if self._next < 0:
            self._next = max(0, self._size - MAX_BEHIND)
        for _ in range(BATCHES):
            raw = self._reader.leaves(self._tenant, self._next, min(self._size, self._next + BATCH)) if self._next < self._size else []
            for leaf in (decode(each) for each in raw if not is_pruned(each)):
                self._seen |= self._note(leaf)
            self._next += len(raw)
            if not raw:
                break
        if self._next < self._size:
            return {}
        seen, self._seen = self._seen, set()
        return {name: self.profiles[name].score() for name in sorted(seen)}

    def look_through(self) -> dict[str, Score]:
        """Read on to the end of the log, however far that is: for somebody who asks once. Raises what `look` raises."""
        scores, before = self.look(), -1
        while before < self._next < self._size:  # a log that lacks leaves under its checkpoint has no end to reach
            before = self._next
            scores = self.look()
        return scores

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


NOBODY: Mapping[str, Watch] = {}


async def keep(
    reader: Reader,
    documents: Documents,
    isolate: Isolating,
    isolated: Callable[[str, str], bool],
    known: Mapping[str, Watch] = NOBODY,
) -> None:
    """Look again and again, and put whoever is rogue into quarantine where that is arranged. Never ends by itself.

    A tenant is watched from when it arranged that; what it did before, as far back as `MAX_BEHIND`, says what is usual. `known` are
    watches that have looked already, by tenant.
    """
    watches = dict(known)
    rogues: dict[tuple[str, str], str] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        with suppress(OmegaError):  # what could not be read now is looked at again
            watches = {tenant: watches.get(tenant) or Watch(reader, tenant) for tenant in acting(documents)}
        for tenant, watch in watches.items():
            with suppress(OmegaError):  # one tenant's trouble is not another's
                found = {(tenant, name): score.reason for name, score in watch.look().items() if score.rogue}
                rogues |= {who: f"the watch over usage: {reason}"[:300] for who, reason in found.items()}
            await asyncio.sleep(0)
        rogues = {who: reason for who, reason in rogues.items() if who[0] in watches and not isolated(*who)}
        for (tenant, principal), reason in rogues.items():
            with suppress(OmegaError):  # tried again with the next look
                await isolate(tenant, principal, reason)


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whether the watch acts, as it is kept (see `arrangements.Reading`)."""
    if type(body.get("acts")) is not bool:
        raise InputError("OMG-I001", "the watch acts, or does not", advice="omega quarantine watch on")
    return {"acts": body["acts"]}


def acting(documents: Documents) -> list[str]:
    """The tenants whose watch acts, by name."""
    return sorted(tenant for tenant, body in all_arranged(documents, WATCH).items() if body.get("acts") is True)
