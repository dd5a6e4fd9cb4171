"""Calls that are passed on for a client: the whole answer of the server is the value, not only what a flow would want of it.

    tool(server, name)      a flow wants a value: structured content, else text; an error of the tool fails the step
    passed(pin)             a client wants the protocol's own result: every content block, also where the tool reports an error

Both are the same leaf to the gate: kind `tool`, asked about by server and tool. A passed tool takes what the protocol calls the parameters
of the call: `arguments`, and `inputResponses` with `requestState` where a client comes back with what the server asked for.

Reading resources and prompts is a tool too, with a name that no tool may have: `git/mcp.resources.read`. Policies speak of it by that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from omega.adapters.mcp.description import ToolDescription
from omega.kernel.context import Context
from omega.kernel.definition import Flow, Task
from omega.kernel.effects import Effect, ToolCall
from omega.kernel.types import ANY, Type

PREFIX: Final = "mcp."
"""Begins the names of reads that are no tools. A tool whose own name begins with it is refused when it is listed."""

READS: Final = frozenset(
    {"resources/list", "resources/templates/list", "resources/read", "prompts/list", "prompts/get", "completion/complete"}
)
"""What can be passed on beside calls of tools; none of it changes anything."""

WATCHES: Final = frozenset({"resources/subscribe", "resources/unsubscribe"})
"""What says whether anybody wants to know of changes of a resource. It is a read: it tells when something was written."""

TASKS: Final = {"tasks/get": Effect.READ, "tasks/update": Effect.IDEMPOTENT, "tasks/cancel": Effect.IDEMPOTENT}
"""What is passed on of tasks (SEP-2663), with what it does: an answer that comes twice counts once, and what is cancelled stays so."""

TIMEOUT_S: Final = 60.0

_PARAMS: Final = Type(dict[str, Any], None, name="parameters of the call")


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedCall(ToolCall):
    """Call one tool, or read, for a client: gives the result by the protocol, as plain data. `more` are parameters beside the arguments."""

    says: ClassVar[tuple[str, ...]] = ("arguments", "more")
    more: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedRead(PassedCall):
    """Ask a server something that is no call of a tool. `tool` is the name by which policies know it, `method` one of `READS`, `WATCHES`
    or `TASKS`."""

    method: str


@dataclass(frozen=True, slots=True)
class PassedTool(Task):
    """A tool that is passed on, as a leaf: to the gate and to policies the same as `Tool`."""

    kind: ClassVar[str] = "tool"
    server: str = ""
    tool: str = ""
    pin: str = ""

    @property
    def code(self) -> str:
        """What stands in for source: another description is another tool."""
        return self.pin

    def parameters(self) -> Mapping[str, Any]:
        return {"server": self.server, "tool": self.tool, "pin": self.pin, "whole": True}


def passed(pin: ToolDescription, *, timeout_s: float = TIMEOUT_S) -> Flow[dict[str, Any], Any]:
    """The pinned tool as a flow from the parameters of a call to its whole result."""

    async def call(ctx: Context, params: dict[str, Any]) -> Any:
        more = {key: value for key, value in params.items() if key != "arguments"}
        arguments = params.get("arguments") or {}
        return await ctx.touch(PassedCall(server=pin.server, tool=pin.name, arguments=arguments, timeout_s=timeout_s, more=more))

    return _flow(pin.server, pin.name, pin.digest, call, pin.effect, pin.description)


def reading(server: str, method: str, *, timeout_s: float = TIMEOUT_S) -> Flow[dict[str, Any], Any]:
    """What is no tool (`READS`, `WATCHES`, `TASKS`) of a server, as a flow from its parameters to its whole result."""
    name = PREFIX + method.replace("/", ".")

    async def read(ctx: Context, params: dict[str, Any]) -> Any:
        return await ctx.touch(PassedRead(server=server, tool=name, arguments={}, timeout_s=timeout_s, more=params, method=method))

    return _flow(server, name, method, read, TASKS.get(method, Effect.READ), f"{method} of {server}")


def _flow(server: str, tool: str, pin: str, function: Any, effect: Effect, description: str) -> Flow[dict[str, Any], Any]:
    return Flow(
        name=f"{server}/{tool}",
        body=PassedTool(function, takes_context=True, takes_input=True, parameter="params", where="", server=server, tool=tool, pin=pin),
        input=_PARAMS,
        output=ANY,
        description=description,
        effect=effect,
        needs=frozenset({"tools:call"}),
    )
