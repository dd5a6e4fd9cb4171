"""Asking for something to be started: in an engine of one's own where there may be one, else by an order to the one at work."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from omega.host.arrangements import arrange, dissolve
from omega.host.counter import answer_of
from omega.host.embedded import Omega
from omega.host.identity import Caller
from omega.host.logbook import note_access
from omega.host.orders import ANSWER, ORDER, OWNER, Order, Wanted
from omega.host.reading import Archive
from omega.host.settings import Settings
from omega.host.storage import open_mailbox
from omega.host.targets import Target
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError, OmegaError, StorageError, from_record
from omega.kernel.ids import EXECUTION, new_id
from omega.kernel.ports import Outcome
from omega.runtime.recovery import pin_of, read_outcome

PATIENCE_S = 30.0
"""How long an order waits for the engine before it is withdrawn."""

POLL_S = 0.05
REOPEN_S = 1.0
"""How often, meanwhile, it is tried whether the engine has gone."""


async def enqueue(home: str | os.PathLike[str] | None, wanted: Wanted) -> str:
    """Line `wanted` up; gives its execution. Raises what its entry gate and its input say (Denied, InputError), StorageError."""
    try:
        async with Omega.open(home) as omega:
            return await omega.enqueue(wanted)
    except StorageError as error:
        if error.code != "OMG-S001":
            raise
        return await _ordered(home, wanted, error)


async def keep(home: str | os.PathLike[str] | None, kind: str, name: str, body: Mapping[str, Any]) -> None:
    """Keep an arrangement, on record. Raises InputError (OMG-I001), Denied, StorageError."""
    try:
        async with Omega.open(home) as omega:
            await omega.arrange(kind, name, body)
    except StorageError as error:
        if error.code != "OMG-S001":
            raise
        target = Target("omega:arrange", arrange, ())
        await _ordered(home, Wanted(target=target, input={"kind": kind, "name": name, "body": dict(body)}), error)


async def forget(home: str | os.PathLike[str] | None, kind: str, name: str) -> None:
    """Forget an arrangement, on record. Raises InputError (OMG-I003), Denied, StorageError."""
    try:
        async with Omega.open(home) as omega:
            await omega.dissolve(kind, name)
    except StorageError as error:
        if error.code != "OMG-S001":
            raise
        await _ordered(home, Wanted(target=Target("omega:dissolve", dissolve, ()), input={"kind": kind, "name": name}), error)


async def ask(home: str | os.PathLike[str] | None, flow: AnyFlow, value: Any, caller: Caller = OWNER) -> Any:
    """What a flow of the host's own (`counter.OWN`) gives, run down the road here or by the engine at work. Raises its error."""
    try:
        async with Omega.open(home) as omega:
            return await omega.ask(flow, value, caller)
    except StorageError as error:
        if error.code != "OMG-S001":
            raise
        target = Target(f"omega:{flow.name}", flow, ())
        execution = await _ordered(home, Wanted(target=target, input=value, caller=caller), error)
    with Archive.open(home) as archive:
        return read_outcome(archive.world, execution).value


async def order(home: str | os.PathLike[str] | None, wanted: Wanted, busy: StorageError) -> Outcome:
    """What came of `wanted` in the engine at work, run at once. Raises its error, and `busy` when nobody comes to it."""
    execution = await _ordered(home, wanted, busy)
    with Archive.open(home) as archive:
        return read_outcome(archive.world, execution)


def note_look(home: str | os.PathLike[str] | None, execution: str) -> None:
    """Put on record that the values of `execution` are about to be looked at. Raises Denied, StorageError.

    Records that nobody here can write to (a copy, a mount for reading) note nothing: whoever holds one can look at it without us.
    """
    try:
        asyncio.run(ask(home, note_access, {"what": "values", "execution": execution}))
    except StorageError as error:
        if error.code != "OMG-S002":
            raise


async def _ordered(home: str | os.PathLike[str] | None, wanted: Wanted, busy: StorageError) -> str:
    """Have the engine at work start it; gives the execution. Raises `busy` when it does not come to it."""
    with Archive.open(home) as archive:
        now = archive.world.clock.now_us()
        if wanted.execution and archive.reader.line(wanted.execution) is not None:
            raise InputError("OMG-R010", f"{wanted.execution} exists already", advice="choose another id")
        name = wanted.execution or new_id(EXECUTION, now_ms=now // 1_000, entropy=archive.world.entropy.take(10))
        order = Order(
            execution=name,
            passport=wanted.passport or archive.identity.passport(wanted.caller, now_us=now),
            target=wanted.target.text,
            digest=pin_of(wanted.target.flow),
            input=wanted.input,
            budget=wanted.budget,
            timeout_s=wanted.timeout_s,
            placing=wanted.placing,
        )
        with open_mailbox(Settings.load(home)) as mailbox:
            mailbox.put_document(ORDER, name, order.seal(archive.identity.keyring), now)
            answer = await _answer(home, archive, name)
            mailbox.drop_document(ANSWER, name)
            if answer is None:
                mailbox.drop_document(ORDER, name)
                raise busy
    if answer["error"] is not None:
        raise from_record(answer["error"])
    return name


async def _answer(home: str | os.PathLike[str] | None, archive: Archive, name: str) -> dict[str, Any] | None:
    """What became of the order; None when nobody came to it."""
    give_up = time.monotonic() + PATIENCE_S
    look_again = time.monotonic() + REOPEN_S
    while time.monotonic() < give_up:
        found = archive.reader.document(ANSWER, name)
        if found is not None:
            return answer_of(found)
        if time.monotonic() >= look_again and not archive.live():
            await _take_over(home)
            look_again = time.monotonic() + REOPEN_S
        await asyncio.sleep(POLL_S)
    return None


async def _take_over(home: str | os.PathLike[str] | None) -> None:
    """The engine has gone: be it for as long as the orders take that it left."""
    try:
        async with Omega.open(home) as omega:
            await omega.take_orders()
    except OmegaError as error:
        if error.code != "OMG-S001":
            raise
