"""Flows as authors meet them: the decorator, the tool leaf, and `Flow` with its fluent methods.

`definition` says what a flow is, `compose` makes flows from flows, `direct` runs one in memory; here the three are joined.
"""

from __future__ import annotations

from typing import Any

from omega.kernel import adapt, attempts, compose, repeat, sagas
from omega.kernel.definition import Body, Flow, Task, Tool, bind, flow, tool
from omega.kernel.direct import run_direct


def _poml(whole: Flow[Any, Any]) -> str:
    from omega.kernel.poml import from_flow  # here, since documents bring a YAML parser with them

    return from_flow(whole).text


bind(
    sequence=compose.sequence,
    retry=compose.retry,
    timeout=compose.timeout,
    fallback=compose.fallback,
    cache=compose.cache,
    rate_limited=adapt.rate_limited,
    breaker=adapt.breaker,
    attempt=attempts.attempt,
    undoable=sagas.undoable,
    gathered=repeat.gathered,
    delay=repeat.delay,
    run_direct=run_direct,
    poml=_poml,
)

__all__ = ["Body", "Flow", "Task", "Tool", "flow", "tool"]
