"""The entrance `/api`: which operation a path and a method name, and who may go in.

Who is calling is asked before anything else is said, so a stranger learns nothing, not even which operations there are. Only the
description of the interface is for everybody: it says what is installed, and nothing of anybody's data.

    /api/v1/{service}/{method}             POST; reads of flat inputs GET too
    /api/v1/services, /flows, /tools       what there is
    /api/v1/servers                        how the tool servers are, for operators
    /api/v1/flows/{name}/run               a flow that the operator put up
    /api/v1/tools/{server}/{tool}/call     a tool of an accepted server
    /api/v1/modules/{name}/execute         a service's method, or a flow, by one name
    /api/v1/executions/...                 `omega.gateway.http.executions`
    /api/v1/openapi.json, /api/docs        the description, for programs and for people
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from omega.gateway.front.core import AsgiScope, Core, Mounted, Receive, Send
from omega.gateway.front.door import LEAVING
from omega.gateway.front.request import Arrival, arrival_of, read_json_body, reply_json
from omega.gateway.front.turns import Turns
from omega.gateway.http import executions, pages
from omega.gateway.http.calls import FRESH, Asked, Wanted, run
from omega.gateway.http.openapi import document, reads
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import InputError
from omega.kernel.service import Offer
from omega.kernel.types import check_schema

PREFIX = "/api"
HTTP = "http"
"""The name of this entrance in `Method.entrances`."""

Handler = Callable[[Asked], Awaitable[None]]
Routes = Mapping[str, Handler]
"""What a path takes, by method."""


def entrance(core: Core) -> Mounted:
    """The entrance on `core`."""
    return Mounted(PREFIX, Api(core))


class Api:
    """The ASGI application below `/api`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._turns = Turns()
        self._open: Mapping[str, Callable[[Send, Arrival], Awaitable[None]]] = {
            "docs": self._guide,
            "docs/errors": pages.errors,
            "v1/openapi.json": self._described,
        }

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what is refused: the door tells it."""
        if scope["type"] != "http":
            raise InputError("OMG-G003", "there is no WebSocket at this address")
        arrival = arrival_of(scope)
        path = arrival.path.removeprefix(PREFIX).strip("/")
        shown = self._open.get(path)
        if shown is not None:
            if arrival.method != "GET":
                raise _not_allowed(["GET"])
            await shown(send, arrival)
            return
        core = self._core
        visitor = core.visitor(arrival.headers, method=scope["method"], url=arrival.url, address=arrival.address, peer=arrival.peer)
        routes = self._routes(path.split("/"))
        handler = routes.get(arrival.method)
        if handler is None:
            raise _not_allowed(list(routes))
        await handler(Asked(core, arrival, receive, send, visitor, self._turns, scope.get(LEAVING) or asyncio.Event()))

    async def _described(self, send: Send, arrival: Arrival) -> None:
        await reply_json(send, document(self._core.offers(), base=arrival.base), headers=[(b"cache-control", b"public, max-age=60")])

    async def _guide(self, send: Send, arrival: Arrival) -> None:
        await pages.guide(send, document(self._core.offers(), base=arrival.base))

    def _routes(self, parts: Sequence[str]) -> Routes:
        """What a path takes. Raises InputError (OMG-G002) for one that is nothing."""
        match parts:
            case ["v1", word] if word in _LISTS:
                return {"GET": _LISTS[word]}
            case ["v1", "tools", server, tool, "call"]:
                return {"POST": lambda asked: _call_tool(asked, f"{server}/{tool}")}
            case ["v1", "flows", *name, "run"] if name:
                return {"POST": lambda asked: _run_flow(asked, "/".join(name))}
            case ["v1", "modules", name, "execute"]:
                return {"POST": lambda asked: _execute(asked, name)}
            case ["v1", "executions", *rest]:
                return _of_executions(rest)
            case ["v1", service, method]:
                return self._of_method(service, method)
        raise _nothing()

    def _of_method(self, service: str, name: str) -> Routes:
        offer = next((each for each in self._core.offers() if (each.service, each.name) == (service, name)), None)
        if offer is None or HTTP not in offer.method.entrances:
            raise _nothing()
        routes: dict[str, Handler] = {"POST": lambda asked: _call_method(asked, offer)}
        if reads(offer):
            routes["GET"] = lambda asked: _read_method(asked, offer)
        return routes


def _of_executions(rest: Sequence[str]) -> Routes:
    match rest:
        case []:
            return {"GET": executions.find}
        case [execution]:
            return {"GET": lambda asked: executions.show(asked, execution)}
        case [execution, "outcome"]:
            return {"GET": lambda asked: executions.outcome(asked, execution)}
        case [execution, "events"]:
            return {"GET": lambda asked: executions.events(asked, execution)}
        case [execution, verb] if verb in executions.DECISIONS:
            return {"POST": lambda asked: executions.decide(asked, execution, verb)}
    raise _nothing()


# -- calling


async def _call_method(asked: Asked, offer: Offer) -> None:
    await _called(asked, offer, await _input(asked))


async def _read_method(asked: Asked, offer: Offer) -> None:
    """The GET form of a read: its input stands in the query, each field as its type says."""
    schema = offer.flow.input.schema()
    given = asked.arrival.parameters(schema.get("properties", {}))
    await _called(asked, offer, {name: _scalar(name, schema["properties"][name], text) for name, text in given.items()})


async def _called(asked: Asked, offer: Offer, value: Any) -> None:
    flow, method = offer.flow, offer.method
    if method.rate is not None:
        asked.turns.take(flow.name, method.rate, asked.visitor.scope, asked.core.now_us())
    check_schema(flow.input.schema(), value)  # what the description says, to the letter: reading alone would take true for 1
    await run(asked, Wanted(flow=flow, input=value, operation=flow.name, cache_s=method.cache_s, keyed=method.keyed))


async def _run_flow(asked: Asked, name: str) -> None:
    served = next((each for each in asked.core.flows(asked.visitor.scope) if each.name == name), None)
    if served is None:
        raise InputError("OMG-I002", f"there is no flow {name[:80]!r} to be run from outside", advice="omega up FLOW puts one up")
    await run(asked, Wanted(flow=served.flow, input=await _input(asked), operation=f"flow {name}", target=served.target))


async def _call_tool(asked: Asked, name: str) -> None:
    flow = next((each for each in asked.core.tools(asked.visitor.scope) if each.name == name), None)
    if flow is None:
        raise InputError("OMG-M005", f"{name[:80]!r} is no tool that anybody has accepted here")
    await run(asked, Wanted(flow=flow, input=await _input(asked), operation=f"tool {name}"))


async def _execute(asked: Asked, name: str) -> None:
    """A module by its name: a service with the `method` in the body, or a flow that was put up, with its `input`."""
    body = await _input(asked)
    if not isinstance(body, dict) or not body.keys() <= {"method", "input"} or not isinstance(body.get("method", ""), str):
        raise InputError("OMG-I001", 'a module is executed with {"method": "...", "input": ...}')
    offered = [each for each in asked.core.offers() if each.service == name and HTTP in each.method.entrances]
    offer = next((each for each in offered if each.name == body.get("method")), None)
    if offer is not None:
        await _called(asked, offer, body.get("input"))
        return
    served = next((each for each in asked.core.flows(asked.visitor.scope) if each.name == name), None)
    if served is None or "method" in body:
        has = f" (it has: {', '.join(each.name for each in offered)})" if offered else ""
        raise InputError("OMG-I002", f"there is no such module or method: {name[:80]!r}{has}", advice="GET /api/v1/services lists them")
    await run(asked, Wanted(flow=served.flow, input=body.get("input"), operation=f"flow {name}", target=served.target))


async def _input(asked: Asked) -> Any:
    return await read_json_body(asked.receive, asked.arrival)


def _scalar(name: str, schema: Mapping[str, Any], text: str) -> Any:
    """The value of a parameter as its type says. What does not parse is left as it came: the type refuses it with its path."""
    kind = schema.get("type")
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    try:
        if kind == "integer" and len(text) < 20:
            return int(text) if text.isascii() and text.lstrip("-").isdigit() else text
        return float(text) if kind == "number" and len(text) < 400 and "_" not in text else text
    except ValueError:
        return text


# -- what there is


async def _me(asked: Asked) -> None:
    asked.arrival.parameters(())
    scope = asked.visitor.scope
    told = {
        "tenant": scope.tenant,
        "principal": scope.principal,
        "actors": list(scope.actors),
        "groups": sorted(scope.groups),
        "capabilities": sorted(scope.capabilities),
        "expires": executions.moment(scope.expires_at * 1_000_000),
    }
    await reply_json(asked.send, told, headers=[FRESH])


async def _services(asked: Asked) -> None:
    asked.arrival.parameters(())
    found: dict[str, list[dict[str, Any]]] = {}
    for offer in asked.core.offers():
        if HTTP in offer.method.entrances:
            found.setdefault(offer.service, []).append({"name": offer.name, "summary": offer.summary, **_of_flow(offer.flow)})
    await reply_json(asked.send, {"services": [{"name": name, "methods": each} for name, each in found.items()]}, headers=[FRESH])


async def _flows(asked: Asked) -> None:
    asked.arrival.parameters(())
    found = [{"name": each.name, **_of_flow(each.flow)} for each in asked.core.flows(asked.visitor.scope)]
    await reply_json(asked.send, {"flows": found}, headers=[FRESH])


async def _tools(asked: Asked) -> None:
    asked.arrival.parameters(())
    found = [{"name": flow.name, "summary": flow.description[:500], **_of_flow(flow)} for flow in asked.core.tools(asked.visitor.scope)]
    await reply_json(asked.send, {"tools": found}, headers=[FRESH])


async def _servers(asked: Asked) -> None:
    asked.arrival.parameters(())
    await reply_json(asked.send, {"servers": list(asked.core.servers(asked.visitor.scope))}, headers=[FRESH])


_LISTS: Routes = {"me": _me, "services": _services, "flows": _flows, "tools": _tools, "servers": _servers}


def _of_flow(flow: AnyFlow) -> dict[str, Any]:
    return {"version": flow.version, "effect": flow.effect.value, "needs": sorted(flow.needs), "input": flow.input.schema()}


def _nothing() -> InputError:
    return InputError("OMG-G002", "there is no such operation")


def _not_allowed(methods: Sequence[str]) -> InputError:
    return InputError("OMG-G003", f"this address takes {' and '.join(methods)}", details={"allow": list(methods)})
