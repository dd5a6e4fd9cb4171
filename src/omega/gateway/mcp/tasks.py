"""The tasks extension (io.modelcontextprotocol/tasks, SEP-2663): a call that takes its time gives a task, and the client asks after it.

A task belongs to the tool server that gave it. Here it is known by the execution of the call that it came from, so nothing is kept: the
record says which server it is at and under which id, any gateway reads it there. Asking after a task is a governed read of its
server, for whoever may see that execution; answering its questions and cancelling it are touches like any other, for the very chain that
started it and nobody else: who may read what others do may not consent in their place.
"""

from __future__ import annotations

from typing import Any, Final

from omega.gateway.mcp.asked import MAX_NAME, Asked
from omega.gateway.mcp.hall import Source
from omega.gateway.mcp.listing import read
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Status
from omega.wire.jsonrpc import INVALID_PARAMS, ProtocolFault
from omega.wire.mcp.eras import MISSING_CAPABILITY, TASKS

TASK: Final = "task"
"""The `resultType` of a call that gave a task."""

METHODS: Final = ("tasks/get", "tasks/update", "tasks/cancel")

_TOUCHES: Final = frozenset({"tasks/update", "tasks/cancel"})
"""What is for the chain alone that started the call."""


async def answer(asked: Asked, method: str) -> dict[str, Any]:
    """The result of one of `METHODS`. Raises ProtocolFault: MISSING_CAPABILITY for a client that does not know tasks, INVALID_PARAMS for
    a task that is none of this caller's."""
    extensions = asked.era.capabilities.get("extensions")
    if not isinstance(extensions, dict) or TASKS not in extensions:
        wanted: dict[str, Any] = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        raise ProtocolFault(MISSING_CAPABILITY, "the client does not declare that it knows tasks", data=wanted)
    known = asked.text("taskId", MAX_NAME)
    server, own = await _place(asked, known, method)
    params = {key: value for key, value in asked.params.items() if key != "_meta"} | {"taskId": own}
    result = await read(asked, Source(server), method, params)
    return result | ({"taskId": known} if "taskId" in result else {})


async def _place(asked: Asked, known: str, method: str) -> tuple[str, str]:
    """The server of a task, and its id there."""
    scope = asked.visitor.scope
    try:
        line = asked.core.line(known, scope)
        outcome = await asked.core.outcome(known, scope)
    except OmegaError as error:
        raise ProtocolFault(INVALID_PARAMS, "there is no such task") from error
    value = outcome.value if outcome.status == Status.DONE and isinstance(outcome.value, dict) else {}
    own = value.get("taskId")
    may = method not in _TOUCHES or (asked.hall.passes(line) and asked.core.is_own(known, scope))
    if not may or value.get("resultType") != TASK or not isinstance(own, str):
        raise ProtocolFault(INVALID_PARAMS, "there is no such task")
    return line.flow.partition("/")[0], own
