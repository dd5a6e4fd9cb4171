"""What the commands that look and decide do at a remote installation: the same documents and lines as here, by its HTTP API.

Who may see and decide what is its decision; its errors are told as they come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from omega.cli.output import Session
from omega.cli.remote import Found, at
from omega.client import Client
from omega.contracts.events import Event, Interest
from omega.host.account import DENIED, moment
from omega.host.answering import typed_answer
from omega.host.deciding import LIVE, Decided
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.kernel.ports import Search

PAGE = 100
"""Events read at once: as many as the service `events` gives."""

STREAM_S = 3_600.0
"""How long one stream of events lasts, in seconds; then the next one goes on after its last."""

_KINDS = {"answer": "form", "signal": "signal"}
"""What a step that waits asks for, by the decision that it takes; all others take an approval."""


def runs(session: Session, found: Found, search: Search) -> list[dict[str, Any]]:
    """The executions there that match, newest first, as `omega.host.account.standing` tells them here. Raises InputError (OMG-X001)."""
    query = _query(search)

    async def work(client: Client) -> list[dict[str, Any]]:
        return [_standing(line) async for line in client.executions(limit=search.limit, **query)]

    return at(session, found, work)


def show(session: Session, found: Found, execution: str, *, values: bool) -> dict[str, Any]:
    """The account of an execution there. Raises InputError (OMG-I003), IntegrityError (OMG-T004)."""
    return at(session, found, lambda client: client.execution(execution, values=values))


def decide(session: Session, found: Found, execution: str, verb: str, body: Mapping[str, Any]) -> Decided:
    """Decide about an execution there, and tell it as it is told here. Raises what the installation says."""

    async def work(client: Client) -> Decided:
        step = str(body.get("step", "")) or _only(await _seen(client, execution), verb)
        await client.decide(execution, verb, {name: value for name, value in body.items() if name != "step" or value})
        after = await _seen(client, execution)
        who = _approver(after, step) if verb == "approve" else ""
        return Decided(
            execution=execution,
            verb=verb,
            step=step,
            by=who or str((await client.me())["principal"]),
            through=LIVE,
            recorded=True,
            status=str(after.get("status", "")),
            queue=str(after.get("queue", "")),
        )

    return at(session, found, work)


def read_answer(session: Session, found: Found, execution: str, step: str, given: Sequence[str], whole: str | None) -> Any:
    """What was typed for the form that waits there, by its schema. Raises InputError (OMG-I003, OMG-I004, OMG-I005, OMG-I001)."""
    waiting = _waiting(show(session, found, execution, values=False), "answer")
    chosen = [each for each in waiting if step in ("", each["step"], each["position"])]
    if len(chosen) != 1:
        code = "OMG-I004" if waiting else "OMG-I005"
        raise InputError(code, f"{execution} has {len(chosen)} steps like that which wait for an answer", advice=f"omega show {execution}")
    return typed_answer(chosen[0]["asks"].get("schema") or {}, given, whole)


def events(session: Session, found: Found, after: int | None, interest: Interest, limit: int) -> tuple[list[Event], int]:
    """A page of events there after a position, or the newest page there is; and where to go on."""

    async def work(client: Client) -> tuple[list[Event], int]:
        position, told = -1 if after is None else after, list[Event]()
        while True:
            most = PAGE if after is None else min(PAGE, limit - len(told))
            page = await client.call("events.read", _wanted(position, interest, most))
            told, position = (told + [Event.read(each) for each in page["events"]])[-limit:], int(page["position"])
            if not page["more"] or (after is not None and len(told) == limit):
                return told, position

    return at(session, found, work)


def follow(session: Session, found: Found, after: int, interest: Interest, say: Callable[[Event], None]) -> None:
    """Say each event there as it happens, until Ctrl-C."""

    async def work(client: Client) -> None:
        position, wanted = after, {"types": list(interest.types), "keys": list(interest.keys), "for_s": STREAM_S}
        while True:
            async for each in client.stream("events.follow", {**wanted, "after": position}):
                event = Event.read(each)
                say(event)
                position = event.position

    with suppress(KeyboardInterrupt):  # that is how one stops looking
        at(session, found, work)


def now_us() -> int:
    """The time by the clock of this machine, in Unix microseconds: how long ago something was is told by it."""
    return time.time_ns() // 1_000


def _query(search: Search) -> dict[str, str]:
    """A search as the parameters of the API. Raises InputError (OMG-X001) for what those cannot say."""
    if len(search.labels) > 1:
        raise InputError("OMG-X001", "a remote installation is searched by one label at a time", advice="leave one of the labels out")
    said = {
        "status": ",".join(search.status),
        "flow": search.flow,
        "queue": search.queue,
        "key": search.key,
        "parent": search.parent,
        "by": search.principal,
        "label": "".join(f"{name}={value}" for name, value in search.labels.items()),
        "since": moment(search.after_us),
        "until": moment(search.before_us),
        "cursor": search.older_than,
    }
    return {name: text for name, text in said.items() if text}


def _standing(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the API as a list of this command line has it: what the gate refused is `denied`, and has not failed."""
    refused = line["status"] == Status.FAILED and "policies" in line
    return {**line, "interrupted": bool(line.get("interrupted")), "status": DENIED if refused else line["status"]}


async def _seen(client: Client, execution: str) -> dict[str, Any]:
    """The account of an execution; nothing where the caller may decide about it and not see it."""
    with suppress(InputError):
        return await client.execution(execution)
    return {}


def _waiting(told: Mapping[str, Any], verb: str) -> list[dict[str, Any]]:
    """The steps of an account that wait for that decision."""
    steps = [each for each in told.get("steps", ()) if "record" not in each]
    if verb == "resolve":
        return [each for each in steps if each.get("status") == "in doubt"]
    kind = _KINDS.get(verb, "approval")
    return [each for each in steps if each.get("status") == "waiting" and (each.get("asks") or {"kind": "approval"})["kind"] == kind]


def _only(told: Mapping[str, Any], verb: str) -> str:
    """The step that is decided about where none is named and only one waits; empty where that is not known from here."""
    waiting = _waiting(told, verb) if verb in ("approve", "answer", "resolve") else []
    return str(waiting[0]["step"]) if len(waiting) == 1 else ""


def _approver(told: Mapping[str, Any], step: str) -> str:
    """Who approved a step last; empty where that is not known from here."""
    said = [each["approved_by"][-1] for each in told.get("steps", ()) if each.get("step") == step and each.get("approved_by")]
    return str(said[-1]) if said else ""


def _wanted(after: int, interest: Interest, most: int) -> dict[str, Any]:
    return {"after": after, "types": list(interest.types), "keys": list(interest.keys), "limit": most}
