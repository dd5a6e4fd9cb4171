"""Lists of tasks: the last changed first, in pages with cursors (A2A 1.0, 3.1.4), and the end of one that is cancelled."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from omega.gateway.a2a.asked import LOOK_S, Asked
from omega.gateway.a2a.desk import CONTEXT, LABEL, Account
from omega.gateway.a2a.tasks import UNTOLD, state_of, statuses_of, task_of
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.kernel.ports import Line, Search
from omega.wire.a2a.faults import PARAMS, TASK_NOT_CANCELABLE, A2aFault
from omega.wire.a2a.messages import TERMINAL
from omega.wire.a2a.operations import Listing, history_of, listing_of
from omega.wire.a2a.operations import task_of as id_of

MAX_LISTED: Final = 2_000
"""Most tasks that one list goes through, the latest begun: whoever has more asks by context."""

FETCH: Final = 500
"""Executions fetched at a time."""

MAX_LOADED: Final = 200
"""Most tasks whose content one list loads: two of the largest pages."""

CANCEL_S: Final = 10.0
"""How long (seconds) the answer to a cancellation waits for the task to end."""


def get(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """The task as it is. Raises A2aFault (TASK_NOT_FOUND, PARAMS)."""
    history = history_of(params)
    return task_of(asked.found(id_of(params)), asked.agent, history=history)


async def listed(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """One page of the caller's tasks. Raises A2aFault (PARAMS).

    Content is loaded for the page alone, and where the line does not tell the state, for `MAX_LOADED` tasks at most: the page is then a
    shorter one, and the token goes on where this one ended. Others run between any two.
    """
    wanted = listing_of(params)
    after = _cursor(wanted.token)
    found = sorted(await _lines(asked, wanted), key=_order)
    rest = [line for line in found if after is None or _order(line) > after]
    page: list[dict[str, Any]] = []
    told: Line | None = None
    for number, line in enumerate(rest):
        full = len(page) == wanted.page
        if number == MAX_LOADED or (full and _tells(line, wanted.state)):
            break
        account = await _loaded(asked, line)
        if account is not None and (not wanted.state or state_of(account) == wanted.state):
            if full:
                break
            page.append(task_of(account, asked.agent, history=wanted.history, artifacts=wanted.artifacts))
        told = line
    if wanted.artifacts:
        page = [{"artifacts": [], **task} for task in page]
    token = _token(told) if told is not None and told is not rest[-1] else ""
    return {"tasks": page, "nextPageToken": token, "pageSize": wanted.page, "totalSize": len(found)}


async def _loaded(asked: Asked, line: Line) -> Account | None:
    """What is recorded of the task on `line`, after others ran; None where it is gone by now."""
    await asyncio.sleep(0)
    try:
        return asked.found(line.execution)
    except A2aFault:
        return None


def _tells(line: Line, state: str) -> bool:
    """Whether the line alone tells that its task is in `state`, as a list narrowed to the statuses of that state has it."""
    return not state or Status(line.status) not in UNTOLD


async def _lines(asked: Asked, wanted: Listing) -> Sequence[Line]:
    """The caller's tasks of this agent that may match."""
    labels = {LABEL: asked.agent.name} | ({CONTEXT: wanted.context} if wanted.context else {})
    statuses = statuses_of(wanted.state) if wanted.state else ()
    if wanted.state and not statuses:
        return []
    found: list[Line] = []
    older = ""
    while len(found) < MAX_LISTED:
        page = asked.core.find(Search(labels=labels, status=statuses, older_than=older, limit=FETCH), asked.visitor.scope)
        found += page
        if len(page) < FETCH:
            break
        older = page[-1].execution
        await asyncio.sleep(0)
    return [line for line in found if line.updated_us >= wanted.after_us]


def _order(line: Line) -> tuple[int, str]:
    """The last changed first; of those changed at once the same order each time."""
    return -line.updated_us, line.execution


def _token(line: Line) -> str:
    return base64.urlsafe_b64encode(json.dumps(_order(line)).encode()).decode()


def _cursor(token: str) -> tuple[int, str] | None:
    """Where the page before ended. Raises A2aFault (PARAMS) for what is no token."""
    if not token:
        return None
    try:
        found = json.loads(base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise A2aFault(PARAMS, "pageToken is what the page before gave as nextPageToken") from error
    if not (isinstance(found, list) and len(found) == 2 and type(found[0]) is int and isinstance(found[1], str)):
        raise A2aFault(PARAMS, "pageToken is what the page before gave as nextPageToken")
    return found[0], found[1]


async def cancel(asked: Asked, params: Mapping[str, Any]) -> dict[str, Any]:
    """End a task; gives it as it is then. Raises A2aFault (TASK_NOT_FOUND, TASK_NOT_CANCELABLE), Denied."""
    execution = id_of(params)
    if state_of(asked.found(execution)) in TERMINAL:
        raise _ended(execution)
    try:
        await asked.core.decide(execution, "cancel", {}, asked.visitor)
    except InputError as error:
        if error.code != "OMG-I005":
            raise
        raise _ended(execution) from error
    with suppress(TimeoutError):
        async with asyncio.timeout(CANCEL_S):
            while not Status(asked.core.line(execution, asked.visitor.scope).status).ended:  # noqa: ASYNC110 - it may end elsewhere
                await asyncio.sleep(LOOK_S)
    return task_of(asked.found(execution), asked.agent)


def _ended(execution: str) -> A2aFault:
    return A2aFault(TASK_NOT_CANCELABLE, f"the task {execution} has ended already")
