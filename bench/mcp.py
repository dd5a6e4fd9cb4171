"""Figures G1 to G4 of the MCP entrance: what a governed `tools/call` costs. `python bench/mcp.py` prints them.

    client (this process) -> omega, as `omega up` serves it -> tool server (raw ASGI, answers at once)

G1  CPU of the gateway per governed call at 16 connections.
G2  median latency that the gateway adds at one connection, over the direct call of the same round.
G3  governed calls a second, one process, 64 connections.
G4  requests that reach the tool server per call, once warm.

Every call is governed: passport, policies, journal, sealed leaf; every reply is checked. The data folder lies where OMEGA_BENCH_HOME says,
on /dev/shm unless it says otherwise. CPU is that of the gateway's process alone, read from /proc. Rounds are
interleaved; medians with range.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROUNDS = int(os.environ.get("OMEGA_BENCH_ROUNDS", "5"))
CALLS = int(os.environ.get("OMEGA_BENCH_CALLS", "1500"))
"""Calls of one measurement."""

COMMAND = "python bench/mcp.py"
NEWEST = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": NEWEST,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_TICK = os.sysconf("SC_CLK_TCK")


# -- the tool server: raw ASGI, so that it costs next to nothing


async def upstream(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]) -> None:
    """Answer MCP of the newer era: one read tool, `echo`. `GET /count` gives how many requests came."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["method"] == "GET":
        text = str(_COUNT["requests"]).encode()
    else:
        _COUNT["requests"] += 1
        text = json.dumps(_answered(json.loads(body))).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text})


_COUNT = {"requests": 0}
_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_TOOL = {"name": "echo", "description": "Gives back its text.", "inputSchema": _SCHEMA, "annotations": {"readOnlyHint": True}}


def _answered(request: dict[str, Any]) -> dict[str, Any]:
    method, params = request["method"], request.get("params", {})
    cached = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
    if method == "server/discover":
        result = {"supportedVersions": [NEWEST], "capabilities": {"tools": {}}, **cached}
    elif method == "tools/list":
        result = {"tools": [_TOOL], **cached}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": params["arguments"]["text"]}], "resultType": "complete"}
    else:
        return {"jsonrpc": "2.0", "id": request.get("id"), "error": {"code": -32601, "message": "no such method"}}
    return {"jsonrpc": "2.0", "id": request.get("id"), "result": result}


# -- processes


