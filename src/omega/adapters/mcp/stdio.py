"""Streams to a server that is a process of ours: newline-delimited JSON-RPC over its standard streams (MCP specification, transports).

Not the SDK's own transport, for three reasons: the process is started under the shield, so it and what it starts cannot outlive the
engine; a line has a size limit; and the last words of standard error are kept for the error that a crash becomes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

from omega.adapters.mcp.limits import LAST_WORDS_BYTES, Limits
from omega.kernel.errors import UpstreamError
from omega.kernel.sandbox import Sandbox

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

    Incoming = SessionMessage | Exception
    Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]

CAPPED: Final = 125
"""Exit status of a server that its launcher ended because it went over a cap."""

CAPPED_WORDS: Final = "omega shield: "
"""Begins the last line on standard error then, which says over which."""

_CHUNK: Final = 64 << 10
_LAST_WORDS_S: Final = 1.0
_KILLED_S: Final = 12.0
"""Longer than the launcher's own patience with a process tree that does not end."""


class Launch(Protocol):
    """Turns a command into what is really started: under the shield, found, with a minimal environment plus `env`, held to `sandbox`."""

    def __call__(
        self, argv: tuple[str, ...], *, cwd: str | None, env: Mapping[str, str], sandbox: Sandbox
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """The argument vector and the whole environment. Raises InputError (OMG-P001, OMG-P005, OMG-P009)."""
        ...


class StdioTransport:
    """One process and its streams, as the SDK's `Client` wants a transport: an async context manager giving (read, write)."""

    def __init__(self, name: str, argv: tuple[str, ...], env: Mapping[str, str], cwd: str | None, limits: Limits) -> None:
        self._name, self._argv, self._env, self._cwd, self._limits = name, argv, env, cwd, limits
        self._process: asyncio.subprocess.Process | None = None
        self._streams: tuple[MemoryObjectReceiveStream[Any] | MemoryObjectSendStream[Any], ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._stderr = b""
        self._noise = 0
        self._hurry = False
        self.fault = ""
        self.ended = asyncio.Event()

    @property
    def last_words(self) -> str:
        """The end of the server's standard error."""
        return self._stderr.decode("utf-8", "replace")

    @property
    def exit_code(self) -> int | None:
        """The server's exit status once it has ended."""
        return None if self._process is None else self._process.returncode

    @property
    def over_cap(self) -> str:
        """The cap that the server went over, in words; empty when that is not why it ended."""
        last = self.last_words.rstrip("\n").rpartition("\n")[2]
        return last.removeprefix(CAPPED_WORDS) if self.exit_code == CAPPED and last.startswith(CAPPED_WORDS) else ""

    def hurry(self) -> None:
        """Have the process ended without asking it first when the context is left."""
        self._hurry = True

    async def __aenter__(self) -> Streams:
        import anyio

        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=self._cwd,
                env=dict(self._env),
                start_new_session=True,
            )
        except OSError as error:
            raise UpstreamError("OMG-M001", f"{self._name} cannot be started: {os.strerror(error.errno or 0).lower()}") from error
        incoming, read = anyio.create_memory_object_stream["Incoming"](0)
        write, outgoing = anyio.create_memory_object_stream["SessionMessage"](0)
        self._process, self._streams = process, (incoming, read, write, outgoing)
        self._tasks = [
            asyncio.create_task(self._listen(process, incoming)),
            asyncio.create_task(self._speak(process, outgoing, incoming)),
            asyncio.create_task(self._overhear(process)),
        ]
        return read, write

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import anyio

        with anyio.CancelScope(shield=True):
            for stream in self._streams:
                stream.close()
            if self._process is not None:
                await self._stop(self._process)
            await asyncio.wait(self._tasks, timeout=_LAST_WORDS_S)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, process: asyncio.subprocess.Process, incoming: MemoryObjectSendStream[Incoming]) -> None:
        """Give every line that is a message to the session; end the conversation when a limit is passed."""
        import anyio

        if process.stdout is None:
            return
        buffer = bytearray()
        with incoming, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while chunk := await process.stdout.read(_CHUNK):
                *lines, rest = chunk.split(b"\n")
                for part in lines:
                    line, buffer = bytes(buffer) + part, bytearray()
                    message = session_message(line)
                    if message is None:
                        self._noise += len(line) + 1
                    else:
                        await incoming.send(message)
                buffer += rest
                if self._too_much(len(buffer)):
                    process.terminate()
                    break
        self.ended.set()
        while await process.stdout.read(_CHUNK):  # nobody listens any more, but a full pipe would keep the server from ending
            continue

    def _too_much(self, pending: int) -> bool:
        if pending > self._limits.message_bytes:
            self.fault = f"it sent a message of more than {self._limits.message_bytes} bytes"
        elif self._noise > self._limits.noise_bytes:
            self.fault = f"it printed more than {self._limits.noise_bytes} bytes that are no messages"
        return bool(self.fault)

    async def _speak(
        self,
        process: asyncio.subprocess.Process,
        outgoing: MemoryObjectReceiveStream[SessionMessage],
        incoming: MemoryObjectSendStream[Incoming],
    ) -> None:
        import anyio

        if process.stdin is None:
            return
        try:
            async for item in outgoing:
                process.stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await process.stdin.drain()
        except (ConnectionError, anyio.ClosedResourceError):
            self.ended.set()
            incoming.close()  # it reads no more: the session must learn that the conversation is over

    async def _overhear(self, process: asyncio.subprocess.Process) -> None:
        while process.stderr is not None and (chunk := await process.stderr.read(_CHUNK)):
            self._stderr = (self._stderr + chunk)[-LAST_WORDS_BYTES:]

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        """Close its input and give it time to end by itself, then end its whole tree. Always bounded."""
        waiting = asyncio.ensure_future(process.wait())
        if process.stdin is not None:
            process.stdin.close()
        if not self._hurry:
            await asyncio.wait([waiting], timeout=self._limits.exit_s)
        for end, patience_s in ((process.terminate, _KILLED_S), (process.kill, 1.0)):
            if not waiting.done():
                with suppress(ProcessLookupError):
                    end()
                await asyncio.wait([waiting], timeout=patience_s)
        waiting.cancel()


def session_message(line: bytes) -> SessionMessage | None:
    """The JSON-RPC message on a line; None when it is something else."""
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    if not line.lstrip().startswith(b"{"):  # every message is an object: spares a flood of garbage the cost of parsing
        return None
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None
