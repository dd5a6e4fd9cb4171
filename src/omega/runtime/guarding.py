"""Guards on what goes out to the world and what comes back, around every touch that carries text: tools and models.

A find is on record wherever it was not simply let pass: in the note of the step's row, and as the reason of its leaf. What is blocked
on the way out was never sent; what is blocked on the way back did happen, and the step fails without showing it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from omega.kernel.effects import ModelCall, Request, ToolCall
from omega.kernel.errors import Denied
from omega.warden.guard.rules import Guards, Inspection, Where

MAX_NOTE = 400
"""Longest note about finds, in characters."""


def tool_named(request: Request) -> str:
    """What rules call the target of `request`: `server/tool`, or `model/NAME`; empty for what is not guarded."""
    if isinstance(request, ToolCall):
        return f"{request.server}/{request.tool}"
    return f"model/{request.model or 'default'}" if isinstance(request, ModelCall) else ""


def outgoing(guards: Guards, request: Request, *, tenant: str, notes: list[str]) -> Request:
    """`request` as it may leave; what was found is added to `notes`. Raises Denied (OMG-W010) for what is blocked."""
    tool = tool_named(request)
    if isinstance(request, ToolCall):
        seen = guards.inspect(request.arguments, Where.ARGUMENTS, tenant=tenant, tool=tool)
        _stop(seen, tool, notes, made=False)
        return request if seen.value is request.arguments else replace(request, arguments=seen.value)
    if isinstance(request, ModelCall):
        seen = guards.inspect([request.instructions, request.prompt], Where.ARGUMENTS, tenant=tenant, tool=tool)
        _stop(seen, tool, notes, made=False)
        instructions, prompt = seen.value
        return replace(request, instructions=instructions, prompt=prompt)
    return request


def incoming(guards: Guards, request: Request, result: Any, *, tenant: str, notes: list[str]) -> Any:
    """`result` as the flow may see it; what was found is added to `notes`. Raises Denied (OMG-W010) for what is blocked."""
    tool = tool_named(request)
    if not tool:
        return result
    seen = guards.inspect(result, Where.RESULTS, tenant=tenant, tool=tool)
    _stop(seen, tool, notes, made=True)
    return seen.value


def _stop(seen: Inspection, tool: str, notes: list[str], *, made: bool) -> None:
    notes.extend(seen.found)
    if seen.blocked:
        what = "; ".join(seen.found)[:MAX_NOTE]
        told = "its answer is withheld, the call was made" if made else "nothing was sent"
        raise Denied("OMG-W010", f"{tool}: {what}; {told}", details={"tool": tool, "found": list(seen.found), "made": made})
