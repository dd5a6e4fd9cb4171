"""The mint: turns an ALLOW of this process's warden, for this very question, into the permit that one touch spends.

A verdict that allows is issued as a value of a private type that remembers its question. What merely looks like one is refused: a Verdict
that somebody constructed, a copy, an unpickled one, one altered with `dataclasses.replace`, one that was given for another question.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from omega.kernel.effects import Effect, Request, ToolCall, WriteFiles
from omega.kernel.errors import Denied
from omega.kernel.verdict import Ask, Decision, Gate, Permit, Verdict, mint_permit
from omega.warden.capabilities import declared, of_port
from omega.warden.question import tool_of

PERMIT_TTL_S = 30.0
"""Seconds in which a permit must be spent: the effector does so at once, so an older one belongs to an engine that was paused."""

MCP = "mcp"
"""The port of tools."""

TOOL = "tool"
"""The kind of a step that calls one tool and does nothing else."""


class _Issued(Verdict):
    """A verdict that this process's warden gave. Its copies are plain verdicts: data, without force."""

    __slots__ = ("_ask",)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_plain, (self.record(),))

    def __copy__(self) -> Verdict:
        return _plain(self.record())

    def __deepcopy__(self, memo: object) -> Verdict:
        return _plain(self.record())


def issue(ask: Ask, verdict: Verdict) -> Verdict:
    """`verdict`, with the force to have permits minted for `ask` if it allows. For `omega.warden.admit` alone."""
    if verdict.decision is not Decision.ALLOW:
        return verdict
    issued = _Issued(**{name: getattr(verdict, name) for name in Verdict.__dataclass_fields__})
    object.__setattr__(issued, "_ask", ask)
    return issued


def permit(
    ask: Ask,
    verdict: Verdict,
    port: str,
    clock: Callable[[], float],
    *,
    request: Request | None = None,
    lasts_s: float = PERMIT_TTL_S,
    trace: str = "",
) -> Permit:
    """The right to touch the world once through `port`, for the step of `ask`; good for `PERMIT_TTL_S` by `clock` (seconds), or `lasts_s`
    where that is less: a permit does not outlast the ownership of its execution.

    `request`, when given, is what the touch will do: it must be what was admitted. Raises Denied: OMG-W006 when `verdict` is no ALLOW
    that the warden gave for `ask`, or does not fit port and request; OMG-W008 when the port takes a capability that the flow did not
    declare or the caller does not hold.
    """
    asked = getattr(verdict, "_ask", None)
    if type(verdict) is not _Issued or (asked is not ask and asked != ask):
        raise Denied("OMG-W006", f"no permit for {ask.step}: the verdict was not given by this gate for this step")
    if verdict.decision is not Decision.ALLOW or ask.gate is not Gate.TOUCH:
        raise Denied("OMG-W006", f"no permit for {ask.step}: the verdict allows no touch")
    if not math.isfinite(clock()):
        raise Denied("OMG-W006", f"no permit for {ask.step}: the clock does not tell the time")
    _check_tool(ask, port, request)
    _check_request(ask, port, request)
    _check_capability(ask, port)
    return mint_permit(
        tenant=ask.scope.tenant,
        principal=ask.scope.principal,
        execution=ask.execution,
        step=ask.step,
        epoch=ask.epoch,
        port=port,
        commitment=ask.input_commitment,
        ttl_s=min(PERMIT_TTL_S, lasts_s),
        clock=clock,
        trace=trace,
    )


def _check_tool(ask: Ask, port: str, request: Request | None) -> None:
    """Policies speak of tools by name, so only the tool that was asked about is called."""
    admitted = tool_of(ask) if ask.kind == TOOL else ("", "")
    if port == MCP and not admitted[1]:
        raise Denied(
            "OMG-W006",
            f"{ask.flow} was not admitted as a tool, so it may not call one",
            advice="make the tool a step of its own: tool(server, name), called with ctx.call",
        )
    if isinstance(request, ToolCall) and (request.server, request.tool) != admitted:
        raise Denied("OMG-W006", f"{ask.flow} was admitted as {'/'.join(admitted)} and calls {request.server}/{request.tool}")


def _check_request(ask: Ask, port: str, request: Request | None) -> None:
    if request is not None and request.port != port:
        raise Denied("OMG-W006", f"a request for {request.port} does not go through {port}")
    if isinstance(request, WriteFiles) and ask.effect is Effect.READ:
        raise Denied("OMG-W006", f"{ask.flow} was admitted to read, and writes files", advice='declare it: @flow(effect="write", ...)')


def _check_capability(ask: Ask, port: str) -> None:
    capability = of_port(port, ask.effect)
    if not declared(capability, ask.needs):
        raise Denied(
            "OMG-W008",
            f"{ask.flow} ({ask.effect.value}) uses {port} without declaring {capability}",
            advice=f'declare it: @flow(needs="{capability}", ...)',
            details={"missing": [capability], "port": port},
        )
    if not ask.scope.has(capability):
        raise Denied("OMG-W008", f"the caller lacks {capability}", details={"missing": [capability], "port": port})


def _plain(record: dict[str, Any]) -> Verdict:
    fields = dict(record)
    decision = Decision(fields.pop("decision"))
    return Verdict(decision=decision, policies=tuple(fields.pop("policies")), errors=tuple(fields.pop("errors")), **fields)
