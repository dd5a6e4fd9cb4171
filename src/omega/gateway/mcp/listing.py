"""Lists and reads: tools from what the caller sees, resources and prompts from the tool servers behind it, as governed reads.

A list of a tool server is asked for once in a while for each caller, not for each request: what one caller got is never shown to another.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from omega.gateway.mcp import finding
from omega.gateway.mcp.asked import MAX_NAME, MAX_URI, Asked, fault_of, passed_on
from omega.gateway.mcp.hall import Source
from omega.kernel.journal import Status
from omega.wire.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, ProtocolFault
from omega.wire.mcp.eras import RESOURCE_NOT_FOUND
from omega.wire.mcp.results import READ_TTL_MS, empty_reason, listing

PAGE: Final = 500
"""Most tools in one answer."""

PAGES: Final = 20
"""Most pages that are asked of one tool server for one list."""

KEPT: Final = 1_000
"""Lists kept at once, the longest unused is dropped first."""

KEPT_S: Final = 30.0
"""How long a list of a tool server is kept for its caller, in seconds, unless the server tells of a change."""

_KINDS: Final = {"resources/list": "resources", "resources/templates/list": "resourceTemplates", "prompts/list": "prompts"}


class Lists:
    """Lists of tool servers, kept for a while for those who asked for them."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[float, int, list[dict[str, Any]]]] = OrderedDict()
        self._monotonic = monotonic

    async def of(self, asked: Asked, source: Source, method: str) -> list[dict[str, Any]]:
        """What a tool server lists for this caller; nothing where it does not know the method. Raises ProtocolFault."""
        scope = asked.visitor.scope
        key = (scope.tenant, scope.principal, scope.actors, scope.capabilities, scope.groups, asked.era.modern, source.server, method)
        changes, now = asked.hall.changes(method.partition("/")[0]), self._monotonic()
        kept = self._kept.get(key)
        if kept is not None and kept[0] > now and kept[1] == changes:
            self._kept.move_to_end(key)
            return kept[2]
        found = await _all(asked, source, method)
        self._kept[key] = (now + KEPT_S, changes, found)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found


async def list_tools(asked: Asked, lists: Lists) -> dict[str, Any]:
    """The tools that the caller sees."""
    tools = [shown.tool for shown in asked.view.tools.values()]
    if tools and asked.view.searchable:
        tools.append(finding.TOOL)
    start = _start(asked.params.get("cursor"), len(tools))
    made = listing("tools", tools[start : start + PAGE], why_empty=asked.view.why_empty)
    return made | {"nextCursor": str(start + PAGE)} if start + PAGE < len(tools) else made


def list_of(method: str) -> Any:
    """The handler of a list of resources, templates or prompts."""
    kind = _KINDS[method]

    async def handle(asked: Asked, lists: Lists) -> dict[str, Any]:
        _start(asked.params.get("cursor"), 1)
        found, failures = await _gathered(asked, lists, method)
        items = [_renamed(item, source) if kind == "prompts" else item for source, listed in found for item in listed]
        reason = "; ".join(failures) or f"no tool server that you see offers {kind}"
        made = listing(kind, items, why_empty=reason)
        return made | {"_meta": empty_reason(reason)} if failures else made

    return handle


async def read_resource(asked: Asked, lists: Lists) -> dict[str, Any]:
    """One resource, from the server that lists it, or whose template its address fits."""
    uri = asked.text("uri", MAX_URI)
    source = await _source_of(asked, lists, uri)
    if source is None:
        raise _no_resource(asked, uri)
    result = await read(asked, source, "resources/read", {key: asked.params[key] for key in asked.params if key != "_meta"})
    return {"ttlMs": READ_TTL_MS, **result, "cacheScope": "private"}


async def get_prompt(asked: Asked, lists: Lists) -> dict[str, Any]:
    """One prompt, filled in by its server."""
    name = asked.text("name", MAX_NAME)
    for source, listed in (await _gathered(asked, lists, "prompts/list"))[0]:
        if any(source.prefix + str(item.get("name")) == name for item in listed):
            params = {key: asked.params[key] for key in asked.params if key != "_meta"}
            return await read(asked, source, "prompts/get", params | {"name": name.removeprefix(source.prefix)})
    raise ProtocolFault(INVALID_PARAMS, f"there is no prompt {name[:80]}", data={"reason": "see prompts/list"})


