"""The head of an answer goes out with its body, and by itself where the body comes later."""

from __future__ import annotations

import asyncio
from typing import Any

from omega.gateway.front.server import Listener, Place, _Joined

PATIENCE_S = 60.0


class Recorded:
    """A transport that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[bytes | str] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.said.append(bytes(data))

    def write_eof(self) -> None:
        self.said.append("eof")

    def close(self) -> None:
        self.closing = True
        self.said.append("closed")

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_head_is_sent_with_what_follows_and_never_lost() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        async def said(*acts: tuple[Any, ...]) -> list[bytes | str]:
            inner = Recorded()
            joined = _Joined(inner, loop)  # type: ignore[arg-type]
            for name, *arguments in acts:
                getattr(joined, name)(*arguments)
            await asyncio.sleep(0)
            return inner.said

        assert await said(("write", HEAD), ("write", b"body")) == [HEAD + b"body"]
        assert await said(("write", HEAD)) == [HEAD]
        assert await said(("write", HEAD), ("close",)) == [HEAD, "closed"]
        assert await said(("write", HEAD), ("write_eof",)) == [HEAD, "eof"]
        assert await said(("write", HEAD), ("abort",)) == []
        assert await said(("write", HEAD), ("write", b"a"), ("write", HEAD), ("write", b"b"), ("write", b"c")) == [
            HEAD + b"a",
            HEAD + b"b",
            b"c",
        ]
        assert await said(("writelines", [b"HTTP/1.1 ", b"204\r\n\r\n"]), ("writelines", [b"x", b"y"])) == [b"HTTP/1.1 204\r\n\r\nxy"]

    asyncio.run(scenario())


def test_the_head_of_a_stream_arrives_before_its_first_part() -> None:
    async def scenario() -> None:
        head_seen = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await asyncio.wait_for(head_seen.wait(), PATIENCE_S)
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        listener = Listener(app, Place(host="127.0.0.1", port=0))
        await listener.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(PATIENCE_S):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
                head_seen.set()
                assert b"data: 1" in await reader.readuntil(b"0\r\n\r\n")
        finally:
            writer.close()
            listener.close()
            await listener.stop()

    asyncio.run(scenario())
