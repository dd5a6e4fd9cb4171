"""Two gateways behind a plain TCP balancer, one of them killed under load, over and over.

    python drills/gateways.py --kills 6 --workers 0 --seed 7

The balancer hands each connection to the next gateway, whoever it comes from. Clients of five kinds work through it the whole time: HTTP
and streams under idempotency keys, RPC over a WebSocket under keys, and MCP of both eras. What breaks off they ask again, as any client
does. With `--workers` the gateways only admit (`--role gateway`) and as many workers run the flows; these are killed as well. Afterwards
must hold:

    no failed call       every call of every client came to its answer, which was known beforehand
    no second one        each key has one execution, which is done; nothing is left running
    no lost session      each MCP client of 2025-11-25 used one session from the first call to the last, over several gateways
    nobody needed        what a killed gateway left running another went on with
    the log is sound     `omega verify`
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cluster as clusters
import httpx
from cluster import HERE, ROOT, Cluster, until, verified

from omega.adapters.mcp import Transport, Upstream
from omega.client import Client, Retry
from omega.host.embedded import Omega
from omega.host.searching import every
from omega.kernel.errors import OmegaError
from omega.kernel.journal import Status
from omega.kernel.ports import Search

GATEWAYS = 2
LEASE = "2s"
"""For how long what a killed process left behind is nobody's."""

FLOWS = ("ask", "book", "count")
"""Of `asked.py`, as every process serves them."""

LEAVING = ("OMG-R005", "OMG-S004", "OMG-G008")
"""Codes of a gateway that leaves, or has lost its database."""

AWAY = ("OMG-M001", "OMG-M002", "OMG-M003")
"""Codes of a tool server that cannot be reached, went away, or hangs."""

KINDS = ("http", "rpc", "mcp newer", "mcp older", "stream")
"""Of clients."""

CALLERS = 3
"""Clients of each kind."""

PATIENCE_S = 60.0
"""A call comes to its answer within this time, however often it has to be asked again."""

APART_S = (1.0, 2.5)
"""Between the return of a process that was killed and the next blow, in seconds."""

AGAIN_S = 0.05
END_S = 60.0
NEWER, OLDER = "2026-07-28", "2025-11-25"
META = {"io.modelcontextprotocol/protocolVersion": NEWER, "io.modelcontextprotocol/clientCapabilities": {}}
BROKEN = (httpx.TransportError, OmegaError, OSError, ConnectionError)
"""What a client sees of a gateway that was killed: it asks again."""


class Balancer:
    """Hands each connection to the next of `ports`, and knows nothing else. One that nobody takes goes to the one after it."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.served: Counter[int] = Counter()
        self._turns = itertools.count()
        self._open: dict[asyncio.StreamWriter, int] = {}

    def cut(self, port: int = 0) -> int:
        """Reset the connections that lead to `port` (0: all), without a word to either side; gives how many."""
        found = [writer for writer, led in self._open.items() if port in (0, led)]
        for writer in found:
            writer.transport.abort()
        return len(found)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen; gives the address that clients use."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            for _ in range(len(self.ports)):
                port = self.ports[next(self._turns) % len(self.ports)]
                try:
                    behind, ahead = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    continue
                self.served[port] += 1
                self._open[writer] = port
                with closing(ahead):
                    await joined(reader, writer, behind, ahead)
                self._open.pop(writer, None)
                return


async def joined(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: asyncio.StreamReader, ahead: asyncio.StreamWriter
) -> None:
    """Hand on what either side says to the other, until one has closed, or whoever runs this ends."""
    ways = [asyncio.create_task(_copy(*way)) for way in ((reader, ahead), (behind, writer))]
    with suppress(asyncio.CancelledError):  # the loop is closing
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for each in ways:
        each.cancel()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()


@dataclass
class Process:
    """One `omega up` of the installation, in its role."""

    role: str
    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    def listens(self) -> bool:
        """Whether it has said where it is: its port is known from then on."""
        if not self.port:
            told = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith('{"event"')]
            self.port = next((int(each["url"].rpartition(":")[2]) for each in told if each["event"] == "up"), 0)
        return bool(self.port)

    def is_up(self) -> bool:
        """Whether it has said where it is, and takes requests; raises when it ended instead."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.role} ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        if not self.listens():
            return False
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).status_code == 200
        return False


