"""HTTP to providers: one pooled client per provider, bodies within limits, streams read no faster than they are shown.

Errors carry the provider's status and its short error words, never its messages: those quote prompts and parts of keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from omega.adapters.models import anthropic, completions
from omega.adapters.models.provider import Provider
from omega.adapters.models.said import Said, Unreadable
from omega.kernel.errors import UpstreamError, lacking
from omega.kernel.models import Chat, Embed, Show

if TYPE_CHECKING:
    import aiohttp

ANSWER_LIMIT: Final = 8 << 20
"""Bytes of one answer; the longest any model gives is far below. Vectors get `VECTORS_LIMIT`."""

VECTORS_LIMIT: Final = 64 << 20
"""Bytes of an answer with vectors: 2,048 of 3,072 numbers, written out."""

CONNECT_S: Final = 10.0
CONNECTIONS: Final = 64
"""Most connections to one provider."""

LINE_LIMIT: Final = 1 << 20
"""Longest event of a stream in bytes."""

ASKED_WRONGLY: Final = frozenset({400, 413, 422})
"""Statuses that say the question is at fault: asking another model would not mend it."""

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_PLAIN: Final = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Accept-Encoding": "identity"}


class _Stream(Protocol):
    said: Said
    over: bool

    def feed(self, data: bytes) -> list[dict[str, Any]]: ...


class Client:
    """Speaks to providers. Belongs to one event loop."""

    def __init__(self) -> None:
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def chat(self, provider: Provider, chat: Chat, trace: str = "") -> tuple[Said, int, int]:
        """What the model says, with the bytes that came and went. Raises UpstreamError (OMG-M008); one at which nothing was shown yet and
        that another model may not run into has `details["elsewhere"]`."""
        speaks = anthropic if provider.interface == "anthropic" else completions
        url, body = speaks.asked(provider, chat, stream=chat.show is not None)
        content = json.dumps(body).encode("utf-8", "surrogatepass")
        async with self._post(provider, url, content, trace) as response:
            if chat.show is not None and response.status == 200 and _streams(response):
                said, size = await _streamed(provider, response, speaks.Stream(), chat.show)
            else:
                data = await _whole(provider, response, ANSWER_LIMIT)
                size, said = len(data), _read(provider, response.status, data, speaks.read)
                if chat.show is not None:
                    await show_whole(said, chat.show)
        return said, size, len(content)

    async def embed(self, provider: Provider, embed: Embed, trace: str = "") -> tuple[list[list[float]], Said, int, int]:
        """The vectors of texts. Raises UpstreamError (OMG-M008)."""
        url, body = completions.embedding_asked(provider, embed)
        content = json.dumps(body).encode("utf-8", "surrogatepass")
        async with self._post(provider, url, content, trace) as response:
            data = await _whole(provider, response, VECTORS_LIMIT)
        vectors, said = _read(provider, response.status, data, lambda found: completions.read_vectors(found, len(embed.texts)))
        return vectors, said, len(data), len(content)

    async def aclose(self) -> None:
        """Close the connections."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    @asynccontextmanager
    async def _post(self, provider: Provider, url: str, content: bytes, trace: str) -> AsyncIterator[aiohttp.ClientResponse]:
        aiohttp = _library()
        speaks = anthropic if provider.interface == "anthropic" else completions
        session = self._session(provider.base_url)
        try:
            headers = {**_PLAIN, **speaks.headers_of(provider)} | ({"traceparent": trace} if trace else {})
            async with session.post(url, data=content, headers=headers, allow_redirects=False) as response:
                yield response
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise failed(provider, f"cannot be reached ({type(error).__name__})", elsewhere=True) from error

    def _session(self, base_url: str) -> aiohttp.ClientSession:
        aiohttp = _library()
        found = self._sessions.get(base_url)
        if found is None:
            found = self._sessions[base_url] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                read_bufsize=LINE_LIMIT // 8,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return found


def failed(provider: Provider, what: str, *, elsewhere: bool, **details: Any) -> UpstreamError:
    """The error of a provider; `elsewhere` tells that another one may do better."""
    return UpstreamError("OMG-M008", f"{provider.label} {what}", details={"model": provider.label, "elsewhere": elsewhere, **details})


def _streams(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Content-Type", "").partition(";")[0].strip() == "text/event-stream"


async def _whole(provider: Provider, response: aiohttp.ClientResponse, most: int) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > most:
            raise failed(provider, f"answered more than {most} bytes", elsewhere=True)
    return bytes(data)


async def _streamed(provider: Provider, response: aiohttp.ClientResponse, stream: _Stream, show: Show) -> tuple[Said, int]:
    size, shown = 0, 0
    try:
        async for data, length in _events(provider, response):
            size += length
            if size > ANSWER_LIMIT:
                raise failed(provider, f"answered more than {ANSWER_LIMIT} bytes", elsewhere=not shown)
            for part in stream.feed(data):
                shown += 1
                await show(part)
            if stream.over:
                return stream.said, size
    except Unreadable as error:
        raise failed(provider, "streamed something that is no answer by its interface", elsewhere=not shown) from error
    except OSError as error:  # aiohttp's errors of a connection that breaks are among them, or ClientError, which `_post` takes
        raise failed(provider, f"broke off its answer ({type(error).__name__})", elsewhere=not shown) from error
    raise failed(provider, "broke off its answer", elsewhere=not shown)


async def _events(provider: Provider, response: aiohttp.ClientResponse) -> AsyncIterator[tuple[bytes, int]]:
    """The data of each event (WHATWG HTML, 9.2), with the bytes that it took; providers send one line of data per event."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_LIMIT:
            raise failed(provider, f"streamed an event of more than {LINE_LIMIT} bytes", elsewhere=False)
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip(), len(line)


async def show_whole(said: Said, show: Show) -> None:
    """A provider that does not stream, or an answer from memory, is shown in one piece."""
    if said.text:
        await show({"text": said.text})
    for index, call in enumerate(said.tool_calls):
        await show({"tool": {"index": index, **call}})


def _read(provider: Provider, status: int, data: bytes, read: Any) -> Any:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if status != 200:
        word = _word(body)
        if provider.key and provider.key in word:
            word = ""
        about = f" ({word})" if word else ""
        raise failed(provider, f"refused with status {status}{about}", elsewhere=status not in ASKED_WRONGLY, status=status)
    try:
        return read(body)
    except Unreadable as error:
        raise failed(provider, "answered something that is no answer by its interface", elsewhere=True) from error


def _word(body: Any) -> str:
    """The short error type that providers send beside their message; empty when there is none or it is not a plain word."""
    problem = body.get("error") if isinstance(body, dict) else None
    found = (
        next((problem[name] for name in ("code", "type") if isinstance(problem.get(name), str)), "") if isinstance(problem, dict) else ""
    )
    return found if _WORD.fullmatch(found) else ""


def _library() -> Any:
    """The module aiohttp, loaded on first use. Raises InputError (OMG-X001) when it is not installed."""
    try:
        import aiohttp
    except ImportError as error:
        raise lacking("aiohttp") from error
    return aiohttp
