"""Figures U3 and G6: how quick the API is under a steady load, how soon it is there, what it weighs. `python bench/gateway.py` prints them.

U3  time from the moment a request was due to its whole answer, at 100 requests a second (open loop: requests are sent when they are due,
    whether or not earlier ones were answered, so a stall counts for all that it holds up), for SECONDS seconds, in RUNS runs:
    six in ten a governed call of a pure flow, two a governed read of a service, one a page of the list, one an account of an execution.
G6  from the start of the process to the answer of its first governed call; and its memory (RSS) after the load.

One `omega up` process on a fresh folder (SQLite) and one client process, on the same machine. The client writes HTTP itself, on 16
connections, so that it takes little of the processor that is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omega.host.clock import SystemClock, SystemEntropy
from omega.host.identity import Identity
from omega.host.settings import Settings

RATE = int(os.environ.get("OMEGA_BENCH_RATE", "100"))
"""Requests a second."""

SECONDS = float(os.environ.get("OMEGA_BENCH_SECONDS", "10"))
RUNS = int(os.environ.get("OMEGA_BENCH_RUNS", "7"))
CONNECTIONS = 16
COMMAND = "python bench/gateway.py"
FLOW = """from omega import flow

@flow
def double(n: int) -> int:
    return n * 2
"""


class Client:
    """A pool of connections; each request takes a free one."""

    def __init__(self, url: str, token: str) -> None:
        self.place = urlsplit(url)
        self.shown = f"host: {self.place.netloc}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        self.free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def open(self, connections: int) -> None:
        for _ in range(connections):
            self.free.put_nowait(await asyncio.open_connection(self.place.hostname, self.place.port))

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer. Raises RuntimeError for anything but 200."""
        reader, writer = pair = await self.free.get()
        head = f"{method} {path} HTTP/1.1\r\n{self.shown}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in answer.split(b"\r\n") if line.startswith(b"content-length:"))
        content = await reader.readexactly(length)
        self.free.put_nowait(pair)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{method} {path}: {answer[:40]!r} {content[:200]!r}")
        return content

    def close(self) -> None:
        while not self.free.empty():
            self.free.get_nowait()[1].close()


def request(number: int, execution: str) -> tuple[str, str, bytes]:
    """The request at a place in the mix."""
    kind = number % 10
    if kind < 6:
        return "POST", "/api/v1/flows/double/run", b"%d" % number
    if kind < 8:
        return "GET", "/api/v1/insights/summary?hours=0.001", b""
    return ("GET", "/api/v1/executions?limit=20", b"") if kind == 8 else ("GET", f"/api/v1/executions/{execution}", b"")


async def load(client: Client, execution: str) -> list[float]:
    """Milliseconds from due to answered, of every request."""
    took: list[float] = []

    async def one(number: int, due: float) -> None:
        await client.ask(*request(number, execution))
        took.append((time.perf_counter() - due) * 1_000)

    began, tasks = time.perf_counter() + 0.1, []
    for number in range(int(RATE * SECONDS)):
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    return took


def started(home: Path) -> tuple[subprocess.Popen[str], str, float]:
    """The process, its address, and when it was started."""
    flow = home.parent / "flow.py"
    flow.write_text(FLOW)
    began = time.perf_counter()
    command = [sys.executable, "-m", "omega", "up", str(flow), "--port", "0", "--json", "--home", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"], began


def rss_mb(pid: int) -> float:
    """Resident memory (proc(5)), in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1_000


def cpu_s(pid: int) -> float:
    """Processor time that the process has taken, in seconds."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def measured(home: Path) -> dict[str, float]:
    """One run on a fresh folder."""
    process, url, began = started(home)
    try:
        identity = Identity.load(Settings.load(home), SystemEntropy())
        client = Client(url, identity.passport("", now_us=SystemClock().now_us()))
        await client.open(CONNECTIONS)
        await client.ask("POST", "/api/v1/flows/double/run", b"1")
        first_s = time.perf_counter() - began
        execution = json.loads(await client.ask("GET", "/api/v1/executions?limit=1"))["executions"][0]["execution"]
        before = cpu_s(process.pid)
        took = sorted(await load(client, execution))
        spent, memory = cpu_s(process.pid) - before, rss_mb(process.pid)
        client.close()
    finally:
        process.terminate()
        process.wait(30)
    return {
        "first_s": first_s,
        "p50_ms": took[len(took) // 2],
        "p95_ms": took[int(len(took) * 0.95)],
        "p99_ms": took[int(len(took) * 0.99)],
        "cpu_ms": spent / len(took) * 1_000,
        "rss_mb": memory,
    }


def figures(runs: int = RUNS) -> list[dict[str, Any]]:
    """The records of U3 and G6: medians of so many runs, with their range."""
    found: list[dict[str, float]] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            found.append(asyncio.run(measured(Path(folder) / "home")))
    rows = (
        ("U3", "p95 of the API at 100 requests/s", "ms", "p95_ms", 200.0),
        ("U3/p50", "the same, median", "ms", "p50_ms", None),
        ("U3/p99", "the same, 99th percentile", "ms", "p99_ms", None),
        ("U3/cpu", "CPU of the process per request", "ms", "cpu_ms", None),
        ("G6", "start to first governed call", "s", "first_s", 3.0),
        ("G6/memory", "memory of the process after the load", "MB", "rss_mb", 130.0),
    )
    return [_record(name, what, unit, [run[key] for run in found], below) for name, what, unit, key, below in rows]


def _record(name: str, what: str, unit: str, values: list[float], below: float | None) -> dict[str, Any]:
    value = round(statistics.median(values), 3)
    return {
        "id": name,
        "what": what,
        "value": value,
        "unit": unit,
        "range": [round(min(values), 3), round(max(values), 3)],
        "goal": None if below is None else f"< {below:g}",
        "holds": below is None or value < below,
        "peer": "",
        "command": COMMAND,
    }


def main() -> None:
    """Print the figures: median of the runs, with their range."""
    print(f"{COMMAND}   {RUNS} runs of {SECONDS:g} s at {RATE} requests/s   Python {platform.python_version()}, {os.cpu_count()} cores")
    for each in figures():
        held = "" if each["goal"] is None else "holds" if each["holds"] else "FALLS SHORT"
        spread = f"({each['range'][0]:.2f} .. {each['range'][1]:.2f})"
        print(f"{each['id']:<10} {each['what']:<40}{each['value']:9.2f} {each['unit']:<3} {spread}  {each['goal'] or '':<6} {held}")


if __name__ == "__main__":
    main()
