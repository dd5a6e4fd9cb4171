"""Agents at hosts of their own: the roster asks, they answer when they have done it.

    agent:asked    an event with the task, of which its host is told (docs/events.md)
    a signal       to the execution that asked, with the answer

Nothing is sent anywhere: the host follows the events of the tenant with a passport, or a certificate, of its own, and signals what it has
done, so it needs no address, and asks through the gate like anybody. The one who asked waits durably meanwhile: days, and through crashes.
A host that was away finds what it was asked where it left off. `omega.client.hosting` does its side.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from omega.contracts.events import AgentAsked
from omega.contracts.publishing import Notice, publish
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.types import Type, type_of

MAX_WORDS = 500
"""How much (characters) is told of why an agent could not do its work."""


class Errand(BaseModel):
    """Work for an agent at a host of its own; `output` is a JSON Schema that its answer fits (None: a text)."""

    agent: str
    version: str
    task: Any
    output: dict[str, Any] | None = None


@flow(name="agents.abroad")
async def abroad(ctx: Context, errand: Errand) -> Any:
    """The answer of an agent at a host of its own. Raises UpstreamError (OMG-M008) when it has none, or one that does not fit."""
    name = f"answer-{await ctx.uuid()}"
    task = json.dumps(errand.task, ensure_ascii=False)
    asked = AgentAsked(agent=errand.agent, version=errand.version, execution=ctx.execution, signal=name, task=task)
    await ctx.call(publish, Notice.of(asked))
    return read_answer(errand, await ctx.signal(name))


def read_answer(errand: Errand, said: Any) -> Any:
    """The answer in what was signalled. Raises UpstreamError (OMG-M008). Pure."""
    if isinstance(said, dict) and set(said) == {"error"}:
        raise UpstreamError("OMG-M008", f"{errand.agent} at its own host: {str(said['error'])[:MAX_WORDS]}")
    if not isinstance(said, dict) or set(said) != {"answer"}:
        raise UpstreamError("OMG-M008", f'{errand.agent} signalled no {{"answer": ...}}')
    kind = type_of(str) if errand.output is None else Type(Any, errand.output, name=f"{errand.agent} answer")
    try:
        return kind.encode(kind.read(said["answer"]))[1]
    except InputError as error:
        raise UpstreamError("OMG-M008", f"the answer of {errand.agent} does not fit its card: {error.cause}") from error
