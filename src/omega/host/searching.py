"""What is searched for among executions, as it is typed: `FIELD=VALUE` pairs made into a `kernel.ports.Search`, and the pages of an answer.

status=waiting  flow=triage  queue=mail  key=customer-7  label=team=blue  parent=exe_...  by=person:ada  digest=...
since=2h  until=2026-11-21T06:00Z      a moment: how long ago ("30m", "7d"), a date, or a date and time (UTC unless it says)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from omega.host.storage import Archives
from omega.kernel.errors import InputError
from omega.kernel.journal import Status
from omega.kernel.ports import Line, Search

PAGE = 500
"""Executions fetched at a time when all that match are wanted."""

MAX_FOUND = 100_000
"""Most executions that one bulk operation is about."""

_AGO = re.compile(r"(?P<count>\d{1,6})(?P<unit>s|m|min|h|d|w)")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_STATUSES = tuple(status.value for status in Status)
_PLAIN = {"flow": "flow", "queue": "queue", "key": "key", "parent": "parent", "by": "principal", "digest": "digest"}
FIELDS = ("status", *_PLAIN, "label", "since", "until")
"""What can be searched by."""


def read_search(pairs: Sequence[tuple[str, str]], *, now_us: int, tenant: str = "") -> Search:
    """The search that `pairs` of field and text mean together. Raises InputError (OMG-X001) naming the field."""
    found: dict[str, Any] = {"tenant": tenant}
    statuses: list[str] = []
    labels: dict[str, str] = {}
    for name, text in pairs:
        if name == "status":
            statuses.append(_status(text))
        elif name == "label":
            labels.update([read_label(text)])
        elif name == "since":
            found["after_us"] = read_moment(text, now_us)
        elif name == "until":
            found["before_us"] = read_moment(text, now_us)
        elif name in _PLAIN:
            found[_PLAIN[name]] = text
        else:
            raise InputError("OMG-X001", f"executions are not searched by {name[:40]!r} (known: {', '.join(FIELDS)})")
    return Search(status=tuple(statuses), labels=labels, **found)


def read_where(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs from `FIELD=VALUE` texts. Raises InputError (OMG-X001)."""
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise InputError("OMG-X001", f"{text[:60]!r} is not of the form FIELD=VALUE (fields: {', '.join(FIELDS)})")
        found.append((name.strip(), value.strip()))
    return found


def read_label(text: str) -> tuple[str, str]:
    """A label from "name=value". Raises InputError (OMG-X001)."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError("OMG-X001", f"{text[:60]!r} is no label", advice="write it as --label name=value")
    return name, value


def read_moment(text: str, now_us: int, *, sign: int = -1) -> int:
    """Unix microseconds of a moment: so long ago ("2h"; with `sign` 1 so long from now), or an ISO date, with or without a time.

    Raises InputError (OMG-X001).
    """
    match = _AGO.fullmatch(text.strip())
    if match is not None:
        return now_us + sign * int(match["count"]) * _UNITS[match["unit"]] * 1_000_000
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(
            "OMG-X001", f"{text[:40]!r} is no moment", advice='write "30m", "2h", "7d", or a time as 2026-11-21T06:00Z'
        ) from None
    return int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def every(reader: Archives, search: Search, most: int = MAX_FOUND) -> Iterator[Line]:
    """All that match, the newest first, page by page; at most `most`."""
    left = most
    while left > 0:
        page = reader.search(replace(search, limit=min(PAGE, left)))
        yield from page
        left -= len(page)
        if len(page) < PAGE:
            return
        search = replace(search, older_than=page[-1].execution)


def _status(text: str) -> str:
    if text not in _STATUSES:
        raise InputError("OMG-X001", f"{text[:40]!r} is no status (known: {', '.join(_STATUSES)})")
    return text
