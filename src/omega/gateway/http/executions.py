"""Executions as resources: lists with filters and pages, one with its steps, its outcome, and what a person decides about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from omega.gateway.front.request import Headers, read_json_body, reply_json
from omega.gateway.http.calls import EXECUTIONS, FRESH, LONGEST_WAIT_S, Asked
from omega.gateway.http.events import outcome_document, stream_execution
from omega.kernel.errors import InputError
from omega.kernel.ids import is_chosen_id
from omega.kernel.journal import Status
from omega.kernel.ports import Search

PAGE, LARGEST_PAGE = 50, 200
"""Executions in one page, unless the caller says otherwise, and at most."""

MAX_TEXT = 256
"""Longest text to search by, in characters."""

FILTERS = ("status", "flow", "queue", "key", "parent", "by", "label", "since", "until", "limit", "cursor")

DECISIONS: dict[str, dict[str, type]] = {
    "cancel": {"passkey": dict},
    "approve": {"step": str, "code": str, "passkey": dict},
    "answer": {"step": str, "value": object},
    "resolve": {"step": str, "done": bool, "value": object},
    "signal": {"name": str, "value": object},
}
"""What can be decided about an execution, with the fields of each decision."""

_KINDS = {str: "a text", bool: "true or false", dict: "an object"}
REQUIRED = {"answer": ("value",), "resolve": ("done",), "signal": ("name",)}


async def find(asked: Asked) -> None:
    """GET /executions: one page, the newest first."""
    given = asked.arrival.parameters(FILTERS)
    limit = _whole(given.get("limit", str(PAGE)), 1, LARGEST_PAGE, "limit")
    found = asked.core.find(search_of(given, limit + 1), asked.visitor.scope)
    page = found[:limit]
    more = page[-1].execution if len(found) > limit else None
    headers: Headers = [FRESH]
    if more is not None:
        kept = "&".join(f"{name}={_quoted(text)}" for name, text in given.items() if name != "cursor")
        headers.append((b"link", f'<{EXECUTIONS}?{f"{kept}&" if kept else ""}cursor={more}>; rel="next"'.encode("ascii", "ignore")))
    await reply_json(asked.send, {"executions": [asked.core.told(line) for line in page], "next": more}, headers=headers)


def search_of(given: Mapping[str, str], limit: int) -> Search:
    """The search that the parameters of a query mean. Raises InputError (OMG-G001) naming the parameter."""
    long = next((name for name, text in given.items() if len(text) > MAX_TEXT or "\x00" in text), None)
    if long is not None:
        raise InputError("OMG-G001", f"{long} has at most {MAX_TEXT} characters")
    cursor = given.get("cursor", "")
    if cursor and not is_chosen_id(cursor):
        raise InputError("OMG-G001", "this is no cursor", advice="use the one that the page before gave as `next`")
    name, equals, value = given.get("label", "").partition("=")
    if "label" in given and not (name and equals):
        raise InputError("OMG-G001", "label is written as NAME=VALUE")
    return Search(
        status=_statuses(given.get("status", "")),
        flow=given.get("flow", ""),
        queue=given.get("queue", ""),
        key=given.get("key", ""),
        parent=given.get("parent", ""),
        principal=given.get("by", ""),
        labels={name: value} if name else {},
        after_us=_moment(given, "since"),
        before_us=_moment(given, "until"),
        older_than=cursor,
        limit=limit,
    )


async def show(asked: Asked, execution: str) -> None:
    """GET /executions/{execution}: the line and every step; `values=true` adds inputs and results."""
    values = asked.arrival.parameters(("values",)).get("values", "false")
    if values not in ("true", "false"):
        raise InputError("OMG-G001", "values is true or false")
    _named(execution)
    await reply_json(asked.send, asked.core.describe(execution, asked.visitor.scope, values=values == "true"), headers=[FRESH])


async def outcome(asked: Asked, execution: str) -> None:
    """GET /executions/{execution}/outcome: how it ended or stands; with `wait` (seconds) as soon as that is known."""
    wait_s = _whole(asked.arrival.parameters(("wait",)).get("wait", "0"), 0, int(LONGEST_WAIT_S), "wait")
    _named(execution)
    try:
        async with asyncio.timeout(wait_s or 0.001):
            found = await asked.core.outcome(execution, asked.visitor.scope)
    except TimeoutError:
        status = Status.RUNNING.value
        with suppress(InputError):  # begun here, and not on disk yet
            status = asked.core.line(execution, asked.visitor.scope).status
        await reply_json(asked.send, {"execution": execution, "status": status, "cost_micros": 0}, headers=[FRESH])
        return
    await reply_json(asked.send, outcome_document(found, base=asked.arrival.base), headers=[FRESH])


async def events(asked: Asked, execution: str) -> None:
    """GET /executions/{execution}/events: its parts from now on, and its outcome, as server-sent events."""
    asked.arrival.parameters(())
    _named(execution)
    await stream_execution(asked.core, execution, asked.visitor.scope, asked.send, asked.left)


async def decide(asked: Asked, execution: str, verb: str) -> None:
    """POST /executions/{execution}/{verb}: decide about it as the caller; gives its line as it is then."""
    body = await read_json_body(asked.receive, asked.arrival)
    decision = decision_of(verb, {} if body is None else body)
    _named(execution)
    await asked.core.decide(execution, verb, decision, asked.visitor)
    await reply_json(asked.send, {"execution": execution, "decided": verb}, headers=[FRESH])


def decision_of(verb: str, body: Any) -> dict[str, Any]:
    """The fields of a decision. Raises InputError (OMG-I001) naming the one that does not fit."""
    known = DECISIONS[verb]
    if not isinstance(body, dict):
        raise InputError("OMG-I001", f"{verb} takes an object")
    for name, value in body.items():
        if name not in known:
            raise InputError("OMG-I001", f"{verb} takes no {name[:80]!r} (it takes: {', '.join(known) or 'nothing'})")
        if not isinstance(value, known[name]):
            raise InputError("OMG-I001", f"{name} of {verb} is {_KINDS[known[name]]}")
        if isinstance(value, str) and len(value) > MAX_TEXT and known[name] is str:
            raise InputError("OMG-I001", f"{name} has at most {MAX_TEXT} characters")
    missing = next((name for name in REQUIRED.get(verb, ()) if name not in body), None)
    if missing is not None:
        raise InputError("OMG-I001", f"{verb} needs {missing}")
    return body


def moment(at_us: int) -> str:
    """Unix microseconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _named(execution: str) -> None:
    if not is_chosen_id(execution):
        raise InputError("OMG-I003", "this cannot be the id of an execution")


def _statuses(text: str) -> tuple[str, ...]:
    found = tuple(filter(None, text.split(",")))
    known = [status.value for status in Status]
    unknown = next((each for each in found if each not in known), None)
    if unknown is not None:
        raise InputError("OMG-G001", f"{unknown[:40]!r} is no status (known: {', '.join(known)})")
    return found


def _whole(text: str, least: int, most: int, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
        raise InputError("OMG-G001", f"{name} is a whole number from {least} to {most}")
    return int(text)


def _moment(given: Mapping[str, str], name: str) -> int:
    if name not in given:
        return 0
    try:
        found = datetime.fromisoformat(given[name])
        return max(0, int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1_000_000))
    except (ValueError, OverflowError):
        raise InputError("OMG-G001", f"{name} is no moment", advice="write it as 2026-11-21T06:00:00Z") from None


def _quoted(text: str) -> str:
    return quote(text, safe="")