async def complete(asked: Asked, lists: Lists) -> dict[str, Any]:
    """Suggestions for an argument of a prompt or of a template, from its server."""
    ref = asked.params.get("ref")
    name = ref.get("name") if isinstance(ref, dict) else None
    uri = ref.get("uri") if isinstance(ref, dict) else None
    params = {key: asked.params[key] for key in asked.params if key != "_meta"}
    if isinstance(name, str) and isinstance(ref, dict):
        for source, listed in (await _gathered(asked, lists, "prompts/list"))[0]:
            if any(source.prefix + str(item.get("name")) == name for item in listed):
                return await read(asked, source, "completion/complete", params | {"ref": {**ref, "name": name.removeprefix(source.prefix)}})
        raise ProtocolFault(INVALID_PARAMS, f"there is no prompt {name[:80]}")
    if not isinstance(uri, str):
        raise ProtocolFault(INVALID_PARAMS, "ref names a prompt or the address of a resource")
    found = await _source_of(asked, lists, uri)
    if found is None:
        raise _no_resource(asked, uri)
    return await read(asked, found, "completion/complete", params)


async def source_of(asked: Asked, lists: Lists, uri: str) -> Source:
    """The server that has a resource. Raises ProtocolFault."""
    source = await _source_of(asked, lists, uri)
    if source is None:
        raise _no_resource(asked, uri)
    return source


async def watch(asked: Asked, source: Source, uri: str) -> None:
    """Have the server of a resource tell of its changes. Raises ProtocolFault."""
    await read(asked, source, "resources/subscribe", {"uri": uri})


async def unwatch(asked: Asked, source: Source, uri: str) -> None:
    """The opposite of `watch`. Raises ProtocolFault."""
    await read(asked, source, "resources/unsubscribe", {"uri": uri})


async def _gathered(asked: Asked, lists: Lists, method: str) -> tuple[list[tuple[Source, list[dict[str, Any]]]], list[str]]:
    """What each server lists, and why those that failed did: one that is down does not hide the others."""
    found = await asyncio.gather(*(lists.of(asked, source, method) for source in asked.view.sources), return_exceptions=True)
    listed: list[tuple[Source, list[dict[str, Any]]]] = []
    failures: list[str] = []
    for source, each in zip(asked.view.sources, found, strict=True):
        if isinstance(each, ProtocolFault):
            failures.append(f"{source.server}: {each.message}")
        elif isinstance(each, BaseException):
            raise each
        else:
            listed.append((source, each))
    return listed, failures


async def _all(asked: Asked, source: Source, method: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    params: dict[str, Any] = {}
    for _ in range(PAGES):
        try:
            page = await read(asked, source, method, params)
        except ProtocolFault as fault:
            if fault.code == METHOD_NOT_FOUND:
                return []
            raise
        listed = page.get(_KINDS[method])
        items += [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            return items
        params = {"cursor": cursor}
    return items


async def read(asked: Asked, source: Source, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A read that is passed on. Raises ProtocolFault."""
    outcome = await asked.run(asked.call(asked.hall.reader(source.server, method), dict(params)))
    if outcome.status == Status.DONE and isinstance(outcome.value, dict):
        return dict(outcome.value)
    error = outcome.error or {"cause": f"it is {outcome.status}"}
    raise passed_on(error, asked.era) or fault_of(error)


async def _source_of(asked: Asked, lists: Lists, uri: str) -> Source | None:
    for source, listed in (await _gathered(asked, lists, "resources/list"))[0]:
        if any(item.get("uri") == uri for item in listed):
            return source
    for source, listed in (await _gathered(asked, lists, "resources/templates/list"))[0]:
        if any(_fits(str(item.get("uriTemplate", "")), uri) for item in listed):
            return source
    return None


def _fits(template: str, uri: str) -> bool:
    """Whether `uri` could come from a template (RFC 6570), or is the template itself: its fixed parts must be there, in their order."""
    parts = re.split(r"\{[^{}]*\}", template)
    place = len(parts[0])
    if template == uri:
        return True
    if len(parts) == 1 or not uri.startswith(parts[0]) or not uri.endswith(parts[-1]) or not parts[0]:
        return False
    for part in parts[1:-1]:
        place = uri.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return place <= len(uri) - len(parts[-1])


def _renamed(prompt: Mapping[str, Any], source: Source) -> dict[str, Any]:
    return {**prompt, "name": source.prefix + str(prompt.get("name", ""))}


def _start(cursor: Any, total: int) -> int:
    if cursor is None:
        return 0
    if isinstance(cursor, str) and re.fullmatch(r"[1-9][0-9]{0,8}", cursor) and int(cursor) < total:
        return int(cursor)
    raise ProtocolFault(INVALID_PARAMS, "the cursor is none that was given out here")


def _no_resource(asked: Asked, uri: str) -> ProtocolFault:
    code = INVALID_PARAMS if asked.era.modern else RESOURCE_NOT_FOUND
    return ProtocolFault(code, "there is no such resource", data={"uri": uri})