@dataclass
class Fleet:
    """The processes behind the balancer."""

    ground: Cluster
    balancer: Balancer
    lease: str = LEASE
    running: list[Process] = field(default_factory=list)
    lives: int = 0

    async def start(self, role: str) -> None:
        """Start one more, and wait until it serves."""
        made = self.spawn(role)
        await until(made.is_up, clusters.START_S, f"{role} {self.lives}")
        self._tell()

    def spawn(self, role: str) -> Process:
        """Start one more; it may not serve yet."""
        self.lives += 1
        log = self.ground.folder / f"up{self.lives}.log"
        command = [
            sys.executable,
            "-m",
            "omega",
            "up",
            *(f"{HERE / 'asked.py'}:{flow}" for flow in FLOWS),
            "--role",
            role,
            "--lease",
            self.lease,
            "--port",
            "0",
            "--json",
        ]
        with log.open("wb") as file:
            environment = self.ground.environment(f"up{self.lives}")
            process = subprocess.Popen(
                command, env={**clusters.os.environ, **environment}, cwd=self.ground.folder, stdout=file, stderr=file
            )
        made = Process(role, process, log)
        self.running.append(made)
        return made

    async def strike(self, which: Process) -> None:
        """Kill it, and start another one in its place."""
        which.process.send_signal(signal.SIGKILL)
        which.process.wait(clusters.STOP_S)
        self.running.remove(which)
        self._tell()
        await self.start(which.role)

    def _tell(self) -> None:
        self.balancer.ports = [each.port for each in self.running if each.role != "worker"]

    def end(self) -> None:
        """End every process that is left."""
        for each in self.running:
            each.process.kill()
            each.process.wait(clusters.STOP_S)


Call = Callable[[int], Awaitable[Any]]
"""One call about an item, whose answer is three times the item."""

Work = Callable[[str], AsyncIterator[Call]]
"""A client of a name, as what `asynccontextmanager` takes."""


@dataclass
class Load:
    """Clients at work, and what went wrong for them."""

    url: str
    passport: str
    stopped: bool = False
    done: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Work until it is told to stop."""
        await asyncio.gather(*(self._caller(kind, work, number) for kind, work in self.kinds().items() for number in range(CALLERS)))

    def kinds(self) -> dict[str, Work]:
        """What a client of each kind is made by."""
        return {"http": self._http, "rpc": self._rpc, "mcp newer": self._newer, "mcp older": self._older, "stream": self._stream}

    async def _caller(self, kind: str, work: Work, number: int) -> None:
        async with asynccontextmanager(work)(f"{kind} {number}") as call:
            for item in itertools.count(number * 1_000_000):
                if self.stopped:
                    return
                await self._asked(kind, call, item)

    async def _asked(self, kind: str, call: Callable[[int], Awaitable[Any]], item: int) -> None:
        """One call to its answer, asked again for as long as it takes."""
        began = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    found = await call(item)
                break
            except (*BROKEN, TimeoutError) as error:
                self.again[kind] += 1
                if time.monotonic() - began > PATIENCE_S:
                    self.wrong.append(f"{kind} {item} failed: {type(error).__name__} {error}")
                    return
                await asyncio.sleep(AGAIN_S)
        if found != item * 3:
            self.wrong.append(f"{kind} {item} gave {str(found)[:300]}")
        self.done[kind] += 1

    async def _http(self, name: str) -> AsyncIterator[Call]:
        async with Client(self.url, self.passport, retry=Retry(times=2)) as client:
            yield lambda item: client.run("ask", item, key=f"{name} {item}", timeout_s=PATIENCE_S)

    async def _stream(self, name: str) -> AsyncIterator[Call]:
        headers = {"authorization": f"Bearer {self.passport}", "accept": "text/event-stream", "connection": "close"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S, trust_env=False) as client:

            async def call(item: int) -> Any:
                key = {"idempotency-key": f"{name} {item}"}
                answer = await client.post(f"{self.url}/api/v1/flows/count/run", json=item, headers=key)
                told = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
                if answer.status_code in (502, 503, 504) or not told or told[-1].get("status") in (None, "running", "unknown"):
                    raise ConnectionError("broke off before the outcome")
                return told[-1].get("value", told[-1])

            yield call

    async def _rpc(self, name: str) -> AsyncIterator[Call]:
        async with Client(self.url, self.passport) as client:

            async def call(item: int) -> int:
                async with client.session() as rpc:
                    notice = {"type": "drill:said", "key": str(item), "data": {"item": item}}
                    told = await rpc.call("events.publish", notice, key=f"{name} {item}")
                    return int(told["key"]) * 3

            yield call

    async def _newer(self, name: str) -> AsyncIterator[Call]:
        async with self._posting() as post:

            async def call(item: int) -> Any:
                headers = {"mcp-protocol-version": NEWER, "mcp-method": "tools/call", "mcp-name": "orderly__add"}
                return _sum(await post(headers, "tools/call", {**_addition(item), "_meta": META}))

            yield call

    async def _older(self, name: str) -> AsyncIterator[Call]:
        session = ""
        async with self._posting() as post:

            async def call(item: int) -> Any:
                nonlocal session
                if not session:
                    wanted = {"protocolVersion": OLDER, "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}
                    session = (await post({}, "initialize", wanted)).headers["mcp-session-id"]
                    self.sessions.add(session)
                return _sum(await post({"mcp-protocol-version": OLDER, "mcp-session-id": session}, "tools/call", _addition(item)))

            yield call

    @asynccontextmanager
    async def _posting(self) -> AsyncIterator[Callable[[dict[str, str], str, dict[str, Any]], Awaitable[httpx.Response]]]:
        """A client that makes a new connection for each message, so that each may come to another gateway."""
        headers = {"authorization": f"Bearer {self.passport}", "accept": "application/json, text/event-stream", "connection": "close"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S, trust_env=False) as client:

            async def post(more: dict[str, str], method: str, params: dict[str, Any]) -> httpx.Response:
                body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                answer = await client.post(f"{self.url}/mcp", json=body, headers=more)
                if answer.status_code in (502, 503, 504):
                    raise ConnectionError(answer.text)
                return answer

            yield post


def _addition(item: int) -> dict[str, Any]:
    return {"name": "orderly__add", "arguments": {"a": item, "b": 2 * item}}


def _sum(answer: httpx.Response) -> Any:
    """What the tool server added; the whole answer where it is none."""
    result = answer.json().get("result", {})
    error = result.get("_meta", {}).get("omega/error", {})
    code = error.get("code", "")
    if code in LEAVING or code in AWAY or (code == "OMG-M007" and "status 5" in answer.text):  # the tool only reads: it may be asked again
        raise ConnectionError(code)
    return result.get("structuredContent", {}).get("result", answer.text)


@contextmanager
def tool_server() -> Iterator[str]:
    """A tool server on the official SDK; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/servers/sdk_mcp.py"), "http", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


