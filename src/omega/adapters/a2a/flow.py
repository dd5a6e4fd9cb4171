"""An agent elsewhere as a flow with types: what it is asked, and what it told.

    cook = peer("cook")                                             # accepted by an operator: omega a2a add cook URL
    told = await ctx.call(cook, Asked(text="soup for two"))
    told = await ctx.call(cook, Asked(text="no salt", task=told.task))      # where it asked something

It is a `write`, for nobody here knows what the agent does: it is never asked a second time by itself.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from omega.adapters.a2a.effector import NEEDS, AskPeer
from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.effects import Effect
from omega.kernel.flow import flow


class Asked(BaseModel):
    """What an agent is asked: words, data, or both; `context` goes on with a conversation, `task` with a task that asked something."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(default="", max_length=200_000)
    data: Any = None
    context: str = Field(default="", max_length=128)
    task: str = Field(default="", max_length=128)


class Wanted(Asked):
    """What the agent `agent` is asked."""

    agent: str = Field(max_length=64)


class Told(BaseModel):
    """What an agent told: how its task stands (`completed`, `input required`, ... or `answered` for a message that is no task), its words,
    its data, and every part of it as the protocol has them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: str
    text: str = ""
    data: list[Any] = []
    parts: list[dict[str, Any]] = []
    context: str = ""
    task: str = ""


def peer(name: str, *, effect: Effect | str = Effect.WRITE) -> AnyFlow:
    """The agent `name` as a flow from `Asked` to `Told`. `effect` is what its author knows of it. Raises DefinitionError (OMG-F005)."""

    @flow(name=f"peer.{name}", effect=effect, needs=NEEDS)
    async def ask(ctx: Context, asked: Asked) -> Told:
        return Told(**await ctx.touch(AskPeer(agent=name, **asked.model_dump())))

    return ask


@flow(name="a2a.ask", effect="write", needs=NEEDS)
async def ask_peer(ctx: Context, wanted: Wanted) -> Told:
    """Ask an agent elsewhere that is named when it is asked."""
    return Told(**await ctx.touch(AskPeer(**wanted.model_dump())))
