"""Spreading: a pure flow on each item of a list, where the items are worked off by a Ray cluster.

    squares = on_ray(square, at="numbers:square")          # list[int] -> list[int], one touch through the port `ray`

The whole list is one step of the execution: admitted once, its intent and its result on disk. Use it for many short computations; where
each item should be an execution of its own, with its own record, use `scatter`. What runs in the cluster is pure, so a crash may safely
have it computed again. The cluster's machines need the same code under the same name; an item that meets other code is refused there.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.kernel.compose import MAX_ITEMS, AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import Flow, Task
from omega.kernel.effects import Effect, Request
from omega.kernel.errors import DefinitionError, OmegaError
from omega.kernel.types import type_of

AT_ONCE = 64
"""Items handed to the cluster at a time, unless said otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread(Request):
    """Run the pure flow at `at` (`module:name`) on each of `items` (JSON texts), at most `at_once` at a time; gives the results as JSON
    texts in order. `digest` and `codes` say which definition and code the cluster must have."""

    port: ClassVar[str] = "ray"
    at: str
    digest: str
    codes: str
    items: Sequence[bytes]
    at_once: int = AT_ONCE
    timeout_s: float = 3_600.0


def on_ray(flow: AnyFlow, *, at: str, at_once: int = AT_ONCE, timeout_s: float = 3_600.0) -> AnyFlow:
    """`flow` on each item of a list, in a Ray cluster; the output is the list of results in the items' order.

    `at` is where the cluster finds it: `module:name`, importable there as here. Raises DefinitionError: OMG-F003 for a flow that is not
    pure or limits that make no sense, OMG-F002 when `at` does not name this very flow.
    """
    if flow.effect is not Effect.PURE:
        raise DefinitionError(
            "OMG-F003",
            f"{flow.name} is a {flow.effect.value}: there is no gate in the cluster, so only pure flows run there",
            advice="use scatter: each item is then an execution of its own, with a gate",
        )
    if not 1 <= at_once <= MAX_ITEMS or timeout_s <= 0:
        raise DefinitionError("OMG-F003", f"{flow.name} on ray: at_once is 1 to {MAX_ITEMS:,}, timeout_s above 0")
    found = find(at)
    if found.digest != flow.digest or codes_of(found) != codes_of(flow):
        raise DefinitionError("OMG-F002", f"{at} is not {flow.name}, or another version of it")

    async def spread(ctx: Context, values: list[Any]) -> list[Any]:
        items = [flow.input.encode(flow.input.read(value))[0] for value in values]
        wanted = Spread(at=at, digest=flow.digest, codes=codes_of(flow), items=items, at_once=at_once, timeout_s=timeout_s)
        return [flow.output.decode(result) for result in await ctx.touch(wanted)]

    return Flow(
        name=f"{flow.name}-on-ray",
        body=Task(spread, takes_context=True, takes_input=True, parameter="values", where=flow.where),
        input=type_of(list[flow.input.annotation]),  # type: ignore[name-defined]
        output=type_of(list[flow.output.annotation]),  # type: ignore[name-defined]
        version=flow.version,
        description=f"{flow.name} on each item, in a Ray cluster",
        effect=Effect.READ,
        needs=frozenset({"ray:use"}),
    )


def find(at: str) -> AnyFlow:
    """The flow at `module:name`. For names that an author wrote in code, here and in the cluster. Raises DefinitionError (OMG-F002)."""
    module, _, name = at.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DefinitionError("OMG-F002", f"{at!r} cannot be imported: {error}", advice="write it as module:name") from error
    if not isinstance(found, Flow):
        raise DefinitionError("OMG-F002", f"{at!r} is a {type(found).__name__}, not a flow")
    return found


def codes_of(flow: AnyFlow) -> str:
    """The code digests of every leaf, in order: other code under the same name is another flow."""
    return ",".join(leaf.code for leaf in flow.leaves())


def run_one(at: str, digest: str, codes: str, item: bytes) -> tuple[bool, Any]:
    """What happens in the cluster: (True, result as JSON text), or (False, record of the error)."""
    try:
        flow = find(at)
        if flow.digest != digest or codes_of(flow) != codes:
            raise DefinitionError("OMG-F002", f"{at} is other code here than where the run was started", advice="deploy the same code")
        return True, flow.output.encode(flow(flow.input.decode(item)))[0]
    except OmegaError as error:
        return False, error.record()
