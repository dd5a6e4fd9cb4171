"""Capabilities: the rights a passport carries, and which of them a step takes.

No policy can grant one: they are compared before any policy is asked. A step takes what its flow declared (`needs=`), an entry takes
`flows:run` besides, and a permit for a port takes the port's own right, declared by the flow and held by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from omega.kernel.effects import Effect
from omega.kernel.scope import ANY
from omega.kernel.verdict import Ask, Gate

RUN_FLOWS = "flows:run"

READ_FILES = "files:read"

WRITE_FILES = "files:write"

PORTS: Mapping[str, str] = {
    "process": "process:run",
    "mcp": "tools:call",
    "model": "model:ask",
    "records": "records:read",
    "audit": "log:read",
    "offers": "tools:call",
    "guardrails": "model:ask",
}
"""The right that each port takes. The port `files` takes `files:read` in a step that reads and `files:write` in any other."""


def wanted(ask: Ask) -> frozenset[str]:
    """Every capability that `ask` takes."""
    return ask.needs | {RUN_FLOWS} if ask.gate is Gate.ENTRY else ask.needs


def of_port(port: str, effect: Effect) -> str:
    """The capability that a touch through `port` takes; ports of other people take `name:use`."""
    if port == "files":
        return READ_FILES if effect is Effect.READ else WRITE_FILES
    return PORTS.get(port, f"{port}:use")


def declared(capability: str, needs: Iterable[str]) -> bool:
    """Whether a flow that declares `needs` declares `capability`: the word itself, its area's `area:*`, or everything."""
    return bool({capability, f"{capability.partition(':')[0]}:{ANY}", ANY} & frozenset(needs))
