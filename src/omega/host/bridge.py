"""MCP over standard input and output, for clients that start their servers: a bridge to the entrance of `omega.gateway.mcp`.

    client  <- lines ->  this process  <- streamable HTTP ->  the installation

Where this installation's engine is at work and answers at the address, the bridge goes there; else it opens the engine itself, on a port
of this machine that nobody else is told. Either way each request is one of the entrance's own, with a passport made for it: nothing is
governed here.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from omega.adapters.mcp.http import Answer, HttpFault, Pool
from omega.host.embedded import Omega
from omega.host.identity import Identity
from omega.host.presence import holder
from omega.host.settings import Settings
from omega.kernel.errors import UpstreamError
from omega.wire.jsonrpc import INTERNAL_ERROR
from omega.wire.mcp.eras import VERSION_KEY
from omega.wire.mcp.headers import NAMED, encode_header
from omega.wire.sse import Reader, TooLarge

ADDRESS: Final = "http://127.0.0.1:9405/mcp"
"""Where `omega up` answers unless it was told otherwise."""

MAX_LINE: Final = 16 << 20
"""Largest message in bytes."""

LOOK_S: Final = 2.0
"""Patience with an installation that may be at work, in seconds."""

Write = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class Bridge:
    """One client's conversation. `passport` makes one for each request; `write` takes one message for the client."""

    pool: Pool
    passport: Callable[[], str]
    write: Write
    _session: str = ""
    _version: str = ""
    _open: dict[Any, asyncio.Task[None]] = field(default_factory=dict)

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Pass on every message until the client closes its side."""
        try:
            async for line in lines:
                message = _message(line)
                if message is not None:
                    await self._pass_on(message)
        finally:
            for task in list(self._open.values()):
                task.cancel()
            await asyncio.gather(*self._open.values(), return_exceptions=True)

    async def _pass_on(self, message: dict[str, Any]) -> None:
        id, method = message.get("id"), message.get("method")
        if method == "initialize":
            await self._ask(message)  # everything after it needs the session that it begins
            if self._session:
                await self._stand()
        elif method == "notifications/cancelled" and not self._session:
            asked = self._open.get(_object(message.get("params")).get("requestId"))
            if asked is not None:
                asked.cancel()  # closing the stream is how the newer era cancels
        else:
            key = id if isinstance(id, str | int) and method else object()
            task = self._open[key] = asyncio.create_task(self._ask(message))
            task.add_done_callback(lambda _: self._open.pop(key, None))

    async def _ask(self, message: dict[str, Any]) -> None:
        try:
            answer = await self.pool.ask("POST", json.dumps(message).encode(), self._headers(message))
            if message.get("method") == "initialize":
                self._session = answer.headers.get("mcp-session-id", "")
            await self._answered(message, answer)
        except (HttpFault, TooLarge) as error:
            await self._failed(message, f"the installation cannot be reached: {error}")

    async def _stand(self) -> None:
        """Open the stream on which a session of the older era is told of changes, and pass on what comes for as long as it stays open."""
        with suppress(HttpFault):  # the next request says that the installation is away
            answer = await self.pool.ask("GET", b"", self._headers({}) | {"Accept": "text/event-stream"})
            if answer.status == 200 and answer.kind == "text/event-stream":
                self._open[object()] = asyncio.create_task(self._notices(answer))
            else:
                self.pool.drop(answer)

    async def _notices(self, answer: Answer) -> None:
        with suppress(HttpFault, TooLarge):  # clients list again after any break
            await self._streamed(answer)

    async def _streamed(self, answer: Answer) -> None:
        reader = Reader(MAX_LINE)
        async for piece in self.pool.pieces(answer):
            for each in reader.feed(piece):
                await self.write(each.data)

    async def _answered(self, message: Mapping[str, Any], answer: Answer) -> None:
        if answer.kind == "text/event-stream":
            await self._streamed(answer)
            return
        body = await self.pool.whole(answer)
        found = _message(body) if body else None
        if found is not None and found.get("jsonrpc") == "2.0":
            if message.get("method") == "initialize":
                self._version = str(_object(found.get("result")).get("protocolVersion", ""))
            await self.write(json.dumps(found | ({"id": message["id"]} if "id" in message else {})).encode())
        elif answer.status >= 400:
            await self._failed(message, f"the installation answered with status {answer.status}")

    async def _failed(self, message: Mapping[str, Any], words: str) -> None:
        if "id" in message and "method" in message:
            error = {"code": INTERNAL_ERROR, "message": words}
            await self.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())

    def _headers(self, message: Mapping[str, Any]) -> dict[str, str]:
        method, params = str(message.get("method", "")), _object(message.get("params"))
        headers = {
            "Authorization": f"Bearer {self.passport()}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        version = _object(params.get("_meta")).get(VERSION_KEY)
        if isinstance(version, str):
            headers |= {"MCP-Protocol-Version": version, "Mcp-Method": method}
            if method in NAMED and isinstance(params.get(NAMED[method]), str):
                headers["Mcp-Name"] = encode_header(params[NAMED[method]])
        elif method != "initialize":
            headers |= {"MCP-Protocol-Version": self._version} if self._version else {}
            headers |= {"Mcp-Session-Id": self._session} if self._session else {}
        return headers


@asynccontextmanager
async def reached(
    home: str | os.PathLike[str] | None, url: str, name: str, principal: str
) -> AsyncIterator[tuple[Pool, Callable[[], str]]]:
    """The entrance of this installation at `url`, or its own engine opened here; with what makes passports of `principal`.

    Raises what opening the folder raises (OMG-S001 where another engine works that does not answer at `url`).
    """
    settings = Settings.load(home)
    where = url.rstrip("/") + (f"/{name}" if name else "")
    if holder(settings.home) is not None and await _answers(where):
        from omega.host.clock import SystemClock, SystemEntropy

        identity, clock = Identity.load(settings, SystemEntropy()), SystemClock()
        pool = Pool(where, {}, MAX_LINE)
        try:
            yield pool, lambda: identity.passport(principal, now_us=clock.now_us())
        finally:
            pool.close()
        return
    from omega.gateway.front.door import Door, Manners
    from omega.gateway.front.server import Listener, Place
    from omega.host.house import House, entrances

    async with Omega.open(home) as omega:
        house = House(omega)
        manners = Manners(hosts=frozenset({"127.0.0.1"}))
        door = Door(entrances(house), manners, ready=house.ready, prefix=f"req_{omega.world.entropy.take(5).hex()}_")
        listener = Listener(door, Place(host="127.0.0.1", port=0))
        await listener.start()
        pool = Pool(f"{listener.url}/mcp" + (f"/{name}" if name else ""), {}, MAX_LINE)
        try:
            yield pool, lambda: omega.passport(principal)
        finally:
            pool.close()
            listener.close()
            await listener.stop()


async def _answers(url: str) -> bool:
    """Whether an MCP entrance is there: it demands a passport of whoever has none."""
    pool = Pool(url, {}, 1 << 20)
    try:
        async with asyncio.timeout(LOOK_S):
            answer = await pool.ask("POST", b"{}", {"Content-Type": "application/json"})
            return answer.status == 401
    except (HttpFault, TimeoutError, UpstreamError):
        return False
    finally:
        pool.close()


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
