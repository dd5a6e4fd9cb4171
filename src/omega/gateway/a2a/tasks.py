"""A task is an execution: what is recorded of one, told in the protocol's words.

    queued, running            submitted, working
    waiting for a person       input required, with what is asked as the message of the status; in doubt and given up are for a person too
    waiting for time, a child  working
    done                       completed, the value as artifact
    failed                     failed, or rejected where the gate refused
    cancelled                  canceled

The value of a flow that speaks text or data is one artifact called `result`. A flow that takes whole messages may give
`{"artifacts": [...], "message": {...}}` and has its own artifacts and its last words, or `{"answer": {...}}` and is no task to whoever
waits, but one message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from omega.gateway.a2a.desk import CONTEXT, MESSAGE, Account, Agent, Question, Said
from omega.kernel.journal import Status
from omega.wire.a2a import messages
from omega.wire.a2a.faults import A2aFault
from omega.wire.a2a.messages import agent_message, part_for, parts_of

RESULT: Final = "result"
"""The id of the one artifact of a flow that speaks text or data."""

MAX_ARTIFACTS: Final = 100
"""Most artifacts of one task."""

_NATIVE: Final = frozenset({"artifacts", "message", "answer"})
_STATES: Final = {
    Status.QUEUED: messages.SUBMITTED,
    Status.RUNNING: messages.WORKING,
    Status.DONE: messages.COMPLETED,
    Status.CANCELLED: messages.CANCELED,
    Status.IN_DOUBT: messages.INPUT_REQUIRED,
    Status.DEAD: messages.INPUT_REQUIRED,
}
_STATUSES: Final = {
    messages.SUBMITTED: (Status.QUEUED,),
    messages.WORKING: (Status.RUNNING, Status.WAITING),
    messages.INPUT_REQUIRED: (Status.WAITING, Status.IN_DOUBT, Status.DEAD),
    messages.COMPLETED: (Status.DONE,),
    messages.CANCELED: (Status.CANCELLED,),
    messages.FAILED: (Status.FAILED,),
    messages.REJECTED: (Status.FAILED,),
}


UNTOLD: Final = frozenset({Status.WAITING, Status.FAILED})
"""The statuses in which the content of a task says which state it is in. `_STATES` has all others."""


def state_of(account: Account) -> str:
    """The state of a task."""
    status = Status(account.line.status)
    if status is Status.WAITING:
        return messages.WORKING if account.busy else messages.INPUT_REQUIRED
    if status is Status.FAILED:
        refused = account.error is not None and account.error.get("family") == "denied"
        return messages.REJECTED if refused else messages.FAILED
    return _STATES[status]


def statuses_of(state: str) -> Sequence[str]:
    """The statuses of executions that may be in `state`; none for a state that none is ever in."""
    return tuple(str(each) for each in _STATUSES.get(state, ()))


def task_of(account: Account, agent: Agent, *, history: int | None = None, artifacts: bool = True) -> dict[str, Any]:
    """The task. `history` bounds its messages, the latest are kept; without `artifacts` they are left out entirely."""
    line = account.line
    told: dict[str, Any] = {"id": line.execution, "contextId": context_of(account), "status": status_of(account, agent)}
    if artifacts and Status(line.status) is Status.DONE:
        made = artifacts_of(account.value, agent)
        told |= {"artifacts": made} if made else {}
    said = history_of(account, agent)
    if history is not None:
        said = said[-history:] if history else []
    return told | ({"history": said} if said else {})


def context_of(account: Account) -> str:
    """The conversation that a task belongs to."""
    return str(account.line.labels.get(CONTEXT, ""))


def status_of(account: Account, agent: Agent) -> dict[str, Any]:
    """The status of a task, with its last words."""
    state = state_of(account)
    parts = _words(account, agent, state)
    line = account.line
    message = None
    if parts:
        id = made_id(line.execution, state, str(line.updated_us))
        message = agent_message(id, parts, context=context_of(account), task=line.execution)
    return messages.status(state, line.updated_us, message)


def _words(account: Account, agent: Agent, state: str) -> list[dict[str, Any]]:
    if state == messages.COMPLETED:
        native = native_of(account.value, agent)
        words = (native.get("message") or native.get("answer")) if native is not None else None
        return list(words["parts"]) if words else []
    if state in (messages.FAILED, messages.REJECTED):
        error = account.error or {}
        said = f"{error.get('cause', 'it failed')}. {error.get('advice', '')}".strip()
        return [{"text": said, "metadata": {"code": str(error.get("code", ""))}}]
    if state == messages.INPUT_REQUIRED:
        return question_parts(account.asks)
    return []


def question_parts(asks: Question | None) -> list[dict[str, Any]]:
    """What a task asks, for people and for programs."""
    if asks is None:
        return []
    if asks.kind == "approval":
        words = asks.message or "an approval is needed"
        return [{"text": words}, {"data": {"kind": "approval", "role": asks.role, "answer": {"approved": True}}}]
    told: dict[str, Any] = {"kind": asks.kind} | ({"role": asks.role} if asks.role else {})
    told |= {"schema": dict(asks.schema)} if asks.schema else {}
    words = asks.message or ("a form is to be filled in" if asks.kind == "form" else "a further message is awaited")
    return [{"text": words}, {"data": told}]


def history_of(account: Account, agent: Agent) -> list[dict[str, Any]]:
    """What was said in a task, the oldest first."""
    if not account.kept:
        return []
    return [_first(account, agent), *(_later(account, said) for said in account.said)]


def _first(account: Account, agent: Agent) -> dict[str, Any]:
    line = account.line
    given = account.input
    if agent.takes == "message" and isinstance(given, Mapping) and given.get("parts"):
        return {**given, "contextId": context_of(account), "taskId": line.execution}
    id = str(line.labels.get(MESSAGE, "")) or made_id(line.execution, "input")
    return _user(account, id, [part_for(given)])


def _later(account: Account, said: Said) -> dict[str, Any]:
    line, value = account.line, said.value
    if said.by == "agent":
        return agent_message(made_id(line.execution, said.key), [part_for(value)], context=context_of(account), task=line.execution)
    if isinstance(value, Mapping) and value.get("parts") and value.get("messageId"):
        return {**value, "contextId": context_of(account), "taskId": line.execution}
    return _user(account, made_id(line.execution, said.key), [part_for(value)])


def _user(account: Account, id: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    said = {"messageId": id, "role": messages.USER, "parts": list(parts)}
    return said | {"contextId": context_of(account), "taskId": account.line.execution}


def native_of(value: Any, agent: Agent) -> dict[str, Any] | None:
    """What a flow gives in the protocol's own words: its artifacts, its last words, its answer; None for any other value."""
    if agent.takes != "message" or not isinstance(value, Mapping) or not value or not value.keys() <= _NATIVE:
        return None
    try:
        given = value.get("artifacts") or []
        if not isinstance(given, list) or len(given) > MAX_ARTIFACTS:
            return None
        read: dict[str, Any] = {"artifacts": [artifact_of(each, index) for index, each in enumerate(given)]}
        for field in ("message", "answer"):
            words = value.get(field)
            if words is not None:
                read[field] = {"parts": parts_of(words.get("parts") if isinstance(words, Mapping) else None, field)}
    except A2aFault:
        return None
    return read


