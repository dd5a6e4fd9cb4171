"""Flows as authors meet them: the decorator, the tool leaf, and `Flow` with its fluent methods.

`definition` says what a flow is, `compose` makes flows from flows, `direct` runs one in memory; here the three are joined.
"""

from __future__ import annotations

from omega.kernel import compose
from omega.kernel.definition import Body, Flow, Task, Tool, bind, flow, tool
from omega.kernel.direct import run_direct

bind(
    sequence=compose.sequence,
    retry=compose.retry,
    timeout=compose.timeout,
    fallback=compose.fallback,
    cache=compose.cache,
    run_direct=run_direct,
)

__all__ = ["Body", "Flow", "Task", "Tool", "flow", "tool"]
