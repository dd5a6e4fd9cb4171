"""`tools/call`: one governed run of one flow, and what became of it in the protocol's words.

done                   the tool's own result; an error that the tool reports is a result too
arguments that do not fit, a refusal, a failure
                       a result with `isError`: the model reads why, and what to do about it
waits for a person     a result with `isError` that names the execution; the same call with `_meta["omega/execution"]` asks for its end
the server refuses by the protocol, no such tool
                       an error of the protocol
takes its time         `resultType: task`, which is asked after by the id of the execution (`omega.gateway.mcp.tasks`)
more input is needed   `resultType: input_required`; a client of the older era is asked in the middle of the call instead
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from omega.gateway.mcp import finding, tasks
from omega.gateway.mcp.asked import MAX_NAME, Asked, passed_on, told
from omega.gateway.mcp.hall import Shown
from omega.gateway.mcp.offered import call_method
from omega.kernel.errors import Denied, OmegaError
from omega.kernel.journal import Status
from omega.kernel.ports import Outcome
from omega.wire.jsonrpc import INVALID_PARAMS, ProtocolFault
from omega.wire.mcp.headers import check_arguments_in_headers
from omega.wire.mcp.results import EXECUTION_KEY, STEP_KEY, call_result, failure

ROUNDS: Final = 8
"""How often a tool may ask for more input in one call of an older client."""

ERROR_KEY: Final = "omega/error"
BACK: Final = ("inputResponses", "requestState")
"""Parameters with which a client comes back with what it was asked for."""

_STANDS: Final = frozenset({Status.WAITING, Status.IN_DOUBT, Status.DEAD})


async def call_tool(asked: Asked) -> dict[str, Any]:
    """The result of a call. Raises ProtocolFault, and Denied (OMG-T001) for a passport that is no good any more."""
    name = asked.text("name", MAX_NAME)
    arguments = asked.params.get("arguments", {})
    if not isinstance(arguments, dict):
        raise ProtocolFault(INVALID_PARAMS, "arguments is an object")
    if name == finding.NAME and asked.view.searchable:
        return _find(asked, arguments)
    shown = asked.view.tools.get(name)
    if shown is None:
        raise ProtocolFault(INVALID_PARAMS, f"there is no tool {name[:80]}", data={"reason": asked.view.why_empty or "see tools/list"})
    if asked.era.modern:
        check_arguments_in_headers(shown.marks, arguments, asked.headers)
    earlier = _earlier(asked)
    if earlier:
        return _told(asked, shown, await _outcome(asked, earlier))
    return await _called(asked, shown, arguments)


async def _called(asked: Asked, shown: Shown, arguments: dict[str, Any]) -> dict[str, Any]:
    if not shown.whole:
        try:
            return _told(asked, shown, await call_method(asked, shown, arguments))
        except OmegaError as error:
            if error.code == "OMG-T001":
                raise
            return failure(f"{error.cause}. {error.advice}".strip(), {ERROR_KEY: told(error.record())})
    back = {key: asked.params[key] for key in BACK if key in asked.params}
    for _ in range(ROUNDS):
        result = _told(asked, shown, await asked.run(asked.call(shown.flow, {"arguments": arguments, **back})))
        if asked.era.modern or result.get("resultType", "complete") != "input_required":
            return result
        back = await _answers(asked, result)
    return failure(f"{shown.name} asked for input more than {ROUNDS} times")


async def _answers(asked: Asked, result: Mapping[str, Any]) -> dict[str, Any]:
    """What the client says to each question of an unfinished call. Raises ProtocolFault (INVALID_PARAMS) where it cannot be asked."""
    wanted = result.get("inputRequests")
    answers: dict[str, Any] = {}
    for key, question in wanted.items() if isinstance(wanted, dict) else ():
        try:
            answers[key] = dict(await asked.guest.ask(str(question.get("method")), question.get("params") or {}))
        except LookupError as error:
            raise ProtocolFault(INVALID_PARAMS, f"the tool asks for more input: {error.args[0]}") from error
    state = result.get("requestState")
    return {"inputResponses": answers} | ({"requestState": state} if isinstance(state, str) else {})


def _told(asked: Asked, shown: Shown, outcome: Outcome) -> dict[str, Any]:
    """How a call ended, as a result. Raises ProtocolFault for what a tool server refused by the protocol."""
    meta = {EXECUTION_KEY: outcome.execution} if outcome.execution else {}
    if outcome.error is not None and outcome.error.get("code") == "OMG-T001":
        raise Denied("OMG-T001", str(outcome.error.get("cause", "the passport is no good")))
    if outcome.status == Status.DONE:
        result = dict(outcome.value) if shown.whole else call_result(outcome.value, structured="outputSchema" in shown.tool)
        if result.get("resultType") == tasks.TASK:
            result["taskId"] = outcome.execution
        own = result.get("_meta")
        result["_meta"] = {**(own if isinstance(own, dict) else {}), **meta}
        return result
    error = outcome.error or {"cause": f"it is {outcome.status}: a person decides, or something is waited for"}
    refused = passed_on(error, asked.era)
    if refused is not None:
        raise refused
    words = f"{error.get('cause', '')}. {error.get('advice', '')}".strip()
    if outcome.status in _STANDS:
        words = f"{words} (execution {outcome.execution}: to learn how it ended, call again with _meta {EXECUTION_KEY})"
    return failure(words, meta | {ERROR_KEY: told(error)})


def _earlier(asked: Asked) -> str:
    """The execution that the client asks about, instead of starting one; empty if none."""
    meta = asked.params.get("_meta")
    named = meta.get(EXECUTION_KEY) if isinstance(meta, dict) and STEP_KEY not in meta else None
    return named if isinstance(named, str) and len(named) <= MAX_NAME else ""


async def _outcome(asked: Asked, execution: str) -> Outcome:
    try:
        return await asked.core.outcome(execution, asked.visitor.scope)
    except OmegaError as error:
        raise ProtocolFault(INVALID_PARAMS, error.cause, data=told(error.record())) from error


def _find(asked: Asked, arguments: Mapping[str, Any]) -> dict[str, Any]:
    query, limit = arguments.get("query"), arguments.get("limit", 5)
    if not isinstance(query, str) or not 0 < len(query) <= finding.MAX_QUERY:
        return failure(f"query is text of 1 to {finding.MAX_QUERY} characters")
    if type(limit) is not int or not 1 <= limit <= finding.MOST:
        return failure(f"limit is a whole number from 1 to {finding.MOST}")
    tools, scope = (shown.tool for shown in asked.view.tools.values()), asked.visitor.scope
    found = finding.ranked(tools, query, limit, lambda tool: asked.hall.standing(tool, scope))
    if not found:
        return call_result(asked.view.why_empty or f"no tool has a word like {query!r}; tools/list shows all", structured=False)
    kept = ("name", "title", "description", "inputSchema", "annotations")
    shown = [{key: each.tool[key] for key in kept if key in each.tool} | {"why": each.why} for each in found]
    return call_result({"tools": shown}, structured=True)
