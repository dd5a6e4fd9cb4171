"""Guards on what goes out to the world and what comes back, around every touch that carries text: to tools, models, agents elsewhere.

A find is on record wherever it was not simply let pass: in the note of the step's row, and as the reason of its leaf. What is blocked
on the way out was never sent; what is blocked on the way back did happen, and the step fails without showing it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from omega.kernel.effects import Request
from omega.kernel.errors import Denied, UpstreamError
from omega.kernel.models import Chat, Show
from omega.warden.guard.rules import Guards, Inspection, Where

MAX_NOTE = 400
"""Longest note about finds, in characters."""


def outgoing(guards: Guards, request: Request, *, tenant: str, notes: list[str]) -> Request:
    """`request` as it may leave; what was found is added to `notes`. Raises Denied (OMG-W010) for what is blocked."""
    if not request.says:
        return request
    said = [getattr(request, name) for name in request.says]
    seen = guards.inspect(said, Where.ARGUMENTS, tenant=tenant, tool=request.to)
    _stop(seen, request.to, notes, made=False)
    return request if seen.value is said else replace(request, **dict(zip(request.says, seen.value, strict=True)))


class Held:
    """An answer that is shown as it comes is held back, where guards may stop or change it, until they have seen all of it."""

    def __init__(self, show: Show) -> None:
        self._show = show

    async def __call__(self, part: Any) -> None:
        """Nothing is shown yet."""

    async def told(self, reply: Any) -> None:
        """Show the answer as the flow sees it."""
        if reply["text"]:
            await self._show({"text": reply["text"]})
        for index, call in enumerate(reply["tool_calls"]):
            await self._show({"tool": {"index": index, **call}})


def held_back(guards: Guards, request: Request, *, tenant: str) -> tuple[Request, Held | None]:
    """`request` with its answer held back, and what holds it; `request` itself and None where it may be shown as it comes."""
    if not isinstance(request, Chat) or request.show is None or not guards.interfere(Where.RESULTS, tenant=tenant, tool=request.to):
        return request, None
    held = Held(request.show)
    return replace(request, show=held), held


def incoming(guards: Guards, request: Request, result: Any, *, tenant: str, notes: list[str]) -> Any:
    """`result` as the flow may see it; what was found is added to `notes`. Raises Denied (OMG-W010) for what is blocked."""
    tool = request.to
    if not request.says:
        return result
    seen = guards.inspect(result, Where.RESULTS, tenant=tenant, tool=tool)
    _stop(seen, tool, notes, made=True)
    return seen.value


def reported(guards: Guards, request: Request, error: UpstreamError, *, tenant: str, notes: list[str]) -> UpstreamError:
    """`error` as the flow may see it: what a tool or a model says when it fails came back from it, too. Words that are blocked are
    withheld; the error stays what it is, for it says whether something may have happened."""
    tool = request.to
    seen = guards.inspect([error.cause, error.details], Where.RESULTS, tenant=tenant, tool=tool) if request.says else None
    if seen is None or not seen.found:
        return error
    notes.extend(seen.found)
    cause, details = seen.value
    if seen.blocked:
        cause = f"{tool} failed, and what it said is withheld: {'; '.join(seen.found)[:MAX_NOTE]}"
        details = {name: value for name, value in error.details.items() if not isinstance(value, (str, list, dict))}
        details |= {"tool": tool, "found": list(seen.found), "message": "withheld"}
    return UpstreamError(error.code, cause, advice=error.advice, details=details)


def _stop(seen: Inspection, tool: str, notes: list[str], *, made: bool) -> None:
    notes.extend(seen.found)
    if seen.blocked:
        what = "; ".join(seen.found)[:MAX_NOTE]
        told = "its answer is withheld, the call was made" if made else "nothing was sent"
        raise Denied("OMG-W010", f"{tool}: {what}; {told}", details={"tool": tool, "found": list(seen.found), "made": made})
