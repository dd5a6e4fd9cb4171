"""What a tool server says over streamable HTTP, read: messages out of bodies and event streams, descriptions of tools out of lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.passing import PREFIX
from omega.kernel.errors import UpstreamError
from omega.wire.sse import Reader, TooLarge


class Lost(Exception):
    """The conversation cannot go on; the words say why. `sent`: the server may have heard the last request."""

    def __init__(self, words: str, *, sent: bool = True) -> None:
        super().__init__(words)
        self.sent = sent


class Refused(Exception):
    """The server answered with an error by the protocol, or with a status that means one."""

    def __init__(self, code: int, message: str, status: int, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.data = code, message, status, data


def described(server: str, tool: Any) -> ToolDescription:
    """The description of a tool as a server sent it. Raises UpstreamError (OMG-M006) for what is none."""
    given = tool if isinstance(tool, dict) else {}
    name, schema, annotations = given.get("name"), given.get("inputSchema"), given.get("annotations")
    texts = [given.get(key) or "" for key in ("title", "description")]
    if isinstance(name, str) and name.startswith(PREFIX):
        raise UpstreamError("OMG-M006", f"{server} lists {name[:80]!r}, a name that is kept for reads", details={"server": server})
    if not isinstance(name, str) or not name or not isinstance(schema, dict) or not all(isinstance(text, str) for text in texts):
        raise UpstreamError("OMG-M006", f"{server} lists something that is no tool by the protocol", details={"server": server})
    known = {key: value for key, value in annotations.items() if value is not None} if isinstance(annotations, dict) else {}
    made = ToolDescription(server, name, texts[0], texts[1], schema, given.get("outputSchema"), known)
    try:
        _ = made.digest
    except ValueError as error:
        raise UpstreamError("OMG-M006", f"{server}/{name[:80]} has a description that is not JSON", details={"server": server}) from error
    return made


async def messages(pieces: AsyncIterator[bytes], reader: Reader) -> AsyncIterator[dict[str, Any]]:
    """The messages of an event stream. Raises Lost for an event that is too large."""
    async for piece in pieces:
        try:
            events = reader.feed(piece)
        except TooLarge as error:
            raise Lost(str(error)) from error
        for each in events:
            message = _parsed(each.data)
            if isinstance(message, dict):
                yield message


_decode = msgspec.json.Decoder().decode


def read_message(text: bytes, status: int) -> dict[str, Any]:
    """The answer in a body that came with an HTTP status. Raises Lost for what is none, Refused for a status that means an error."""
    found = _parsed(text)
    if isinstance(found, dict) and ("result" in found or "error" in found):
        return found
    if status == 200:
        raise Lost("it answered with something that is no message by the protocol")
    raise Refused(0, f"status {status}", status)


def _parsed(text: bytes) -> Any:
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def read_result(message: Mapping[str, Any], number: int, status: int) -> dict[str, Any]:
    """The result in the answer to request `number`. Raises Refused for an error by the protocol, Lost for anything else."""
    error = message.get("error")
    if isinstance(error, dict):
        code = error.get("code")
        raise Refused(code if isinstance(code, int) else 0, str(error.get("message", ""))[:2_000], status, error.get("data"))
    result = message.get("result")
    if message.get("id") != number or not isinstance(result, dict):
        raise Lost("it answered with something that is no message by the protocol")
    return result


def an_object(value: Any) -> dict[str, Any]:
    """`value` where it is an object, else an empty one: what a server leaves out or gets wrong counts as not said."""
    return value if isinstance(value, dict) else {}
