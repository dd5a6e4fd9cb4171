"""Who is told of a task by HTTP: configurations that a caller keeps for its own tasks (A2A 1.0, 3.1.7 to 3.1.10).

What is sent and when is the host's affair (`omega.host.a2a_telling`); here a configuration is read, kept, listed and forgotten. Secrets
that came with one are never given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omega.gateway.a2a.asked import Asked
from omega.wire.a2a.faults import TASK_NOT_FOUND, A2aFault
from omega.wire.a2a.operations import push_of, task_of


async def create(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a configuration; gives it. Raises A2aFault (TASK_NOT_FOUND, PARAMS), Denied, InputError."""
    execution = _task(asked, params)
    return _shown(execution, await asked.desk.tell(execution, push_of(dict(params)), asked.visitor))


def get(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """One configuration. Raises A2aFault (TASK_NOT_FOUND) where there is none of that id."""
    execution, config = _task(asked, params), task_of(params)
    found = next((each for each in asked.desk.told(execution, asked.visitor.scope) if each.get("id") == config), None)
    if found is None:
        raise A2aFault(TASK_NOT_FOUND, f"nobody is told of the task {execution} under {config}")
    return _shown(execution, found)


def listed(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """All configurations of a task: they are few, so there is one page. Raises A2aFault (TASK_NOT_FOUND)."""
    execution = _task(asked, params)
    return {"configs": [_shown(execution, each) for each in asked.desk.told(execution, asked.visitor.scope)], "nextPageToken": ""}


async def delete(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """Forget a configuration; one that is not there is forgotten already. Raises A2aFault (TASK_NOT_FOUND), Denied."""
    execution, config = _task(asked, params), task_of(params)
    await asked.desk.untell(execution, config, asked.visitor)
    return {}


def _task(asked: Asked, params: Mapping[str, Any]) -> str:
    execution = task_of(params, "taskId")
    asked.found(execution)
    return execution


def _shown(execution: str, config: Mapping[str, Any]) -> dict[str, Any]:
    told = {"id": config["id"], "taskId": execution, "url": config["url"]}
    proof = config.get("authentication")
    return told | ({"authentication": {"scheme": proof["scheme"]}} if proof else {})