def artifact_of(given: Any, index: int) -> dict[str, Any]:
    """An artifact as a flow gives it. Raises A2aFault (PARAMS) for what is none."""
    found = given if isinstance(given, Mapping) else {}
    id = found.get("artifactId")
    made: dict[str, Any] = {"artifactId": id if isinstance(id, str) and id else f"{RESULT}-{index}"}
    made["parts"] = parts_of(found.get("parts"), f"artifacts[{index}].parts")
    return made | {field: found[field] for field in ("name", "description") if isinstance(found.get(field), str) and found[field]}


def artifacts_of(value: Any, agent: Agent) -> list[dict[str, Any]]:
    """The artifacts that a result is."""
    native = native_of(value, agent)
    if native is not None:
        return list(native["artifacts"])
    return [] if value is None else [{"artifactId": RESULT, "parts": [part_for(value)]}]


def answer_of(account: Account, agent: Agent) -> dict[str, Any] | None:
    """The one message that a result is, where the flow means no task by it."""
    native = native_of(account.value, agent) if Status(account.line.status) is Status.DONE else None
    if native is None or "answer" not in native:
        return None
    return agent_message(made_id(account.line.execution, "answer"), native["answer"]["parts"], context=context_of(account))


def made_id(*parts: str) -> str:
    """An id for something that is told again and again: the same each time."""
    return sha256("\n".join(parts).encode()).hexdigest()[:32]
