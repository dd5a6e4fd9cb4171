"""A tool server of everything that the protocol has, in both eras and in this process: what the public conformance suite runs against.

    async with everything() as (server, url): ...

It is raw ASGI and keeps sessions, as a server of the older era does: questions in the middle of a call, a standing stream for notices,
streams that are closed before the answer and asked for again. Of the gateway it
has the listener, and the codecs of `omega.wire`; nothing else.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from omega.gateway.front.server import Listener, Place
from omega.wire.jsonrpc import ProtocolFault
from omega.wire.mcp.eras import HANDSHAKE, LOG_LEVEL_KEY, MODERN, VERSION_KEY, era_of, negotiated
from omega.wire.mcp.headers import check_arguments_in_headers, check_routing, marked
from servers.everything_call import LEVELS, Call, Fault, Unanswered, sealed, text
from servers.everything_content import PROMPTS, TOOLS, Tool, contents, prompts, resources, templates
from servers.everything_tasks import EXTENSION, JOBS, METHODS, Tasks

INFO = {"name": "everything", "version": "1.0.0"}
RETRY_MS = 30
"""After how many milliseconds a client that lost its stream should ask again."""

STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
LISTED = {"tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read", "server/discover"}
CHANGED = {"toolsListChanged": "tools", "promptsListChanged": "prompts", "resourcesListChanged": "resources"}


@dataclass
class Session:
    """A conversation of the older era."""

    version: str
    client: Mapping[str, Any]
    level: str = "info"
    watched: set[str] = field(default_factory=set)
    notices: list[asyncio.Queue[dict[str, Any]]] = field(default_factory=list)
    questions: dict[Any, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    later: dict[str, asyncio.Task[dict[str, Any]]] = field(default_factory=dict)


@dataclass
class Listening:
    """An open `subscriptions/listen` of the newer era."""

    id: Any
    wanted: Mapping[str, Any]
    notices: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)


class Reply:
    """The answer to one request: a body, or a stream once something is said before it."""

    def __init__(self, send: Any) -> None:
        self._send, self.open = send, False

    async def event(self, message: Any, *, id: str = "", retry_ms: int = 0) -> None:
        """One message (None: an event without one) on the stream."""
        if not self.open:
            self.open = True
            await self._send({"type": "http.response.start", "status": 200, "headers": STREAM})
        lines = [f"id: {id}"] * bool(id) + [f"retry: {retry_ms}"] * bool(retry_ms)
        data = "" if message is None else json.dumps(message)
        await self._send({"type": "http.response.body", "body": "\n".join([*lines, f"data: {data}", "", ""]).encode(), "more_body": True})

    async def end(self) -> None:
        """Close the stream."""
        await self._send({"type": "http.response.body", "body": b""})

    async def answer(self, message: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """The answer; None for one without a body."""
        if self.open:
            await self.event(message)
            await self.end()
            return
        body = b"" if message is None else json.dumps(message).encode()
        given = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        lines = [(name.encode(), value.encode()) for name, value in given.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": lines})
        await self._send({"type": "http.response.body", "body": body})


class Everything:
    """The server. `requests` are the methods and parameters as they came; `tools` are those that are there now."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.tools: dict[str, Tool] = dict(TOOLS)
        self.sessions: dict[str, Session] = {}
        self.listening: list[Listening] = []
        self.closing = asyncio.Event()
        self.tasks = Tasks()
        for name, kind in (("test_trigger_tool_change", "tools"), ("test_trigger_prompt_change", "prompts")):
            self._add(name, f"Announces that the list of {kind} changed.", lambda call, kind=kind: self._trigger(kind))
        self._add("test_touch_resource", "Announces that the watched resource changed.", self._touch)

    def count(self, method: str) -> int:
        """How many requests of `method` came."""
        return sum(each[0] == method for each in self.requests)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reply, method = Reply(send), scope["method"]
        if not _at_home(headers):
            await reply.answer({"error": "foreign"}, 403)
        elif method == "GET":
            await self._standing(headers, reply, receive)
        elif method == "DELETE":
            known = self.sessions.pop(headers.get("mcp-session-id", ""), None)
            await reply.answer(None, 204 if known else 404)
        else:
            await self._post(headers, reply, receive)

    async def _post(self, headers: dict[str, str], reply: Reply, receive: Any) -> None:
        message = json.loads(await _body(receive))
        params = message.get("params") or {}
        self.requests.append((message.get("method", ""), params))
        version = headers.get("mcp-protocol-version", "")
        if version not in HANDSHAKE if version else VERSION_KEY in (params.get("_meta") or {}):
            await self._newer(message, params, headers, reply, receive)
        else:
            await self._older(message, params, headers, reply)

    # -- the newer era

    async def _newer(self, message: dict[str, Any], params: dict[str, Any], headers: dict[str, str], reply: Reply, receive: Any) -> None:
        id, method = message.get("id"), message["method"]
        if id is None:
            await reply.answer(None, 202)
            return
        try:
            era = era_of(params, headers.get("mcp-protocol-version", ""))
            check_routing(method, params, headers)
            if method == "subscriptions/listen":
                await self._listen(id, params, reply, receive)
                return
            level = params["_meta"].get(LOG_LEVEL_KEY, "")
            call = Call(params, True, era.capabilities, level, lambda name, given: reply.event(_notice(name, given)), _nobody)
            if method == "tools/call" and params.get("name") in self.tools:
                marks = marked(self.tools[params["name"]].listed["inputSchema"])
                check_arguments_in_headers(marks, call.arguments, headers)
            result = await self._newer_result(method, call)
        except ProtocolFault as fault:
            await reply.answer(_error(id, fault.code, str(fault), fault.data), 400)
        except Fault as fault:
            await reply.answer(_error(id, fault.code, str(fault), fault.data), fault.status)
        else:
            meta = {"io.modelcontextprotocol/serverInfo": INFO}
            await reply.answer({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete", "_meta": meta, **result}})

    async def _newer_result(self, method: str, call: Call) -> dict[str, Any]:
        kept = {"ttlMs": 1_000, "cacheScope": "private"} if method in LISTED else {}
        if method == "server/discover":
            offered = {"listChanged": True}
            capabilities: dict[str, Any] = {"tools": offered, "prompts": offered, "resources": {**offered, "subscribe": True}}
            capabilities |= {"completions": {}, "extensions": {EXTENSION: {}}}
            return {"supportedVersions": [*MODERN, *HANDSHAKE], "capabilities": capabilities, **kept}
        if method in METHODS:
            return await self.tasks.answer(method, call)
        try:
            return {**await self._result(method, call), **kept}
        except Unanswered as open_ones:
            state = {"requestState": sealed(open_ones.answered)}
            return {"resultType": "input_required", "inputRequests": open_ones.questions, **state}

    async def _listen(self, id: Any, params: dict[str, Any], reply: Reply, receive: Any) -> None:
        wanted = {
            name: each for name, each in params.get("notifications", {}).items() if each and name in (*CHANGED, "resourceSubscriptions")
        }
        listening = Listening(id, wanted)
        self.listening.append(listening)
        meta = {"io.modelcontextprotocol/subscriptionId": id}
        await reply.event(_notice("notifications/subscriptions/acknowledged", {"notifications": wanted, "_meta": meta}))
        try:
            await self._tell(listening.notices, reply, receive)
        finally:
            self.listening.remove(listening)

    # -- the older era

    async def _older(self, message: dict[str, Any], params: dict[str, Any], headers: dict[str, str], reply: Reply) -> None:
        id, method = message.get("id"), message.get("method")
        if method == "initialize":
            await self._shake_hands(id, params, reply)
            return
        session = self.sessions.get(headers.get("mcp-session-id", ""))
        if session is None:
            await reply.answer(_error(id, -32600, "no such session", None), 404 if "mcp-session-id" in headers else 400)
        elif method is None:
            self._heard(session, message)
            await reply.answer(None, 202)
        elif id is None:
            await reply.answer(None, 202)
        else:
            await self._older_answer(session, message, params, reply)

    async def _shake_hands(self, id: Any, params: dict[str, Any], reply: Reply) -> None:
        session = Session(negotiated(params.get("protocolVersion")), params.get("capabilities", {}))
        name = secrets.token_hex(8)
        self.sessions[name] = session
        offered = {"listChanged": True}
        capabilities = {
            "tools": offered,
            "prompts": offered,
            "resources": {**offered, "subscribe": True},
            "completions": {},
            "logging": {},
        }
        result = {"protocolVersion": session.version, "capabilities": capabilities, "serverInfo": INFO}
        await reply.answer({"jsonrpc": "2.0", "id": id, "result": result}, headers={"mcp-session-id": name})

    async def _older_answer(self, session: Session, message: dict[str, Any], params: dict[str, Any], reply: Reply) -> None:
        async def put(method: str, given: dict[str, Any]) -> dict[str, Any]:
            number = secrets.token_hex(4)
            future = session.questions[number] = asyncio.get_running_loop().create_future()
            await reply.event({"jsonrpc": "2.0", "id": number, "method": method, "params": given})
            return await future

        async def say(method: str, given: dict[str, Any]) -> None:
            await reply.event(_notice(method, given))

        call = Call(params, False, session.client, session.level, say, put)
        working = self._older_message(session, message, call)
        tool = self.tools.get(params.get("name", "")) if message["method"] == "tools/call" else None
        if tool is None or not tool.dropped:
            await reply.answer(await working)
            return
        place = secrets.token_hex(4)
        session.later[place] = asyncio.create_task(working)
        await reply.event(None, id=place, retry_ms=RETRY_MS)
        await reply.end()

    async def _older_message(self, session: Session, message: dict[str, Any], call: Call) -> dict[str, Any]:
        try:
            result = await self._older_result(session, message["method"], call)
        except Fault as fault:
            return _error(message["id"], fault.code, str(fault), fault.data)
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}

    async def _older_result(self, session: Session, method: str, call: Call) -> dict[str, Any]:
        if method == "logging/setLevel" and call.params.get("level") in LEVELS:
            session.level = call.params["level"]
        elif method == "resources/subscribe":
            session.watched.add(call.params["uri"])
        elif method == "resources/unsubscribe":
            session.watched.discard(call.params["uri"])
        elif method != "ping":
            return await self._result(method, call)
        return {}

    def _heard(self, session: Session, message: dict[str, Any]) -> None:
        future = session.questions.pop(message.get("id"), None)
        if future is not None and not future.done():
            future.set_result(message.get("result") or {"action": "cancel"})

    async def _standing(self, headers: dict[str, str], reply: Reply, receive: Any) -> None:
        """A GET: the rest of a stream that was closed, or the standing one for notices."""
        session = self.sessions.get(headers.get("mcp-session-id", ""))
        if session is None:
            await reply.answer(None, 404)
            return
        later = session.later.pop(headers.get("last-event-id", ""), None)
        if later is not None:
            await reply.event(await later)
            await reply.end()
            return
        notices: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        session.notices.append(notices)
        await reply.event(None, id=secrets.token_hex(4), retry_ms=RETRY_MS)
        try:
            await self._tell(notices, reply, receive)
        finally:
            session.notices.remove(notices)

    # -- both eras

    async def _result(self, method: str, call: Call) -> dict[str, Any]:
        name, uri = str(call.params.get("name", "")), str(call.params.get("uri", ""))
        listed: dict[str, Any] = {
            "tools/list": {"tools": [*(each.listed for each in self.tools.values()), *(job.listed(own) for own, job in JOBS.items())]},
            "prompts/list": {"prompts": prompts()},
            "resources/list": {"resources": resources()},
            "resources/templates/list": {"resourceTemplates": templates()},
        }
        if method in listed:
            return dict(listed[method])
        if method == "tools/call" and name in JOBS:
            return await self.tasks.called(name, call)
        if method == "tools/call" and name in self.tools:
            return await self.tools[name].handler(call)
        if method == "prompts/get" and name in PROMPTS:
            blocks = await PROMPTS[name].handler(call)
            return {"messages": [{"role": "user", "content": block} for block in blocks]}
        if method == "resources/read":
            return {"contents": _contents(uri, call.modern)}
        if method == "completion/complete":
            begun = call.params["argument"]["value"]
            values = [each for each in ("paris", "park", "party") if each.startswith(begun)]
            return {"completion": {"values": values, "total": len(values), "hasMore": False}}
        if method in ("tools/call", "prompts/get"):
            raise Fault(-32602, f"there is no {name}", status=400)
        raise Fault(-32601, f"there is no method {method}", status=404)

    def _add(self, name: str, description: str, handler: Any) -> None:
        self.tools[name] = Tool({"name": name, "description": description, "inputSchema": {"type": "object"}}, handler)

    async def _trigger(self, kind: str) -> dict[str, Any]:
        """Change a list, by one entry that nobody needs, and say so."""
        if kind == "tools" and self.tools.pop("spare", None) is None:
            self._add("spare", "Comes and goes.", TOOLS["test_simple_text"].handler)
        self.announce(kind)
        return text("changed")

    async def _touch(self, call: Call) -> dict[str, Any]:
        self.updated("test://watched-resource")
        return text("touched")

    def announce(self, kind: str) -> None:
        """Tell all who want to know that a list changed."""
        method = f"notifications/{kind}/list_changed"
        for listening in self.listening:
            if any(CHANGED.get(name) == kind for name in listening.wanted):
                listening.notices.put_nowait(_tagged(method, {}, listening))
        for session in self.sessions.values():
            for notices in session.notices:
                notices.put_nowait(_notice(method, {}))

    def updated(self, uri: str) -> None:
        """Tell all who want to know that a resource changed."""
        for listening in self.listening:
            if uri in listening.wanted.get("resourceSubscriptions", ()):
                listening.notices.put_nowait(_tagged("notifications/resources/updated", {"uri": uri}, listening))
        for session in self.sessions.values():
            for notices in session.notices if uri in session.watched else ():
                notices.put_nowait(_notice("notifications/resources/updated", {"uri": uri}))

    async def _tell(self, notices: asyncio.Queue[dict[str, Any]], reply: Reply, receive: Any) -> None:
        """Notices, until the client goes away or the server ends."""
        leaving = [asyncio.create_task(_gone(receive)), asyncio.create_task(self.closing.wait())]
        try:
            while True:
                notice = asyncio.create_task(notices.get())
                await asyncio.wait([notice, *leaving], return_when=asyncio.FIRST_COMPLETED)
                if not notice.done():
                    notice.cancel()
                    break
                await reply.event(notice.result())
        finally:
            for task in leaving:
                task.cancel()
        await reply.end()


def _at_home(headers: Mapping[str, str]) -> bool:
    """Whether a request is meant for this machine (the specification's guard against DNS rebinding)."""
    names = [headers.get("host", "")] + ([headers["origin"].partition("//")[2]] if "origin" in headers else [])
    return all(name.rpartition(":")[0] in ("127.0.0.1", "localhost") for name in names)


def _contents(uri: str, modern: bool) -> list[dict[str, Any]]:
    try:
        return contents(uri)
    except KeyError:
        raise Fault(-32602 if modern else -32002, "there is no such resource", {"uri": uri}, 400) from None


def _notice(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": dict(params)}


def _tagged(method: str, params: Mapping[str, Any], listening: Listening) -> dict[str, Any]:
    return _notice(method, {**params, "_meta": {"io.modelcontextprotocol/subscriptionId": listening.id}})


def _error(id: Any, code: int, message: str, data: Any) -> dict[str, Any]:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "error": error} | ({} if id is None else {"id": id})


async def _nobody(method: str, params: dict[str, Any]) -> dict[str, Any]:
    raise AssertionError("clients of the newer era are asked by a result")


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


@asynccontextmanager
async def everything() -> AsyncIterator[tuple[Everything, str]]:
    """Serve one on a free port of this machine; gives it and its URL."""
    made = Everything()
    listener = Listener(made, Place(host="127.0.0.1", port=0))  # type: ignore[arg-type]
    await listener.start()
    try:
        yield made, f"{listener.url}/mcp"
    finally:
        made.closing.set()
        await made.tasks.close()
        listener.close()
        await listener.stop()
