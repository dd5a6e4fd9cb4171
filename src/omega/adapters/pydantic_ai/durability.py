"""A durability capability for pydantic-ai agents: inside `durably` their model requests and tool calls are steps of the flow they run in.

    operation              effect        after a crash in the middle of it
    model request          read          asked again
    discovery, validation  read          done again
    tool call              write         in doubt: a person says whether it happened; or as the tool's metadata declares
    event for a handler    idempotent    handed over again

Each is gated, journaled and covered by the log like any other step; a settled one is recalled and not done again. Outside `durably` the
capability does nothing. Built on `pydantic_ai.durable_exec`, the library's own surface for such engines.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypedDict, cast

from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    CallableOperationBackend,
    CapabilityOperationId,
    DurabilityEngineSpec,
    DurableOperationBackend,
    DurableOperationId,
    EventStreamHandlerId,
    JournalOperationNamer,
    ModelCancelSuspendedResponseId,
    ModelCompactMessagesId,
    ModelRequestId,
    RoleBasedOperationConfig,
    ToolsetCallToolId,
    conversation_id_from_run_id,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.tools import AgentDepsT, RunContext
from pydantic_ai.toolsets import ToolsetTool
from pydantic_core import to_json

from omega.adapters.pydantic_ai.failures import rebuilt
from omega.adapters.pydantic_ai.relay import CURRENT, RESERVED, step_flow
from omega.kernel.effects import Effect, Receipt
from omega.kernel.errors import OmegaError

METADATA = "omega"
"""The key of a tool's metadata that declares what it does: {"effect": "read", "approval": "owner"}."""

MAX_PART = 64
"""Longest part of a flow's name, in characters."""


class ToolPolicy(TypedDict, total=False):
    """What a tool declares in `metadata={"omega": {...}}`: its effect, and the role of the person who approves each call."""

    effect: Literal["read", "idempotent", "write", "irreversible"]
    approval: str


@dataclass(frozen=True, slots=True)
class StepPolicy:
    """How an operation is taken: its effect, and who approves it (nobody where empty)."""

    effect: Effect
    approval: str = ""


_READ = StepPolicy(Effect.READ)
_AGAIN = StepPolicy(Effect.IDEMPOTENT)
_ONCE = StepPolicy(Effect.WRITE)


class OmegaDurability(BaseDurabilityCapability[AgentDepsT]):
    """Makes the runs of an agent durable, gated and provable inside an Omega flow.

        agent = Agent("openai:gpt-5", name="research", capabilities=[OmegaDurability()])

        @flow
        async def research(ctx: Context, question: str) -> str:
            return (await durably(ctx, lambda: agent.run(question))).output

    `models` are further models by key, for runs that choose one; `event_stream_handler` gets model events live while a request streams and
    each tool event in a step of its own; `name` is the first part of the steps' names (the agent's name unless given).
    """

    engine_spec = DurabilityEngineSpec(
        engine_name="Omega",
        durable_unit_noun="step",
        durable_container_noun="flow",
        codec=JSON_CODEC,
        toolset_lifecycles={"function": "enter-always", "mcp": "enter-in-durable-unit", "dynamic": "enter-never"},
        unsupported_runtime_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
        sequential_tools_in_durable_context=True,
        tool_config_key=METADATA,
    )

    def __init__(
        self,
        *,
        models: Mapping[str, Model] | None = None,
        event_stream_handler: EventStreamHandler[AgentDepsT] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(models=models, event_stream_handler=event_stream_handler, name=name)

    @property
    def in_durable_context(self) -> bool:
        """Whether this task belongs to an agent that runs inside `durably`, and is not inside one of its steps."""
        return CURRENT.get() is not None

    def get_default_run_id(self) -> str | None:
        """An id that is the same after a crash as before it."""
        relay = CURRENT.get()
        return None if relay is None else relay.next_run()

    def get_default_conversation_id(self, run_id: str) -> str | None:
        """Follows from the run's id."""
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    def get_run_clock(self) -> Callable[[], datetime] | None:
        """A clock that stands still: a run's `timeout=` starts anew when its flow is resumed, as every time limit of a flow does."""
        relay = CURRENT.get()
        return None if relay is None else partial(datetime.fromtimestamp, relay.began, UTC)

    async def get_run_start_time(self, run_id: str) -> datetime | None:
        """What that clock shows."""
        clock = self.get_run_clock()
        return None if clock is None else clock()

    def get_durable_operation_backend(self) -> DurableOperationBackend[StepPolicy]:
        """Steps of the flow that the agent runs in."""
        return _Backend(self.name)


class _Backend(CallableOperationBackend[StepPolicy]):
    """Takes each operation as a step."""

    def __init__(self, agent: str) -> None:
        super().__init__(
            namer=JournalOperationNamer(agent),
            config=RoleBasedOperationConfig(model=_READ, event=_AGAIN, capability=_ONCE, tool=_ONCE, resolve_tool=_of_tool),
        )
        self._agent = agent

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: StepPolicy,
    ) -> object:
        """The operation's recorded result. Raises what the operation raised, the first time and ever after."""
        relay = CURRENT.get()
        if relay is None:
            return await body()
        step = step_flow(_flow_name(self._agent, operation_id, cache_key), config.effect, config.approval)
        asked = {"operation": name, **_asked(operation_id, cache_key)}
        try:
            return await relay.step(step, asked, body, _price if isinstance(operation_id, ModelRequestId) else _free)
        except OmegaError as error:
            failure = rebuilt(error)
            raise failure from (None if failure is error else error)


