"""Requests over HTTP: one pooled connection set per client, limits on everything, retries of what may be retried, errors as ours."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from omega.client.credentials import Credentials
from omega.client.failures import of_problem, unreachable
from omega.client.retrying import LONGEST_WAIT_S, Retry, asked_wait, passes
from omega.kernel.errors import InputError, OmegaError, lacking
from omega.wire.sse import Event, Reader, TooLarge

if TYPE_CHECKING:
    import ssl

    import aiohttp

MAX_ANSWER: Final = 32 << 20
"""Largest answer in bytes; the largest value of a step is half of it."""

MAX_EVENT: Final = 1 << 20
"""Largest event of a stream in bytes."""

CONNECT_S: Final = 10.0
QUIET_S: Final = 90.0
"""Longest silence of a stream, in seconds: servers send a comment every now and then."""

HEARTBEAT_S: Final = 20.0
"""How often an open WebSocket is tried by a ping, in seconds."""

AT_ONCE: Final = 100
"""Most connections of one client."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
EXCHANGE: Final = "/oauth/token"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers by lower-case name, the body as JSON (None when there was none)."""

    status: int
    headers: Mapping[str, str]
    value: Any


class Transport:
    """One installation at `address`, spoken to as whoever `credentials` stand for. Belongs to one event loop; close it."""

    def __init__(
        self, address: str, credentials: Credentials, *, retry: Retry, timeout_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self.address = checked_address(address)
        self._credentials = credentials
        self._retry = retry
        self._timeout_s = timeout_s
        self._tls = tls
        self._http: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One request to its answer, made again while that may help and time is left. Raises OmegaError: what the server says, or
        UpstreamError (OMG-X010) when it cannot be reached."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        until = time.monotonic() + limit_s
        repeats = 0
        renewed = False
        while True:
            asked_s: float | None = None
            try:
                async with asyncio.timeout(max(0.001, until - time.monotonic())):
                    answer = await self._once(method, path, body, query, headers or {})
                if answer.status < 400:
                    return answer
                error = of_problem(answer.status, answer.value)
                asked_s = asked_wait(answer.headers.get("retry-after", ""), time.time)
            except TimeoutError:
                raise unreachable(f"did not answer within {limit_s:g} s") from None
            except OmegaError as failed:
                error = failed
            if error.code == "OMG-T001" and not renewed and self._credentials.refused():
                renewed = True
                continue
            repeats += 1
            wait_s = self._retry.wait_s(repeats, random.random(), asked_s)  # noqa: S311 - spreads clients out, decides nothing
            if repeats > self._retry.times or not passes(error) or wait_s > min(LONGEST_WAIT_S, until - time.monotonic()):
                raise error
            await asyncio.sleep(wait_s)

    @asynccontextmanager
    async def stream(self, path: str, body: Any, headers: Mapping[str, str]) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of a stream that a POST opens, as they come. Raises what `request` raises; nothing is made again."""
        aiohttp = _library()
        lines = {**await self._headers(), **headers, "accept": "text/event-stream"}
        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=QUIET_S)
        try:
            async with self._session().post(
                self.address + path, json=body, headers=lines, timeout=limits, allow_redirects=False
            ) as response:
                if response.status != 200 or response.content_type != "text/event-stream":
                    raise of_problem(response.status, await _json(response))
                yield _events(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise unreachable(f"broke off ({type(error).__name__})") from error

    async def token(self) -> str:
        """The bearer token that requests carry now. Raises OmegaError."""
        return await self._credentials.token(self._exchange)

    @asynccontextmanager
    async def socket(self, path: str, *, protocol: str, most: int) -> AsyncIterator[Any]:
        """A WebSocket at `path`, with pings both ways. Raises UpstreamError (OMG-X010), Denied (OMG-T001) when nobody is let in."""
        aiohttp = _library()
        headers = await self._headers()
        address = self.address.replace("http", "ws", 1) + path
        try:
            async with asyncio.timeout(CONNECT_S):
                socket = await self._session().ws_connect(
                    address, protocols=(protocol,), headers=headers, max_msg_size=most, heartbeat=HEARTBEAT_S
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403):
                raise of_problem(401, {"code": "OMG-T001", "detail": "the installation lets nobody in with this passport"}) from error
            raise unreachable(f"opened no session (status {error.status})", status=error.status) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise unreachable(f"cannot be reached ({type(error).__name__})") from error
        try:
            yield socket
        finally:
            await socket.close()

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice."""
        session, self._http = self._http, None
        if session is not None:
            await session.close()

    # -- one request

    async def _once(
        self, method: str, path: str, body: Any, query: Mapping[str, str] | None, headers: Mapping[str, str], *, signed: bool = True
    ) -> Answer:
        aiohttp = _library()
        lines = {**(await self._headers() if signed else {}), **headers, "accept": "application/json"}
        sent: dict[str, Any] = {"data": body} if isinstance(body, Mapping) and not signed else {"json": body} if body is not None else {}
        try:
            async with self._session().request(
                method, self.address + path, params=query, headers=lines, allow_redirects=False, **sent
            ) as response:
                value = await _json(response)
                if 300 <= response.status < 400:
                    raise unreachable(f"sends elsewhere (status {response.status}), which is not followed", status=response.status)
                return Answer(response.status, {name.lower(): text for name, text in response.headers.items()}, value)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(f"cannot be reached ({type(error).__name__})") from error

    async def _headers(self) -> dict[str, str]:
        token = await self._credentials.token(self._exchange)
        return {"authorization": f"Bearer {token}"} if token else {}

    async def _exchange(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        answer = await self._once("POST", EXCHANGE, dict(form), None, {}, signed=False)
        if answer.status != 200 or not isinstance(answer.value, dict):
            raise _token_refused(answer)
        return answer.value

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            aiohttp = _library()
            limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
            connector = aiohttp.TCPConnector(limit=AT_ONCE, ssl=self._tls if self._tls is not None else True)
            self._http = aiohttp.ClientSession(
                timeout=limits, connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True, trust_env=False
            )
        return self._http


def checked_address(address: str) -> str:
    """`address` as scheme, host and port. Raises InputError (OMG-X001): passports travel over https, or on this machine, only."""
    try:
        url = urlsplit(address.strip().rstrip("/"))
        host, _ = url.hostname, url.port
    except ValueError:
        host, url = None, urlsplit("")
    if url.scheme not in ("http", "https") or not host or url.path or url.query or url.fragment or url.username:
        raise InputError("OMG-X001", "that is no address of an installation", advice="write it as https://HOST, or http://127.0.0.1:PORT")
    if url.scheme == "http" and host not in LOOPBACK:
        raise InputError("OMG-X001", "a passport is sent over https, or to this machine, only", advice=f"write it as https://{host}")
    return f"{url.scheme}://{url.netloc}"


def _token_refused(answer: Answer) -> OmegaError:
    """The refusal of the token endpoint, which speaks in the words of RFC 6749, 5.2."""
    if isinstance(answer.value, dict) and "code" in answer.value:
        return of_problem(answer.status, answer.value)
    if answer.status in (400, 401):
        said = answer.value.get("error") if isinstance(answer.value, dict) else ""
        return of_problem(401, {"code": "OMG-T001", "detail": f"the key was refused: {str(said)[:80]}", "advice": "get a new key"})
    return of_problem(answer.status, answer.value)


async def _json(response: aiohttp.ClientResponse) -> Any:
    """The body as JSON; None when there is none, or when it is no JSON. Raises UpstreamError (OMG-X010) above MAX_ANSWER."""
    data = bytearray()
    async for chunk in response.content.iter_chunked(64 << 10):
        data += chunk
        if len(data) > MAX_ANSWER:
            raise unreachable(f"answered more than {MAX_ANSWER:,} bytes")
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    reader = Reader(MAX_EVENT)
    try:
        async for chunk in response.content.iter_any():
            for event in reader.feed(chunk):
                yield event
    except TooLarge as error:
        raise unreachable("sent an event that is too large") from error


def _library() -> Any:
    """The module aiohttp, loaded on first use: it takes as long to load as all the rest."""
    try:
        import aiohttp  # noqa: PLC0415
    except ImportError as error:
        raise lacking("aiohttp") from error
    return aiohttp
