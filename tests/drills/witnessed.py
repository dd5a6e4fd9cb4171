"""The `omega` command with a witness: `python witnessed.py WITNESS LIFE ARGUMENT...`.

Each touch and each call of a step's function is appended to the file WITNESS, one line in one write, before it is done: `LIFE touch
POSITION` or `LIFE call FLOW`. The witness knows nothing of the journal and survives every kill.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from omega.adapters.files import FileEffector
from omega.adapters.mcp import McpEffector
from omega.adapters.models import ModelEffector
from omega.adapters.process import ProcessEffector
from omega.cli import main
from omega.kernel.definition import Task
from omega.runtime import execution, touching


def watch(witness: str, life: str) -> None:
    """Put the witness around effectors and steps."""
    file = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(*words: str) -> None:
        os.write(file, (" ".join((life, *words)) + "\n").encode())

    for effector in (FileEffector, McpEffector, ModelEffector, ProcessEffector):
        effector.perform = _around(effector.perform, say)  # type: ignore[attr-defined]
    sound = execution.call_task

    def call_task(task: Task, context: Any, value: Any) -> Any:
        say("call", task.where)
        return sound(task, context, value)

    for module in (execution, touching):  # pure steps, and those that touch
        module.call_task = call_task  # type: ignore[attr-defined]


def _around(sound: Any, say: Any) -> Any:
    async def perform(self: Any, permit: Any, request: Any, *, execution: str, step: str) -> Any:
        say("touch", step)
        return await sound(self, permit, request, execution=execution, step=step)

    return perform


if __name__ == "__main__":
    watch(sys.argv[1], sys.argv[2])
    sys.argv = ["omega", *sys.argv[3:]]
    sys.exit(main())
