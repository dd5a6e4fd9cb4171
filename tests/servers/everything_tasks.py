"""Tools that take their time, by the tasks extension (io.modelcontextprotocol/tasks, SEP-2663): a call gives a task, which is asked after.

A client that does not know tasks waits for the result instead, except where a tool says that it cannot do without.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from servers.everything_call import ELICIT, Call, Fault, form, text

EXTENSION = "io.modelcontextprotocol/tasks"
METHODS = ("tasks/get", "tasks/update", "tasks/cancel")
TTL_MS, POLL_MS = 60_000, 50
JOB_S = 0.05
"""How long a job takes that does not say, in seconds."""

Prepare = Callable[[Call], Awaitable[str]]
Work = Callable[[Call, str], Awaitable[dict[str, Any]]]


async def _nothing(call: Call) -> str:
    return ""


@dataclass(frozen=True)
class Job:
    """A tool that may be a task: `prepare` runs in the call itself, `work` in the task, on what `prepare` gave."""

    description: str
    work: Work
    prepare: Prepare = _nothing
    required: bool = False
    properties: dict[str, Any] = field(default_factory=dict)

    def listed(self, name: str) -> dict[str, Any]:
        """What is listed of it."""
        return {"name": name, "description": self.description, "inputSchema": {"type": "object", "properties": self.properties}}


async def _compute(call: Call, prepared: str) -> dict[str, Any]:
    await asyncio.sleep(float(call.arguments.get("seconds", 0)))
    return text(f"computed {call.arguments.get('label', '')}")


async def _fail(call: Call, prepared: str) -> dict[str, Any]:
    await asyncio.sleep(JOB_S)
    return text("the job failed", isError=True)


async def _break(call: Call, prepared: str) -> dict[str, Any]:
    await asyncio.sleep(JOB_S)
    raise Fault(-32603, "the job broke")


async def _confirm(call: Call, prepared: str) -> dict[str, Any]:
    said = await call.ask("confirm", ELICIT, form("delete it?", ("confirm",), confirm={"type": "boolean"}))
    return text(f"{call.arguments.get('filename', '')}: {said.get('action')}")


async def _both(call: Call, prepared: str) -> dict[str, Any]:
    field = {"type": "string"}
    said = await call.ask_all({"first": (ELICIT, form("one", name=field)), "second": (ELICIT, form("two", name=field))})
    return text(f"{len(said)} answers")


async def _name(call: Call) -> str:
    said = await call.ask("user_name", ELICIT, form("What is your name?", ("name",), name={"type": "string"}))
    return str((said.get("content") or {}).get("name", ""))


async def _greet(call: Call, name: str) -> dict[str, Any]:
    return text(f"Hello, {name}!")


async def _given(call: Call) -> str:
    return str(call.arguments.get("name", ""))


JOBS = {
    "slow_compute": Job("Computes for a while.", _compute, properties={"seconds": {"type": "number"}, "label": {"type": "string"}}),
    "failing_job": Job("Fails after a while.", _fail, required=True),
    "protocol_error_job": Job("Breaks after a while.", _break),
    "confirm_delete": Job("Asks before it deletes.", _confirm, properties={"filename": {"type": "string"}}),
    "multi_input": Job("Asks two things at once.", _both),
    "test_tool_with_task": Job("Asks first, then takes its time.", _greet, _name, required=True),
}


def _now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass
class Task:
    """One task: how it stands, and what it waits for."""

    status: str = "working"
    created: str = field(default_factory=_now)
    updated: str = field(default_factory=_now)
    outcome: dict[str, Any] = field(default_factory=dict)
    questions: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    running: asyncio.Task[None] | None = None

    def turn(self, status: str, **outcome: Any) -> None:
        """It stands otherwise now."""
        self.status, self.outcome, self.updated = status, outcome, _now()

    async def put(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Wait for the answer to a question."""
        key = secrets.token_hex(4)
        self.questions[key] = {"method": method, "params": params}
        self.answers[key] = asyncio.get_running_loop().create_future()
        self.turn("input_required")
        answer = await self.answers[key]
        if not self.questions:
            self.turn("working")
        return answer

    def told(self, id: str) -> dict[str, Any]:
        """What is said of it."""
        return {
            "taskId": id,
            "status": self.status,
            "createdAt": self.created,
            "lastUpdatedAt": self.updated,
            "ttlMs": TTL_MS,
            "pollIntervalMs": POLL_MS,
        }


class Tasks:
    """The tasks of one server."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    async def called(self, name: str, call: Call) -> dict[str, Any]:
        """The result of calling a job: a task for those who know tasks."""
        job = JOBS[name]
        if EXTENSION not in call.client.get("extensions", {}):
            if job.required and call.modern:
                raise _unknown_to_client()
            return await job.work(call, await job.prepare(call))
        prepared = await job.prepare(call)
        id, task = secrets.token_hex(16), Task()
        self._tasks[id] = task
        task.running = asyncio.create_task(_run(task, job, replace(call, modern=False, put=task.put), prepared))
        return {**task.told(id), "resultType": "task"}

    async def answer(self, method: str, call: Call) -> dict[str, Any]:
        """The result of one of `METHODS`."""
        if EXTENSION not in call.client.get("extensions", {}):
            raise _unknown_to_client()
        id = call.params.get("taskId", "")
        task = self._tasks.get(id)
        if task is None:
            raise Fault(-32602, "there is no such task", status=400)
        if method == "tasks/get":
            waits = {"inputRequests": dict(task.questions)} if task.status == "input_required" else {}
            return {**task.told(id), **task.outcome, **waits}
        if method == "tasks/cancel" and task.running is not None:
            task.running.cancel()
            await asyncio.wait([task.running])
        for key, given in call.params.get("inputResponses", {}).items() if method == "tasks/update" else ():
            if task.questions.pop(key, None) is not None:
                task.answers[key].set_result(given)
        return {}

    async def close(self) -> None:
        """End whatever still runs."""
        running = [task.running for task in self._tasks.values() if task.running is not None]
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _run(task: Task, job: Job, call: Call, prepared: str) -> None:
    try:
        task.turn("completed", result=await job.work(call, prepared))
    except Fault as fault:
        task.turn("failed", error={"code": fault.code, "message": str(fault)})
    except asyncio.CancelledError:
        task.turn("cancelled")


def _unknown_to_client() -> Fault:
    return Fault(-32021, "it takes tasks", {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}, 400)
