"""Letters between engines: decisions about executions that another engine has in hand.

    write     sealed with who decided (`omega.trust.letter`)                          here, or by `host.deciding` beside a live engine
    read      opened, the writer's passport looked at again, decided as the writer    never as the engine that reads
    settle    once it is carried out or refused; a refusal leaves a leaf

A letter about a child, written when its parent ends, names no person who may decide about the child: the parent may, and the letter says on
whose decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from omega.kernel.errors import Denied, OmegaError, StorageError
from omega.kernel.ids import LETTER, new_id
from omega.kernel.ports import Letter
from omega.kernel.scope import Scope
from omega.runtime.cancelling import cancel_here
from omega.runtime.decisions import Sent, decide
from omega.runtime.engine import Engine
from omega.runtime.recovery import load
from omega.runtime.world import World
from omega.trust import letter as sealed

POSTPONED = ("OMG-R010", "OMG-S004", "OMG-S006")
"""Errors after which a letter is left for whoever has the execution in hand, instead of being settled."""

ELSEWHERE = ("OMG-R010", "OMG-S006")
"""Errors that say that another engine has an execution in hand."""

_RECORDED = "OMG-W001"
"""The refusal that is on record already where it is raised (see `decisions`)."""


def written(world: World, scope: Scope, execution: str, verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a letter by which `scope` decides. Raises FlowError (OMG-R002, OMG-R003) for what cannot be sent."""
    now = world.clock.now_us()
    contents = sealed.Contents(
        id=new_id(LETTER, now_ms=now // 1_000, entropy=world.entropy.take(10)),
        body=dict(body),
        until_s=sealed.end_of(scope, now / 1_000_000),
        claims=scope.claims(),
    )
    return sealed.seal(contents, execution=execution, verb=verb, keyring=world.keyring)


async def decide_anywhere(engine: Engine, execution: str, verb: str, body: Mapping[str, Any], scope: Scope) -> int:
    """Decide here, or by letter where another engine has `execution` in hand; gives the letter's number, 0 when it is decided.

    Raises what `decide` raises, and StorageError (OMG-R010) where no letter can be left.
    """
    world = engine.world
    try:
        await decide(engine, execution, verb, body, scope)
    except StorageError as error:
        if error.code not in ELSEWHERE or world.inbox is None:
            raise
        return world.inbox.post(execution, verb, written(world, scope, execution, verb, body), world.clock.now_us())
    return 0


async def carry_out(engine: Engine, letter: Letter) -> bool:
    """Carry out what a letter asks for, as whoever wrote it; whether it is settled then.

    What is refused, or cannot be carried out any more, is settled too: its writer looked at the execution before. What another engine has
    in hand, or the store would not take, is left.
    """
    try:
        await _read(engine, letter)
    except OmegaError as error:
        if error.code in POSTPONED:
            return False
        if isinstance(error, Denied) and error.code != _RECORDED:
            return await _noted(engine, letter, error)
    return True


async def _read(engine: Engine, letter: Letter) -> None:
    world = engine.world
    now_s = world.clock.now_us() / 1_000_000
    contents = sealed.opened(letter.body, execution=letter.execution, verb=letter.verb, keyring=world.keyring, now_s=now_s)
    if contents.parent:
        await _call_off(engine, letter, contents)
        return
    scope = world.authority.restore(contents.claims)
    await decide(engine, letter.execution, letter.verb, contents.body, scope, letter=Sent(letter.number, contents.id))


async def _call_off(engine: Engine, letter: Letter, contents: sealed.Contents) -> None:
    line = engine.world.reader.line(letter.execution)
    if letter.verb != "cancel" or line is None or line.parent != contents.parent:
        raise sealed.refused("it calls off a child of something else")
    await cancel_here(engine, letter.execution, contents.by)


async def _noted(engine: Engine, letter: Letter, error: Denied) -> bool:
    """Leave a leaf about a refused letter; whether that is done. An execution that cannot be read has nowhere to put it."""
    with suppress(OmegaError):
        live = engine.book_of(letter.execution)
        book = live[0] if live is not None else load(engine.world, letter.execution)[1]
        reason = f"letter {letter.number} to {letter.verb}: {error.cause}"
        leaf = book.leaf("deny", at_us=engine.world.clock.now_us(), code=error.code, decision="deny", reason=reason)
        try:
            await book.commit(leaves=(leaf,))
        except StorageError as failure:
            return failure.code not in POSTPONED
    return True