async def accept(omega: Omega, url: str) -> None:
    """Accept the tool server's tools, once it is there."""
    upstream = Upstream(name="orderly", transport=Transport.HTTP, url=url)
    async with asyncio.timeout(clusters.START_S):
        while True:
            with suppress(OmegaError):
                await omega.accept(upstream, await omega.describe(upstream))
                return
            await asyncio.sleep(0.1)


async def _blows(fleet: Fleet, load: Load, kills: int, dice: random.Random) -> None:
    """Kill one after the other, each under load."""
    for _ in range(kills):
        before = load.done.total()
        await until(lambda now=before: load.done.total() > now, PATIENCE_S, "a call between two kills")
        await asyncio.sleep(dice.uniform(*APART_S))
        await fleet.strike(dice.choice(fleet.running))


async def _drill(ground: Cluster, kills: int, workers: int, dice: random.Random) -> list[str]:
    balancer = Balancer()
    fleet = Fleet(ground, balancer)
    with tool_server() as tools:
        async with Omega.open(ground.home) as omega, balancer.open() as url:
            await accept(omega, tools)
            load = Load(url, omega.passport())
            try:
                for role in ["gateway" if workers else "all"] * GATEWAYS + ["worker"] * workers:
                    await fleet.start(role)
                working = asyncio.create_task(load.run())
                await asyncio.wait({working, blows := asyncio.create_task(_blows(fleet, load, kills, dice))}, return_when="FIRST_COMPLETED")
                load.stopped = True
                for each in (working, blows):
                    await each
                wrong = [*load.wrong, *await _left(omega, load)]
            finally:
                fleet.end()
    said = {"calls": dict(load.done), "asked again": dict(load.again), "kills": kills, "gateways over time": len(balancer.served)}
    sys.stdout.write(f"{json.dumps(said)}\n")
    return [*wrong, *filter(None, [verified(ground.environment("verify"))])]


async def _left(omega: Omega, load: Load) -> list[str]:
    """What is wrong in the records."""

    def running() -> list[str]:
        found = omega.store.search(Search(status=(Status.RUNNING, Status.QUEUED, Status.WAITING, Status.IN_DOUBT, Status.DEAD), limit=500))
        return [f"{line.execution} of {line.flow} is {line.status}" for line in found]

    with suppress(TimeoutError):
        await until(lambda: not running(), END_S, "the end of what was left")
    wrong = running()
    for kind, flow in (("http", "ask"), ("stream", "count")):
        keyed = [line for line in every(omega.store, Search(flow=flow)) if line.execution.startswith("key-")]
        if len(keyed) != load.done[kind]:
            wrong.append(f"{load.done[kind]} calls of {kind} made {len(keyed)} executions")
        wrong += [f"{line.execution} is {line.status}" for line in keyed if line.status != Status.DONE]
    if len(load.sessions) != CALLERS:
        wrong.append(f"{CALLERS} MCP clients of {OLDER} had {len(load.sessions)} sessions")
    return wrong + [f"no call of {kind} came to an end" for kind in KINDS if not load.done[kind]]


def drill(folder: Path, kills: int, workers: int, seed: int) -> list[str]:
    """Run it in `folder`; gives everything that was wrong."""
    with clusters.cluster(folder) as (ground, _):
        return asyncio.run(_drill(ground, kills, workers, random.Random(seed)))  # noqa: S311 - which process is struck, and when


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(clusters.told("gateways", lambda folder: drill(folder, given.kills, given.workers, given.seed)))
