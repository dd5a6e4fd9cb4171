"""A conversation with a tool server over streamable HTTP, in both eras of the protocol.

    2026-07-28           every request stands alone; `server/discover` says what there is, `subscriptions/listen` tells of changed lists
    up to 2025-11-25     `initialize` begins a session, its id comes along with every request; a GET stream tells of changed lists

The newer one is tried first: a server that knows only handshakes refuses it, and is then met with one. A warm call is one request on a
connection that is open already. What a server says before its answer (progress, log messages, questions) goes to the client for whom the
call is made (`guests`). A call that runs out of time ends alone: its stream is closed, which tells the server to stop, and others go on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Final

from omega.adapters.mcp.company import Company
from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.guests import Guest
from omega.adapters.mcp.http import Answer, HttpFault, Pool
from omega.adapters.mcp.limits import LAST_WORDS, Limits, quote
from omega.adapters.mcp.messages import Lost, Refused, an_object, described, messages, read_message, read_result
from omega.adapters.mcp.obtaining import Tokens
from omega.adapters.mcp.watching import Watching
from omega.kernel.errors import UpstreamError
from omega.wire.jsonrpc import METHOD_NOT_FOUND, request
from omega.wire.mcp.eras import HANDSHAKE, LEVELS, MODERN, UNSUPPORTED_VERSION
from omega.wire.mcp.headers import NAMED, argument_headers, encode_header, unsound
from omega.wire.sse import Reader

NEWEST: Final = MODERN[0]
SERVER_ERRORS: Final = range(500, 600)
_META: Final = "io.modelcontextprotocol/"
_INFO: Final = {"name": "omega", "version": "1"}
_CHANGED: Final = {f"notifications/{kind}/list_changed": kind for kind in ("tools", "prompts", "resources")}
_UPDATED: Final = "notifications/resources/updated"

RETRY_S: Final = 1.0
"""How long a stream that broke off is left alone before it is asked for again, where the server said nothing, in seconds."""

LEAST_RETRY_S: Final = 0.01
"""The shortest time between two such requests, in seconds, whatever the server says."""


class HttpSession:
    """A conversation with the server `name` at `url`. `secrets` never show in its errors."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        limits: Limits,
        secrets: tuple[str, ...],
        *,
        older: bool = False,
        tokens: Tokens | None = None,
    ) -> None:
        """With `tokens` a refusal for want of one leads to another try with it."""
        self.name = name
        self.tools: dict[str, ToolDescription] = {}
        self.capabilities: Mapping[str, Any] = {}
        self.version = HANDSHAKE[0] if older else NEWEST
        self._limits, self._secrets, self._tokens = limits, secrets, tokens
        self._pool = _pool(name, url, headers, limits)
        self._id = ""
        self._ids = count(1)
        self._over = False
        self._cause = ""
        self._listed_at = 0.0
        self._announced = self._listed_after = 0
        self._refreshing = asyncio.Lock()
        self._watching = Watching(self._pool, limits.message_bytes, self._opening, self._told, self._missed)
        self._level = "info"
        self._company = Company()
        self._hearing: set[asyncio.Task[None]] = set()
        self._tell: list[Callable[[HttpSession], None]] = []
        self._told_of: Callable[[Iterable[str]], None] = _nobody_asks
        self._updated: Callable[[Iterable[str]], None] = _nobody_asks

    @property
    def over(self) -> bool:
        """Whether the conversation has ended, so that a new one is needed."""
        return self._over

    def when_over(self, tell: Callable[[HttpSession], None]) -> None:
        """Have `tell` called with this session once it is closed."""
        self._tell.append(tell)

    def when_changed(self, tell: Callable[[Iterable[str]], None]) -> None:
        """Have `tell` called with the kinds of list (`tools`, `prompts`, `resources`) that the server says have changed."""
        self._told_of = tell

    def when_updated(self, tell: Callable[[Iterable[str]], None]) -> None:
        """Have `tell` called with the resources among those watched here that may have changed."""
        self._updated = tell

    async def start(self, timeout_s: float) -> None:
        """Agree on a revision, list the tools. Raises UpstreamError OMG-M001 (cannot be reached), M003 (hangs), M006 (lists nonsense)."""
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._meet()
                if "tools" in self.capabilities:
                    await self._list()
        except TimeoutError as error:
            await self.close()
            raise self._late("did not start", timeout_s) from error
        except (HttpFault, Lost, Refused) as error:
            await self.close()
            raise UpstreamError(
                "OMG-M001", f"{self.name} cannot be started: {self.quote(str(error))}", details={"server": self.name}
            ) from error
        except UpstreamError:
            await self.close()
            raise
        if self.version != NEWEST:
            self._watching.begin()
            await self._watching.begun()
        elif self._listed():
            self._watching.begin()

    async def refresh(self, timeout_s: float) -> None:
        """List the tools again if the server announced a change or the list is old."""
        if self._announced == self._listed_after and time.monotonic() - self._listed_at <= self._limits.recheck_s:
            return
        async with self._refreshing:
            if self._announced > self._listed_after or time.monotonic() - self._listed_at > self._limits.recheck_s:
                await self._guarded(self._list(), timeout_s, "its list of tools")

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        meta: Mapping[str, str],
        timeout_s: float,
        *,
        more: Mapping[str, Any],
        guest: Guest | None,
    ) -> dict[str, Any]:
        """Call `tool`; gives the result as it came. Raises what `ask` raises."""
        params = {"name": tool, "arguments": dict(arguments), **more, "_meta": dict(meta)}
        pinned = self.tools.get(tool)
        extra = argument_headers(pinned.marks, arguments) if pinned is not None and self.version == NEWEST else {}
        return await self.ask("tools/call", params, timeout_s, guest=guest, headers=extra, what=f"the call of {tool}")

    async def ask(
        self,
        method: str,
        params: dict[str, Any],
        timeout_s: float,
        *,
        guest: Guest | None = None,
        headers: Mapping[str, str] | None = None,
        what: str = "",
    ) -> dict[str, Any]:
        """One request to its result.

        Raises UpstreamError: OMG-M002 (went away), OMG-M003 (hangs), OMG-M006 (no result by the protocol), OMG-M007 (refused).
        """
        result: dict[str, Any] = await self._guarded(self._request(method, params, guest, headers or {}), timeout_s, what or method)
        return result

    async def close(self, *, hurry: bool = False) -> None:
        """End the conversation. Safe to call again."""
        self._over = True
        for task in (*self._hearing,):
            task.cancel()
        await self._watching.close()
        if self._id and not hurry:
            with suppress(HttpFault, TimeoutError):
                async with asyncio.timeout(self._limits.exit_s):
                    self._pool.drop(await self._pool.ask("DELETE", b"", self._own_headers("", {})))
            self._id = ""
        self._pool.close()
        for tell in self._tell:
            tell(self)
        self._tell.clear()

    def quote(self, text: str, limit: int = LAST_WORDS) -> str:
        """The end of the server's own words, without the secrets it was given."""
        return quote(text, self._secrets, limit=limit)

    # -- meeting

    async def _meet(self) -> None:
        if self.version != NEWEST:
            try:
                await self._shake_hands()
                return
            except Refused as refusal:
                if refusal.status in SERVER_ERRORS or refusal.status in (401, 403):
                    raise
            self.version = NEWEST  # it knows no handshake
        try:
            found = await self._discover()
        except Refused as refusal:
            if refusal.status in SERVER_ERRORS or refusal.status in (401, 403):
                raise
            await self._shake_hands()
            return
        versions = found.get("supportedVersions")
        if isinstance(versions, list) and NEWEST in versions:
            self.capabilities = an_object(found.get("capabilities"))
            return
        await self._shake_hands()

    async def _discover(self) -> dict[str, Any]:
        """What the server says of itself. One that refuses the revision and lists it all the same is asked once more."""
        try:
            return await self._request("server/discover", {}, None, {})
        except Refused as refusal:
            supported = an_object(refusal.data).get("supported")
            if refusal.code != UNSUPPORTED_VERSION or not isinstance(supported, list) or NEWEST not in supported:
                raise
            return await self._request("server/discover", {}, None, {})

    async def _shake_hands(self) -> None:
        self.version = HANDSHAKE[0]
        capabilities: dict[str, Any] = {"sampling": {}, "elicitation": {}, "roots": {}}
        wanted = {"protocolVersion": HANDSHAKE[0], "capabilities": capabilities, "clientInfo": _INFO}
        found = await self._request("initialize", wanted, None, {})
        version = found.get("protocolVersion")
        if version not in HANDSHAKE:
            raise Lost(f"it speaks revision {str(version)[:40]!r}, which is not spoken here")
        self.version = str(version)
        self.capabilities = an_object(found.get("capabilities"))
        await self._notify("notifications/initialized", {})

    # -- one request

    async def _guarded(self, asking: Any, timeout_s: float, what: str) -> Any:
        """The outcome of `asking` in the errors that callers know."""
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                return await asking
        except TimeoutError as error:
            raise self._late(f"did not answer {what}", timeout_s) from error
        except Refused as refusal:
            words = self.quote(refusal.message)
            details: dict[str, Any] = {"server": self.name, "error_code": refusal.code, "message": words}
            if isinstance(refusal.data, dict) and len(json.dumps(refusal.data)) <= 4_096:
                details["data"] = refusal.data
            raise UpstreamError("OMG-M007", f"{self.name} refused {what}: {words}", details=details) from refusal
        except (HttpFault, Lost) as error:
            self._end(str(error))
            raise UpstreamError(
                "OMG-M002",
                f"{self.name} went away during {what}: {self.quote(str(error))}",
                details={"server": self.name, **({} if error.sent else {"unsent": True})},
            ) from error

    async def _request(self, method: str, params: dict[str, Any], guest: Guest | None, headers: Mapping[str, str]) -> dict[str, Any]:
        if self._over:
            raise Lost(self._cause or "the conversation is over", sent=False)
        if guest is not None and guest.log_level and self.version != NEWEST:
            await self._log_from(guest.log_level)
        number = next(self._ids)
        with self._company.joined(number, guest):
            return await self._exchanged(number, method, params, guest, headers)

    async def _exchanged(
        self, number: int, method: str, params: dict[str, Any], guest: Guest | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        params = self._completed(params, number, guest)
        body = request(number, method, params)
        answer = await self._posted(body, {**self._own_headers(method, params), **headers})
        session = answer.headers.get("mcp-session-id", "")
        if method == "initialize":
            self._id = session
        if answer.status == 200 and answer.kind == "text/event-stream":
            return await self._from_stream(answer, number, guest)
        text = await self._pool.whole(answer)
        if answer.status == 404 and self._id:
            raise Lost("it has forgotten the session", sent=False)
        return read_result(read_message(text, answer.status), number, answer.status)

    async def _posted(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer to a request, sent again with a token where it was refused for want of one."""
        rounds = 0
        while True:
            shown = {} if self._tokens is None else self._tokens.headers
            answer = await self._pool.ask("POST", body, {**headers, **shown})
            if self._tokens is None or answer.status not in (401, 403):
                return answer
            if not await self._tokens.answer(answer.status, answer.headers.get("www-authenticate", ""), rounds):
                return answer
            self._pool.drop(answer)
            rounds += 1

    async def _from_stream(self, answer: Answer, number: int, guest: Guest | None) -> dict[str, Any]:
        """The result at the end of a stream. One of the older era that breaks off is asked for again, from the last event that came."""
        last_id, retry_ms = "", None
        while True:
            reader = Reader(self._limits.message_bytes)
            found = await self._answer_in(answer, reader, number, guest)
            if found is not None:
                return read_result(found, number, 200)
            last_id, retry_ms = reader.last_id or last_id, retry_ms if reader.retry_ms is None else reader.retry_ms
            if not last_id or self.version == NEWEST:
                raise Lost("the stream ended before the answer")
            await asyncio.sleep(RETRY_S if retry_ms is None else max(retry_ms / 1_000, LEAST_RETRY_S))
            answer = await self._pool.ask("GET", b"", self._own_headers("", {}) | {"Accept": "text/event-stream", "Last-Event-ID": last_id})
            if answer.status != 200 or answer.kind != "text/event-stream":
                self._pool.drop(answer)
                raise Lost("it closed the stream before the answer, and does not go on with it")

    async def _log_from(self, level: str) -> None:
        """Have the server send log messages from `level` on. Clients share the conversation: each is told what it wants of them."""
        if "logging" in self.capabilities and level in LEVELS and LEVELS.index(level) < LEVELS.index(self._level):
            self._level = level
            await self._request("logging/setLevel", {"level": level}, None, {})

    async def _answer_in(self, answer: Answer, reader: Reader, number: int, guest: Guest | None) -> dict[str, Any] | None:
        """The answer to request `number` on a stream; None for one that ended without it and can be asked for again."""
        pieces = self._pool.pieces(answer)
        try:
            async for message in messages(pieces, reader):
                if message.get("id") == number and "method" not in message:
                    return message
                await self._heard(message, guest)
        except HttpFault:
            if not reader.last_id:
                raise
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
        return None

    def _completed(self, params: dict[str, Any], number: int, guest: Guest | None) -> dict[str, Any]:
        meta = dict(params.get("_meta") or {})
        if self.version == NEWEST:
            meta[f"{_META}protocolVersion"] = NEWEST
            meta[f"{_META}clientInfo"] = _INFO
            meta[f"{_META}clientCapabilities"] = dict(guest.capabilities) if guest is not None else {}
            if guest is not None and guest.log_level:
                meta[f"{_META}logLevel"] = guest.log_level
        if guest is not None and guest.wants_progress:
            meta["progressToken"] = number
        return params | {"_meta": meta} if meta else params

    def _own_headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if method != "initialize":
            headers["MCP-Protocol-Version"] = self.version
        if self._id:
            headers["Mcp-Session-Id"] = self._id
        if self._tokens is not None:
            headers |= self._tokens.headers
        if self.version == NEWEST and method:
            headers["Mcp-Method"] = method
            if method in NAMED:
                headers["Mcp-Name"] = encode_header(str(params.get(NAMED[method], "")))
        return headers

    async def _notify(self, method: str, params: Mapping[str, Any]) -> None:
        await self._post({"jsonrpc": "2.0", "method": method, "params": dict(params)})

    async def _post(self, message: Mapping[str, Any]) -> None:
        """Send what is owed no answer."""
        headers = self._own_headers(str(message.get("method", "")), {})
        answer = await self._posted(json.dumps(message).encode(), headers)
        if answer.kind == "text/event-stream":
            self._pool.drop(answer)
        else:
            await self._pool.whole(answer)

    # -- what the server says by itself

    async def _heard(self, message: Mapping[str, Any], guest: Guest | None) -> None:
        method, params = message.get("method"), an_object(message.get("params"))
        if not isinstance(method, str):
            return
        if "id" in message:
            await self._asked(message["id"], method, params, guest)
        elif method in _CHANGED:
            self._changed(_CHANGED[method])
        elif guest is not None and method in ("notifications/progress", "notifications/message"):
            await guest.tell(method, params)

    async def _asked(self, id: Any, method: str, params: Mapping[str, Any], guest: Guest | None) -> None:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": id}
        if method == "ping":
            answer["result"] = {}
        elif guest is None:
            answer["error"] = {"code": METHOD_NOT_FOUND, "message": "nobody is there to be asked"}
        else:
            try:
                answer["result"] = dict(await guest.ask(method, params))
            except LookupError as error:
                answer["error"] = {"code": METHOD_NOT_FOUND, "message": str(error.args[0]) if error.args else "the client cannot be asked"}
        await self._post(answer)

    def _listed(self) -> list[str]:
        """The kinds of list whose changes the server tells of."""
        return [kind for kind in _CHANGED.values() if an_object(self.capabilities.get(kind)).get("listChanged")]

    def _opening(self) -> tuple[str, bytes, Mapping[str, str]]:
        if self.version != NEWEST:
            return "GET", b"", self._own_headers("", {}) | {"Accept": "text/event-stream"}
        wanted: dict[str, Any] = {f"{kind}ListChanged": True for kind in self._listed()}
        if self._watching.uris:
            wanted["resourceSubscriptions"] = sorted(self._watching.uris)
        params = self._completed({"notifications": wanted}, 0, None)
        method = "subscriptions/listen"
        return "POST", request(f"listen-{next(self._ids)}", method, params), self._own_headers(method, params)

    def _told(self, message: Mapping[str, Any]) -> None:
        """A message on the stream."""
        method, params = message.get("method"), an_object(message.get("params"))
        if method in _CHANGED:
            self._changed(_CHANGED[method])
        elif method == _UPDATED:
            uri = str(params.get("uri", ""))
            self._updated([each for each in self._watching.uris if uri.startswith(each)])
        elif self.version != NEWEST:
            task = asyncio.create_task(self._heard_aside(message, self._company.meant(params)))
            self._hearing.add(task)
            task.add_done_callback(self._hearing.discard)

    async def _heard_aside(self, message: Mapping[str, Any], guest: Guest | None) -> None:
        with suppress(HttpFault, Lost, TimeoutError):  # the answer does not reach the server: its call ends as it may
            await self._heard(message, guest)

    def _missed(self) -> None:
        """The stream was away for a while: everything may have changed."""
        for kind in self._listed():
            self._changed(kind)
        self._updated(list(self._watching.uris))

    async def watch(self, uri: str, timeout_s: float) -> None:
        """Be told of changes of the resource `uri` (`when_updated`) from now on. Raises what `ask` raises."""
        if self.version != NEWEST:
            await self.ask("resources/subscribe", {"uri": uri}, timeout_s)
        self._watching.uris.add(uri)
        if self.version == NEWEST:
            await self._watching.renew()
        else:
            self._watching.begin()

    async def unwatch(self, uri: str, timeout_s: float) -> None:
        """Be told no more. Raises what `ask` raises."""
        self._watching.uris.discard(uri)
        if self.version != NEWEST:
            await self.ask("resources/unsubscribe", {"uri": uri}, timeout_s)

    def _changed(self, kind: str) -> None:
        self._announced += kind == "tools"
        self._told_of([kind])

    # -- the list of tools

    async def _list(self) -> None:
        announced = self._announced  # a change announced while the list is on its way counts for the next one
        tools: dict[str, ToolDescription] = {}
        cursor: Any = None
        for _ in range(self._limits.pages):
            page = await self._request("tools/list", {} if cursor is None else {"cursor": cursor}, None, {})
            offered = page.get("tools")
            if not isinstance(offered, list):
                raise self._nonsense("answers tools/list without tools")
            for each in offered:
                tool = described(self.name, each)
                if self.version == NEWEST and unsound(tool.input_schema):
                    continue  # nobody could tell what its headers should say, so nobody may call it (SEP-2243)
                if tool.name in tools or len(tools) >= self._limits.tools:
                    reason = "twice" if tool.name in tools else f"beyond the limit of {self._limits.tools} tools"
                    raise self._nonsense(f"lists {tool.name[:80]!r} {reason}")
                tools[tool.name] = tool
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str):
                self.tools, self._listed_at, self._listed_after = tools, time.monotonic(), announced
                return
        raise self._nonsense(f"lists its tools in more than {self._limits.pages} pages")

    def _nonsense(self, what: str) -> UpstreamError:
        return UpstreamError("OMG-M006", f"{self.name} {what}", details={"server": self.name})

    def _late(self, what: str, timeout_s: float) -> UpstreamError:
        details = {"server": self.name, "timeout_s": round(timeout_s, 3)}
        return UpstreamError("OMG-M003", f"{self.name} {what} within {timeout_s:.3g} s", details=details)

    def _end(self, cause: str) -> None:
        self._over, self._cause = True, self._cause or cause


def _nobody_asks(kinds: Iterable[str]) -> None:
    """Nobody wants to know of changes."""


def _pool(name: str, url: str, headers: Mapping[str, str], limits: Limits) -> Pool:
    try:
        return Pool(url, headers, limits.message_bytes)
    except HttpFault as error:
        raise UpstreamError("OMG-M001", f"{name} cannot be started: {error}", details={"server": name}) from error