def _of_tool(operation: DurableOperationId, tool: object | None, tool_name: str) -> StepPolicy | Literal[False]:
    """What a tool's metadata declares; discovery and validation only look. Raises UserError for a declaration that cannot be read."""
    if not isinstance(operation, ToolsetCallToolId):
        return _READ
    metadata = tool.tool_def.metadata if isinstance(tool, ToolsetTool) else None
    declared = (metadata or {}).get(METADATA)
    if declared is None:
        return _ONCE
    if not isinstance(declared, Mapping) or not declared.keys() <= ToolPolicy.__annotations__.keys():
        raise UserError(
            f"the tool {tool_name} declares {METADATA}={declared!r}: give a dict of effect and approval; no tool goes round the gate"
        )
    effect = str(declared.get("effect", Effect.WRITE))
    if effect not in set(Effect) or effect == Effect.PURE:
        raise UserError(f"the tool {tool_name} declares the effect {effect!r}: read, idempotent, write or irreversible")
    return StepPolicy(Effect(effect), str(declared.get("approval", "")))


def _flow_name(agent: str, operation: DurableOperationId, cache_key: tuple[object, ...]) -> str:
    """`agent/operation`, as policies and listings show it."""
    match operation:
        case ToolsetCallToolId():
            what = f"tool.{cache_key[0] if cache_key else operation.toolset_id}"
        case ModelRequestId():
            what = "model.stream" if operation.streaming else "model"
        case ModelCompactMessagesId():
            what = "model.compact"
        case ModelCancelSuspendedResponseId():
            what = "model.cancel"
        case EventStreamHandlerId():
            what = "event"
        case CapabilityOperationId():
            what = f"capability.{operation.capability_id}.{operation.operation}"
        case _:
            what = f"toolset.{getattr(operation, 'toolset_id', 'unknown')}"
    return f"{_part(agent, first=True)}/{_part(what)}"


def _part(text: str, *, first: bool = False) -> str:
    """`text` as a part of a flow's name: other letters replaced, and a digest where that would make two the same."""
    clean = re.sub(r"[^A-Za-z0-9_.-]", "-", text)
    if first and not re.match(r"[A-Za-z_]", clean):
        clean = f"_{clean}"
    if clean == text and len(clean) <= MAX_PART:
        return clean
    return f"{clean[: MAX_PART - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _asked(operation: DurableOperationId, cache_key: tuple[object, ...]) -> dict[str, Any]:
    """What must be the same when the step is met again: a tool's arguments, the model and how far the conversation has come.

    Instructions and prompts are not part of it: they may hold the time of day, and an answer that is recorded stands.
    """
    if isinstance(operation, ToolsetCallToolId):
        arguments = cache_key[1] if len(cache_key) > 1 else None
        return {"arguments": hashlib.sha256(to_json(arguments, serialize_unknown=True)).hexdigest()}
    if isinstance(operation, ModelRequestId):
        messages, settings = (*cache_key[1:3], None, None)[:2]
        most = settings.get("max_tokens") if isinstance(settings, Mapping) else None
        return {
            "model": operation.model_id or operation.model_name,
            "messages": len(messages) if isinstance(messages, list) else 0,
            RESERVED: most if isinstance(most, int) else 1,  # of an answer of any length, at least the first token must fit
        }
    return {}


def _free(payload: Any) -> Receipt:
    return Receipt()


def _price(payload: Any) -> Receipt:
    """What a model request used: tokens as the model reports them, money where the model's price is known."""
    response = _response(payload)
    if response is None:
        return Receipt(priced=False)
    tokens = response.usage.input_tokens + response.usage.output_tokens
    try:
        cost = response.cost().total_price
    except (LookupError, ValueError, AssertionError):  # no price is known for that model
        return Receipt(tokens=tokens, priced=False)
    return Receipt(tokens=tokens, cost_micros=int(cost * 1_000_000))


def _response(payload: Any) -> ModelResponse | None:
    for candidate in (payload, payload.get("response") if isinstance(payload, dict) else None):
        if isinstance(candidate, dict) and "parts" in candidate:
            return cast("ModelResponse", JSON_CODEC.load(ModelResponse, candidate))
    return None


__all__ = ["OmegaDurability", "RunContext", "StepPolicy", "ToolPolicy"]