@dataclass
class Target:
    """Something that answers MCP: where, as whom, under which name its tool goes, and the process whose CPU counts."""

    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    tool: str = "echo"
    pid: int = 0

    def cpu_s(self) -> float:
        """CPU seconds of the process so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def memory_mb(self) -> float:
        """Resident memory now, in MB."""
        line = next(line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"a process ended with {process.returncode} before it listened")
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("a process did not listen in time")


def start_upstream(stack: ExitStack) -> Target:
    """The tool server in a process of its own."""
    port = _free_port()
    process = _started(stack, [sys.executable, __file__, "serve-upstream", str(port)])
    _wait_for(port, process)
    return Target("direct", f"http://127.0.0.1:{port}/mcp", pid=process.pid)


def start_omega(stack: ExitStack, behind: str) -> tuple[Target, float]:
    """Omega in front of `behind`, and the seconds from its start to the first governed reply."""
    home = stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("OMEGA_BENCH_HOME", "/dev/shm")))
    environment = {**os.environ, "OMEGA_HOME": home}
    omega = [sys.executable, "-m", "omega"]
    subprocess.run([*omega, "mcp", "add", "bench", "--url", behind], env=environment, check=True, stdout=subprocess.DEVNULL)
    passport = asyncio.run(_passport(home))
    port, since = _free_port(), time.monotonic()
    process = _started(stack, [*omega, "up", "--port", str(port), "--json"], environment)
    _wait_for(port, process)
    target = Target("omega", f"http://127.0.0.1:{port}/mcp", {"Authorization": f"Bearer {passport}"}, "bench__echo", process.pid)
    asyncio.run(_load(target, 1, 1))
    return target, time.monotonic() - since


def _started(stack: ExitStack, command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, text=True)
    stack.callback(_ended, process)
    return process


def _ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def _passport(home: str) -> str:
    from omega.host.embedded import Omega

    async with Omega.open(home) as omega:
        return omega.passport()


# -- the client: one connection per worker, raw


async def _load(target: Target, connections: int, calls: int) -> list[float]:
    """Seconds that each call took, over all connections. Raises SystemExit for a reply that is not the expected one."""
    host, _, port = target.url.removeprefix("http://").partition("/")[0].partition(":")
    lasted: list[float] = []

    async def worker(number: int, count: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            for index in range(count):
                text = f"hello {number} {index}"
                request = _request(target, index + 1, text)
                since = time.perf_counter()
                writer.write(request)
                body = await _reply(reader)
                lasted.append(time.perf_counter() - since)
                if text.encode() not in body or b'"error"' in body or b'"isError":true' in body:
                    raise SystemExit(f"{target.name} answered: {body[:400]!r}")
        finally:
            writer.close()

    await asyncio.gather(*(worker(number, calls // connections) for number in range(connections)))
    return lasted


def _request(target: Target, id: int, text: str) -> bytes:
    params = {"name": target.tool, "arguments": {"text": text}, "_meta": _META}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()
    headers = {
        "Host": target.url.removeprefix("http://").partition("/")[0],
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": NEWEST,
        "Mcp-Method": "tools/call",
        "Mcp-Name": target.tool,
        "Content-Length": str(len(body)),
        **target.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body


async def _reply(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length: " in head:
        return await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


# -- measuring


@dataclass
class Measured:
    """One measurement: calls a second, CPU microseconds per call, median and 99th percentile of latency in milliseconds."""

    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def measure(target: Target, connections: int, calls: int = CALLS) -> Measured:
    """Load `target` once."""
    cpu, since = target.cpu_s(), time.perf_counter()
    lasted = sorted(asyncio.run(_load(target, connections, calls)))
    took = time.perf_counter() - since
    count = len(lasted)
    cpu_us = (target.cpu_s() - cpu) / count * 1e6
    return Measured(count / took, cpu_us, statistics.median(lasted) * 1e3, lasted[int(count * 0.99)] * 1e3)


def _requests(direct: Target) -> int:
    host, _, port = direct.url.removeprefix("http://").partition("/")[0].partition(":")
    with socket.create_connection((host, int(port))) as asking:
        asking.sendall(b"GET /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b""
        while chunk := asking.recv(4_096):
            text += chunk
    return int(text.rpartition(b"\r\n\r\n")[2])


def _spread(values: Iterable[float]) -> tuple[float, str]:
    found = sorted(values)
    return statistics.median(found), f"{found[0]:.4g} .. {found[-1]:.4g}"


def figures() -> list[dict[str, Any]]:
    """Every figure as a record: figure, what, value, unit, range, goal, holds, command."""
    with ExitStack() as stack:
        direct = start_upstream(stack)
        omega, ready_s = start_omega(stack, direct.url)
        asyncio.run(_load(omega, 16, 160))
        before = _requests(direct)
        warm = 16 * (CALLS // 16)
        asyncio.run(_load(omega, 16, CALLS))
        per_call = (_requests(direct) - before) / warm
        rounds = [(measure(direct, 1, 400), measure(omega, 1, 400), measure(omega, 16), measure(omega, 64)) for _ in range(ROUNDS)]
        memory = omega.memory_mb()
    cpu = _spread(each[2].cpu_us for each in rounds)
    added = _spread(each[1].p50_ms - each[0].p50_ms for each in rounds)
    rate = _spread(each[3].rate for each in rounds)
    late = _spread(each[2].p99_ms for each in rounds)
    return [
        _record("G1", "CPU per governed call, 16 connections", cpu, "us", None),
        _record("G2", "added latency, median, one connection", added, "ms", added[0] < 1.0, "< 1"),
        _record("G3", "governed calls a second, 64 connections", rate, "calls/s", rate[0] >= 2_000, ">= 2000"),
        _record("G4", "requests to the tool server per call, warm", (per_call, ""), "requests", per_call == 1.0, "1.00"),
        _record("G5 p99", "99th percentile, 16 connections", late, "ms", None),
        _record("G6", "start to first governed reply", (ready_s, ""), "s", ready_s < 3, "< 3"),
        _record("G6 memory", "resident memory after the load", (memory, ""), "MB", memory < 130, "< 130"),
    ]


def _record(figure: str, what: str, value: tuple[float, str], unit: str, holds: bool | None, goal: str = "") -> dict[str, Any]:
    return {
        "figure": figure,
        "what": what,
        "value": round(value[0], 4),
        "unit": unit,
        "range": value[1],
        "goal": goal,
        "holds": holds,
        "command": COMMAND,
    }


def main() -> None:
    """Print the figures, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", nargs="?", choices=("serve-upstream",))
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    given = parser.parse_args()
    if given.mode == "serve-upstream":
        import uvicorn

        uvicorn.run(upstream, host="127.0.0.1", port=given.port, log_level="error", access_log=False)
        return
    found = figures()
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for each in found:
        held = {True: "yes", False: "no", None: ""}[each["holds"]]
        print(f"{each['figure']:10} {each['what']:45} {each['value']:>10} {each['unit']:9} {each['range']:24} {each['goal']:8} {held}")


if __name__ == "__main__":
    main()
