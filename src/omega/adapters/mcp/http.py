"""Streams to a server over streamable HTTP: the SDK's transport on a client of ours that knows the headers and bounds the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final

from omega.adapters.mcp.limits import Limits

if TYPE_CHECKING:
    import httpx2
    from mcp.client._transport import TransportStreams

CONNECT_S: Final = 10.0
"""Patience with a connection; answers have the timeout of the call."""


class HttpTransport:
    """One pooled client for one server, as the SDK's `Client` wants a transport.

    Redirects are followed only within the server's own origin (the SDK's rule), so that headers never reach another one.
    """

    last_words = ""
    exit_code: int | None = None
    fault = ""

    def __init__(self, url: str, headers: Mapping[str, str], limits: Limits) -> None:
        self._url, self._headers, self._limits = url, headers, limits
        self._stack = AsyncExitStack()
        self.ended = asyncio.Event()

    def hurry(self) -> None:
        """There is no process to end: leaving is always quick."""

    async def __aenter__(self) -> TransportStreams:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        client = httpx2.AsyncClient(
            headers={**self._headers, "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(CONNECT_S, read=None),
            event_hooks={"response": [self._bound]},
        )
        await self._stack.enter_async_context(client)
        streams = streamable_http_client(self._url, http_client=client, max_sse_event_size=self._limits.message_bytes)
        return await self._stack.enter_async_context(streams)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def _bound(self, response: httpx2.Response) -> None:
        """Count the bytes of a body that is read whole. Event streams are bounded per event by the transport itself."""
        import httpx2

        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError("the server compressed its answer although it was asked not to", request=response.request)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _bounded(response.stream, self._limits.message_bytes)


def _bounded(stream: object, limit: int) -> httpx2.AsyncByteStream:
    import httpx2

    if not isinstance(stream, httpx2.AsyncByteStream):
        raise httpx2.StreamError("the answer cannot be read piece by piece")

    source: httpx2.AsyncByteStream = stream

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in source:
                size += len(chunk)
                if size > limit:
                    raise httpx2.StreamError(f"the answer has more than {limit} bytes")
                yield chunk

        async def aclose(self) -> None:
            await source.aclose()

    return Bounded()
