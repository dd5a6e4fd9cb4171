"""Primaries in an open house: their entries among the flows that are put up, and the chore that reads their catalogues."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from omega.gateway.front.core import Served
from omega.host.arrangements import Documents, all_arranged
from omega.host.asking import ask, forget, keep
from omega.host.primary import EVERY_S, MARK, PRIMARY, ask_primary, entry_flow, primaries, read_primary
from omega.kernel.errors import InputError, OmegaError

if TYPE_CHECKING:
    from omega.host.embedded import Omega
    from omega.host.reading import Archive

LOOK_S: Final = 0.5
"""How often it is looked whether a catalogue is due, and how long a list of entries is the one that is shown."""

TURN: Final = "primary-turn"
"""The kind of the notes that say when a catalogue was read last, so that of several processes one reads it."""


class Bridged:
    """The entries of every primary as flows that are put up here."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._looked = float("-inf")
        self._seen: Sequence[tuple[str, bytes]] = ()
        self._served: tuple[Served, ...] = ()

    def served(self) -> tuple[Served, ...]:
        """What there is to be run, by the name `PRIMARY/NAME`."""
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            seen = [*self._documents.documents(PRIMARY), *self._documents.documents(MARK)]
            if seen != self._seen:
                self._seen, self._served = seen, tuple(_served(self._documents))
        return self._served


def _served(documents: Documents) -> list[Served]:
    found = []
    for name, (_, known) in primaries(documents).items():
        as_of = moment(known.as_of_us)
        for entry in known.entries:
            with suppress(OmegaError):  # one that makes no flow is missing, and the others are there
                flow = entry_flow(name, entry, as_of)
                found.append(Served(name=flow.name, flow=flow, target=""))
    return found


def moment(at_us: int) -> str:
    """A time for people; `never` for 0."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z") if at_us else "never"


@asynccontextmanager
async def following_primaries(omega: Omega) -> AsyncIterator[None]:
    """Read catalogues as they are due, for as long as this is open."""
    running = asyncio.create_task(omega.chores.keep("primaries", partial(_follow, omega)))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _follow(omega: Omega) -> None:
    while True:
        with suppress(OmegaError):
            for name, body in all_arranged(omega.store, PRIMARY).items():
                if _due(omega, name, int(body.get("every_s", EVERY_S))):
                    with suppress(OmegaError):  # the catalogue says why, and stays as it was
                        await omega.ask(read_primary, name)
        await asyncio.sleep(LOOK_S)


def _due(omega: Omega, name: str, every_s: int) -> bool:
    store, now_us = omega.store, omega.world.clock.now_us()
    held = store.document(TURN, name)
    if held is not None and now_us - int(json.loads(held)["at_us"]) < every_s * 1_000_000:
        return False
    return store.swap_document(TURN, name, held, json.dumps({"at_us": now_us}).encode(), now_us)


# -- the operator's side


async def add(home: str | os.PathLike[str] | None, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Bridge to a primary, and read its catalogue. Raises InputError (OMG-I001), Denied, UpstreamError (OMG-M002, M003)."""
    await keep(home, PRIMARY, name, body)
    return await sync(home, name)


async def sync(home: str | os.PathLike[str] | None, name: str) -> dict[str, Any]:
    """Read a catalogue. Raises InputError (OMG-I003), Denied (OMG-W001), UpstreamError (OMG-M002, M003)."""
    return dict(await ask(home, read_primary, name))


async def remove(home: str | os.PathLike[str] | None, name: str) -> None:
    """Bridge to a primary no more. Raises InputError (OMG-I003)."""
    await forget(home, PRIMARY, name)


async def call(home: str | os.PathLike[str] | None, name: str, value: Any) -> dict[str, Any]:
    """Ask for `PRIMARY/ENTRY`: value and receipt. Raises what the effector of primaries raises."""
    primary, slash, entry = name.partition("/")
    if not slash or not entry:
        raise InputError("OMG-X001", f"{name[:80]!r} is no entry", advice="write PRIMARY/NAME: omega primary list")
    return dict(await ask(home, ask_primary, {"primary": primary, "entry": entry, "value": value}))


def listed(archive: Archive) -> list[dict[str, Any]]:
    """Every primary with its entries: `as_of`, and why and since when it could not be read anew."""
    return [
        {
            "primary": name,
            "url": body["url"],
            "as_of": moment(known.as_of_us),
            "stale": bool(known.why) or not known.as_of_us,
            "why": known.why,
            "since": moment(known.since_us),
            "entries": [{"name": f"{name}/{each.called}", "kind": each.kind, "summary": each.summary} for each in known.entries],
        }
        for name, (body, known) in primaries(archive.reader).items()
    ]
