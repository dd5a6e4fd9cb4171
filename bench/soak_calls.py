"""Whether the memory of a gateway stays flat: `omega up` as a process, called over HTTP and MCP, its resident memory read as it goes.

    python bench/soak_calls.py 1000000 [--longest 25]        (or as the last part of python bench/soak.py)

It says how far it is at each `STRIDE` calls, and writes what it has seen so far to bench/soak/calls-<date>.json each time: a run that is
stopped before its end leaves what it found. With `--longest` no call begins after so many minutes.

Half of the calls run a pure flow over HTTP, half call a tool of a tool server over MCP 2026-07-28: trust, gate, journal and log are on for
each, as always. Every answer is checked. What is recorded grows on disk and is no part of this; what is measured is the slope of resident
memory over the second half of the calls (the first fills caches up to their bounds), in bytes per call by least squares.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "soak"
CONNECTIONS = 16
LOOKS = 60
"""How often memory is read."""

STRIDE = 50_000
"""After so many calls each it is told how far the count is, and written down."""

MEGABYTE = 1 << 20
Note = Callable[["Count"], None]
"""Is told of a count at each stride."""

MOST_SLOPE = 64.0
"""Bytes per call that resident memory may grow by: what a heap that is left in pieces costs, far below the size of any record."""

LEAST = 50_000
"""With fewer calls than this memory is not judged: they only fill caches."""

NEWEST = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": NEWEST, "io.modelcontextprotocol/clientCapabilities": {}}
FLOW = "from omega import flow\n\n\n@flow\ndef double(n: int) -> int:\n    return n * 2\n"
TOOL = {"name": "echo", "description": "says it", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


async def tool_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of a tool server that says what it is told."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            asked = json.loads(await reader.readexactly(length))
            result: dict[str, Any] = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
            if asked["method"] == "server/discover":
                result |= {"supportedVersions": [NEWEST], "capabilities": {"tools": {}}}
            elif asked["method"] == "tools/list":
                result["tools"] = [TOOL]
            else:
                result["content"] = [{"type": "text", "text": str(asked["params"]["arguments"]["n"])}]
            body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # the last: the loop is closing
        writer.close()


async def accepted(home: Path, port: int) -> str:
    """Accept the tool server in a new installation; gives a passport of its owner that lasts as long as the count."""
    from omega.adapters.mcp import Transport, Upstream
    from omega.host.clock import SystemClock, SystemEntropy
    from omega.host.embedded import Omega
    from omega.kernel.ids import PASSPORT, new_id

    async with Omega.open(home) as omega:
        upstream = Upstream(name="tools", transport=Transport.HTTP, url=f"http://127.0.0.1:{port}/mcp")
        await omega.accept(upstream, await omega.describe(upstream))
        now = SystemClock().now_us() / 1_000_000
        jti = new_id(PASSPORT, now_ms=int(now * 1_000), entropy=SystemEntropy().take(10))
        passport: str = omega.identity.authority.issue(
            tenant="local", principal="person:ada", groups=("owner",), capabilities=("*",), ttl_s=86_400, now=now, jti=jti
        )
        return passport


def over_http(host: str, passport: str, n: int) -> tuple[bytes, Callable[[bytes], bool]]:
    """A call of a flow, and whether an answer is its."""
    body = str(n).encode()
    head = f"POST /api/v1/flows/double/run HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {passport}\r\n"
    return _whole(head, body), lambda answer: answer == str(2 * n).encode()


def over_mcp(host: str, passport: str, n: int) -> tuple[bytes, Callable[[bytes], bool]]:
    """A call of a tool, and whether an answer is its."""
    params = {"name": "tools__echo", "arguments": {"n": n}, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params}).encode()
    head = f"POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {passport}\r\naccept: application/json\r\n"
    head += f"mcp-protocol-version: {NEWEST}\r\nmcp-method: tools/call\r\nmcp-name: tools__echo\r\n"
    return _whole(head, body), lambda answer: f'"text":"{n}"'.encode() in answer


def _whole(head: str, body: bytes) -> bytes:
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class Count:
    """Calls made so far, how many were wrong, and memory as it went."""

    def __init__(self, wanted: int, pid: int, longest_s: float, note: Note) -> None:
        self.wanted, self.pid, self._note = wanted, pid, note
        self.begun = self.done = 0
        self.wrong: list[str] = []
        self.looks: list[tuple[int, int]] = []
        self.strides: list[dict[str, float]] = []
        self.began = time.monotonic()
        self._ends = self.began + longest_s

    async def work(self, url: str, passport: str) -> None:
        """Call on one connection until enough were made, or the time is over."""
        host = url.partition("://")[2]
        reader, writer = await asyncio.open_connection(host.partition(":")[0], int(host.partition(":")[2]))
        while self.begun < self.wanted and len(self.wrong) < 5 and time.monotonic() < self._ends:
            self.begun += 1
            data, good = (over_http, over_mcp)[self.begun % 2](host, passport, self.begun)
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            body = await reader.readexactly(length)
            if not good(body):
                self.wrong.append(f"{head[:60]!r} {body[:300]!r}")
            self._count()
        writer.close()

    def _count(self) -> None:
        self.done += 1
        if self.done % max(1, self.wanted // LOOKS) == 0:
            self.looks.append((self.done, self.resident()))
        if self.done % STRIDE == 0:
            self.strides.append({
                "calls": self.done,
                "at_s": round(self.took_s, 1),
                "rss_mb": round(self.resident() / MEGABYTE, 1),
                "cpu_s": round(self.cpu_s(), 1),
            })  # fmt: skip
            self._note(self)

    @property
    def took_s(self) -> float:
        """Seconds since the first call."""
        return time.monotonic() - self.began

    def resident(self) -> int:
        """The resident memory of the gateway, in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def cpu_s(self) -> float:
        """Processor time that the gateway has used, in seconds: fields 14 and 15 of proc(5) stat."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def slope(self) -> float:
        """Bytes per call over the second half, by least squares."""
        points = self.looks[len(self.looks) // 2 :]
        if not points:
            return 0.0
        across, up = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
        wide = sum((x - across) ** 2 for x, _ in points)
        return sum((x - across) * (y - up) for x, y in points) / wide if wide else 0.0

    def found(self) -> dict[str, Any]:
        """What was seen so far."""
        slope = self.slope()
        shown = [round(size / MEGABYTE, 1) for _, size in self.looks] or [0.0]
        return {
            "calls": self.done,
            "per_s": round(self.done / self.took_s),
            "bytes_per_call": round(slope, 1),
            "rss_mb": {"first": shown[0], "half": shown[len(shown) // 2], "last": shown[-1], "most": max(shown)},
            "strides": self.strides,
            "wrong": self.wrong + ([f"memory grows by {slope:.0f} bytes per call"] if self.done >= LEAST and slope > MOST_SLOPE else []),
        }


async def counted(calls: int, folder: Path, longest_s: float, note: Note) -> dict[str, Any]:
    """Make so many calls; what was seen."""
    server = await asyncio.start_server(tool_server, "127.0.0.1", 0)
    passport = await accepted(folder / "home", server.sockets[0].getsockname()[1])
    (folder / "soaked.py").write_text(FLOW)
    command = [
        sys.executable,
        "-m",
        "omega",
        "up",
        "--json",
        "--port",
        "0",
        "--home",
        str(folder / "home"),
        f"{folder / 'soaked.py'}:double",
    ]
    process = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMEGA_LOG": ""})
    try:
        assert process.stdout is not None
        told = json.loads(await asyncio.to_thread(process.stdout.readline))
        count = Count(calls, told["pid"], longest_s, note)
        await asyncio.gather(*(count.work(told["url"], passport) for _ in range(CONNECTIONS)))
        found = count.found()
    finally:
        process.terminate()
        process.wait(60)
        server.close()
    disk = sum(path.stat().st_size for path in (folder / "home").rglob("*") if path.is_file())
    return found | {"disk_bytes_per_call": round(disk / max(1, count.done))}


def say(count: Count) -> None:
    """Say how far a count is."""
    last = count.strides[-1]
    so_far = f"{count.done:,} of {count.wanted:,} calls in {last['at_s']:.0f} s"
    sys.stderr.write(f"{so_far}, {last['rss_mb']} MB resident, {last['cpu_s']:.0f} s of processor\n")


def calls(wanted: int, longest_s: float = float("inf"), note: Note = say) -> dict[str, Any]:
    """The count over `wanted` calls, on an installation of its own that is removed afterwards."""
    if not wanted:
        return {"calls": 0, "wrong": []}
    with tempfile.TemporaryDirectory(prefix="omega-calls-") as folder:
        return asyncio.run(counted(wanted, Path(folder), longest_s, note))


def keep(path: Path, head: dict[str, Any], found: dict[str, Any], *, ended: bool) -> None:
    """Write what is known down."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(head | {"ended": ended, "calls": found}, indent=1) + "\n")


def main() -> int:
    """Make the calls that are asked for; 1 when anything was wrong."""
    ask = argparse.ArgumentParser(description="calls through one gateway, whose memory has to stay flat")
    ask.add_argument("calls", type=int, nargs="?", default=1_000_000)
    ask.add_argument("--longest", type=float, default=float("inf"), help="minutes after which no call begins")
    ask.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help="write the result under bench/soak/")
    given = ask.parse_args()
    began = time.gmtime()
    path = RESULTS / f"calls-{time.strftime('%Y-%m-%d-%H%M', began)}.json"
    head = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", began),
        "command": " ".join(["python bench/soak_calls.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 1),
    }
    write = partial(keep, path, head)

    def note(count: Count) -> None:
        say(count)
        if given.keep:
            write(count.found(), ended=False)

    found = calls(given.calls, given.longest * 60, note)
    if given.keep:
        write(found, ended=True)
        sys.stderr.write(f"written to {path}\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
