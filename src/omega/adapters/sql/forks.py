"""Forks: executions whose history begins with the first rows of another one, by reference.

A fork of a fork is read through each of its ancestors, so their number is bounded when a fork is made.
"""

from __future__ import annotations

from collections.abc import Callable

from omega.adapters.sql.batches import unknown
from omega.kernel.errors import FlowError
from omega.kernel.ports import Batch, Head

MAX_FORK_DEPTH = 32
"""Most forks that may rest on one another."""


def check_origin(batch: Batch, head: Head, look: Callable[[str], tuple[str, str] | None]) -> None:
    """Whether the fork of `head` may be made. `look` gives the tenant and the origin of an execution, None when there is none.

    Raises InputError (OMG-I003) when its origin is not there or another tenant's, FlowError (OMG-R016) when it rests on too many others.
    """
    name, depth = head.origin, 0
    while name:
        found = look(name)
        if found is None or found[0] != batch.tenant:
            raise unknown(head.origin)
        name, depth = found[1], depth + 1
        if depth > MAX_FORK_DEPTH:
            raise FlowError("OMG-R016", f"{head.origin} is a fork of a fork {MAX_FORK_DEPTH} times over: start a new run from its input")
