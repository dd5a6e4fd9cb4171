"""A pydantic-ai agent with a scripted model, for the tests: no key, no network, the same each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from omega import Context, flow
from omega.adapters.pydantic_ai import AgentEffector, OmegaDurability, durably
from omega.testing import Lab

Calls = Sequence[tuple[str, dict[str, Any]]]


def scripted(script: Sequence[Calls | str], seen: Callable[[int], None] = lambda turn: None, name: str = "scripted") -> FunctionModel:
    """A model whose n-th answer is the n-th of `script`: tool calls, or the final text. `seen` is told each time it is asked."""

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        seen(turn)
        step = script[turn]
        usage = RequestUsage(input_tokens=10, output_tokens=5)
        if isinstance(step, str):
            return ModelResponse(parts=[TextPart(step)], usage=usage)
        return ModelResponse(
            parts=[ToolCallPart(tool, arguments, f"call-{turn}-{n}") for n, (tool, arguments) in enumerate(step)], usage=usage
        )

    return FunctionModel(answer, model_name=name)


SCRIPT: Sequence[Calls | str] = (
    [("look", {"what": "the ledger"})],
    [("note", {"text": "all is well"}), ("look", {"what": "the door"})],
    "done",
)
"""Look, then write and look at once, then answer."""


def clerk(did: list[str], script: Sequence[Calls | str] = SCRIPT, **facts: Any) -> Agent[None, str]:
    """An agent that looks (a read) and notes (a write, unless `note` says otherwise); `did` lists what it did in the world."""
    note_metadata = facts.pop("note", None)
    model = facts.pop("model", None) or scripted(script, lambda turn: did.append(f"model {turn}"))
    agent = Agent(model, name="clerk", capabilities=[OmegaDurability(**facts)])

    @agent.tool_plain(metadata={"omega": {"effect": "read"}})
    async def look(what: str) -> str:
        did.append(f"look {what}")
        return f"{what} is there"

    @agent.tool_plain(metadata=None if note_metadata is None else {"omega": note_metadata})
    async def note(text: str) -> str:
        did.append(f"note {text}")
        return "noted"

    return agent


ALL = ["model 0", "look the ledger", "model 1", "note all is well", "look the door", "model 2"]
"""What `clerk` does in one run, in order."""


def working(agent: Agent[None, str]) -> Any:
    """A flow in which `agent` answers."""

    @flow(name="work")
    async def work(ctx: Context, task: str) -> str:
        return (await durably(ctx, lambda: agent.run(task))).output

    return work


def office(effector: Any = None, **facts: Any) -> Lab:
    """A lab whose world is the agent's."""
    return Lab(effectors={"agent": effector or AgentEffector()}, **facts)
