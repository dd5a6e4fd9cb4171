"""The load that every gateway of the bench bears, and what it costs there.

Raw HTTP on connections that stay open, one call at a time on each, every reply checked. Connections are opened, handshakes made and a first
call answered on each before the clock and the count of CPU begin. CPU is that of a process and of its children, as /proc says (proc(5)).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

NEWEST = "2026-07-28"
HANDSHAKE = "2025-11-25"
START_S = 180.0
"""Longest (seconds) that a process may take until it listens: some of them migrate a database first."""

END_S = 20.0
"""Longest (seconds) that a process may take to end when asked to."""

LOST_S = 60.0
"""Longest (seconds) that one answer may take."""

_TICKS = os.sysconf("SC_CLK_TCK")
_META = {
    "io.modelcontextprotocol/protocolVersion": NEWEST,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(slots=True)
class Target:
    """Something that answers MCP at `url`: the tool to call there, and the process whose CPU counts.

    With `handshake` it is spoken to in revision 2025-11-25, one session for each connection; else in 2026-07-28, which has neither.
    """

    name: str
    url: str
    pid: int
    headers: dict[str, str] = field(default_factory=dict)
    tool: str = "echo"
    handshake: bool = False
    version: str = ""
    path: str = field(init=False)
    address: tuple[str, int] = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.path, self.address = parts.path, (parts.hostname or "", parts.port or 80)

    def cpu_s(self) -> float:
        """CPU seconds of the process and of its children so far, user and system, the ended ones included."""
        return sum(_spent(pid) for pid in _family(self.pid)) / _TICKS

    def memory_mb(self) -> float:
        """Resident memory of the process and of its children now, in MB."""
        return sum(_resident_kb(pid) for pid in _family(self.pid)) / 1_024


def _family(pid: int) -> Iterable[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from _family(int(child))


def _spent(pid: int) -> int:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15])


def _resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


# -- processes


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def started(
    stack: ExitStack,
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
    log: Any = None,
) -> subprocess.Popen[bytes]:
    """A process that `stack` ends. What it says goes to `log`, or nowhere."""
    out = subprocess.DEVNULL if log is None else log
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out if log is not None else None)
    stack.callback(_ended, process)
    return process


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until `process` listens. Raises RuntimeError when it ends instead, or takes longer than START_S."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode} before it listened")
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} did not listen in time")


# -- one connection


class Connection:
    """One open connection to a target, with its session where it has one."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._target, self._reader, self._writer = target, reader, writer
        self._session = ""

    @classmethod
    async def open(cls, target: Target) -> Connection:
        """Connect, and shake hands where the target wants it."""
        made = cls(target, *await asyncio.open_connection(*target.address))
        if target.handshake:
            wanted = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
            head, _ = await made._exchange(made._message("initialize", wanted, 0))
            found = [line[15:].strip() for line in head.split("\r\n") if line.lower().startswith("mcp-session-id:")]
            made._session = found[0] if found else ""
            await made._exchange(made._message("notifications/initialized", {}, None))
        return made

    async def call(self, tool: str, text: str, number: int) -> float:
        """Call `tool`; gives the seconds it took. Raises RuntimeError for a reply that does not hold `text`, or an error."""
        request = self._message("tools/call", {"name": tool, "arguments": {"text": text}}, number)
        since = time.perf_counter()
        _, body = await self._exchange(request)
        took = time.perf_counter() - since
        flat = body.replace(b" ", b"")
        if text.encode() not in body or b'"error":' in flat or b'"isError":true' in flat:
            raise RuntimeError(f"{self._target.name} answered: {body[:600]!r}")
        return took

    async def tools(self) -> list[str]:
        """The names of the tools that the target lists."""
        _, body = await self._exchange(self._message("tools/list", {}, 1))
        line = next((each[5:] for each in body.splitlines() if each.startswith(b"data:")), body)
        return [tool["name"] for tool in json.loads(line)["result"]["tools"]]

    async def close(self) -> None:
        """End the session, and hang up."""
        if self._session:
            self._writer.write(self._head("DELETE", "", b"").encode())
            await self._answer()
        self._writer.close()

    async def _exchange(self, request: bytes) -> tuple[str, bytes]:
        self._writer.write(request)
        async with asyncio.timeout(LOST_S):
            return await self._answer()

    async def _answer(self) -> tuple[str, bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lowered = head.lower()
        status = int(head.split(" ", 2)[1])
        if status >= 400 and not lowered.startswith("http/1.1 405"):
            raise RuntimeError(f"{self._target.name} answered: {head[:600]} {(await self._reader.read(600))!r}")
        if "content-length: " in lowered:
            return head, await self._reader.readexactly(int(lowered.split("content-length: ")[1].split("\r\n")[0]))
        body = b""
        while "transfer-encoding: chunked" in lowered and (size := int((await self._reader.readuntil(b"\r\n")).strip(), 16)):
            body += (await self._reader.readexactly(size + 2))[:-2]
        if "transfer-encoding: chunked" in lowered:
            await self._reader.readexactly(2)
        return head, body

    def _message(self, method: str, params: dict[str, Any], number: int | None) -> bytes:
        if not self._target.handshake:
            params = {**params, "_meta": _META}
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        body = json.dumps(message if number is None else {**message, "id": number}).encode()
        return self._head("POST", method, body, str(params.get("name", ""))).encode() + body

    def _head(self, verb: str, method: str, body: bytes, name: str = "") -> str:
        target = self._target
        lines = {
            "Host": f"{target.address[0]}:{target.address[1]}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Content-Length": str(len(body)),
            **target.headers,
        }
        if method != "initialize":
            lines["MCP-Protocol-Version"] = HANDSHAKE if target.handshake else NEWEST
        if self._session:
            lines["Mcp-Session-Id"] = self._session
        if not target.handshake:
            lines |= {"Mcp-Method": method} | ({"Mcp-Name": name} if name else {})
        return f"{verb} {target.path} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items()) + "\r\n"


# -- measuring


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement: calls a second, CPU milliseconds per call, median and 99th percentile of latency in milliseconds, how many calls."""

    rate: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    calls: int


async def load(target: Target, connections: int, calls: int, within_s: float, tool: str = "") -> Measured:
    """At most `calls` calls over so many connections, none begun later than `within_s` seconds after the first.

    One call on each connection comes before them and counts nowhere: a session may begin its conversation with the tool server then.
    """
    name = tool or target.tool
    opened = await asyncio.gather(*(Connection.open(target) for _ in range(connections)))
    await asyncio.gather(*(each.call(name, f"warm {number}", 1) for number, each in enumerate(opened)))
    lasted: list[float] = []

    async def worker(number: int, connection: Connection, end: float) -> None:
        for index in range(calls // connections):
            if time.perf_counter() >= end:
                return
            lasted.append(await connection.call(name, f"hello {number} {index}", index + 2))

    cpu, since = target.cpu_s(), time.perf_counter()
    await asyncio.gather(*(worker(number, each, since + within_s) for number, each in enumerate(opened)))
    took, spent = time.perf_counter() - since, target.cpu_s() - cpu
    for each in opened:
        await each.close()
    lasted.sort()
    count = len(lasted)
    return Measured(count / took, spent / count * 1e3, statistics.median(lasted) * 1e3, lasted[int(count * 0.99)] * 1e3, count)


def measure(target: Target, connections: int, calls: int, within_s: float = 60.0, tool: str = "") -> Measured:
    """Load `target` once."""
    return asyncio.run(load(target, connections, calls, within_s, tool))


async def _named(target: Target, ending: str) -> str:
    connection = await Connection.open(target)
    try:
        names = await connection.tools()
    finally:
        await connection.close()
    found = next((name for name in names if name.endswith(ending)), None)
    if found is None:
        raise RuntimeError(f"{target.name} shows no tool that ends with {ending}, but {names}")
    return found


def name_of_tool(target: Target, ending: str) -> str:
    """What the target calls the tool whose name ends so: gateways put the server's name before it. Raises RuntimeError if it has none."""
    return asyncio.run(_named(target, ending))


def fsync_ms(folder: Path, times: int = 64) -> float:
    """The floor of a durable write there: the median time of writing 4 KB over what is there and waiting for the disk, in milliseconds."""
    path, lasted = folder / "floor", []
    with path.open("wb", buffering=0) as file:
        file.write(bytes(4_096))
        os.fdatasync(file.fileno())
        for _ in range(times):
            since = time.perf_counter()
            os.pwrite(file.fileno(), bytes(4_096), 0)
            os.fdatasync(file.fileno())
            lasted.append(time.perf_counter() - since)
    path.unlink()
    return statistics.median(lasted) * 1e3
