"""The effector of agents: lets one operation of an agent (a model request, a tool call) run once its permit is spent.

The operation itself is the agent's: its model and its tools are objects of this process, and it runs in the agent's own task. What
crosses is the word to begin, and the result with what it cost. So a request here is a handle and not plain data: it names what is done,
and carries the means to have it done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from omega.kernel.effects import ModelCall, Receipt, Request
from omega.kernel.errors import InputError
from omega.kernel.verdict import Permit

CAPABILITY = "agent:use"
"""What a caller must hold for an agent of theirs to ask its model and call its tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOperation(Request):
    """Have one operation of an agent done: `perform` starts it and gives its JSON-ready result and the receipt."""

    port: ClassVar[str] = "agent"
    name: str
    perform: Callable[[], Awaitable[tuple[Any, Receipt]]] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentModelRequest(ModelCall):
    """Have one model request of an agent done. A model call like any other to the budget: `max_tokens` of it are reserved while it runs.

    What is asked stays with the agent: `instructions` and `prompt` are empty.
    """

    port: ClassVar[str] = AgentOperation.port
    instructions: str = ""
    prompt: str = ""
    name: str
    perform: Callable[[], Awaitable[tuple[Any, Receipt]]] = field(repr=False, compare=False)


class AgentEffector:
    """Serves `AgentOperation` and `AgentModelRequest`. Holds nothing; every engine has one."""

    port = AgentOperation.port

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Spend the permit, then have the operation done.

        Raises InputError (OMG-I001) for another request, and what the operation raises.
        """
        permit.spend(self.port)
        if not isinstance(request, (AgentOperation, AgentModelRequest)):
            raise InputError("OMG-I001", f"the agent port has operations of agents done, not {type(request).__name__}")
        return await request.perform()
