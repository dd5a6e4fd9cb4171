"""What goes wrong in the availability drill, one thing at a time, and those who put it right again.

Around any installation there are three who do not belong to it: a *supervisor* that starts what has ended once more, as `Restart=always` of
systemd does; a *balancer* that asks each gateway's `/readyz` and hands connections to those that are ready; and a *person in charge* who
settles what is in doubt from the target's own records. All else Omega does by itself.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import Any

import cluster as clusters
import httpx
import witness
from cluster import ROOT, Cluster, until
from gateways import Balancer, Fleet, Process, joined

from omega.host.embedded import Omega
from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.journal import Status, name_of
from omega.kernel.past import Past
from omega.kernel.ports import Search
from omega.runtime import recovery
from servers.postgres import PostgresServer

GATEWAYS, WORKERS = 2, 3
RESTART_S = 0.1
"""How long a supervisor waits before it starts anew what has ended: what systemd does unless told otherwise."""

PROBE_S, PROBE_LIMIT_S = 0.25, 2.0
"""How often the balancer asks a gateway whether it is ready, and how long it waits for the answer, in seconds."""

FALLS = 2
"""So many probes in a row that get no answer take a gateway out, and its connections are cut, unless no other one is left. One that says it
is not ready is taken out at once, and ends what it has begun."""

PAUSE_S = (1.0, 4.0)
"""For how long something is paused: up to twice a lease."""

AWAY_S = (0.2, 1.0)
"""How long something that was killed stays away before anybody starts it."""

WELL_S = 90.0
"""Everything is ready again within this time after a fault."""

LOOK_S = 0.05
TEND_S = 0.1
"""How often the person in charge looks for what is in doubt, in seconds."""

IN_HANDS = ("OMG-R010", "OMG-S006", "OMG-I005")
"""Codes that say that somebody else has it in hand by now."""


class Supervision:
    """Keeps every process of a fleet running, and the balancer told of those gateways that are ready."""

    def __init__(self, fleet: Fleet, balancer: Balancer) -> None:
        self.fleet, self.balancer = fleet, balancer
        self.restarts = 0
        self._silent: dict[int, int] = {}

    def well(self) -> bool:
        """Whether every process that should be there has begun to serve, and the balancer knows every gateway."""
        running = self.fleet.running
        whole = len(running) == GATEWAYS + WORKERS and all(each.listens() and each.process.poll() is None for each in running)
        return whole and {each.port for each in running if each.role == "gateway"} == set(self.balancer.ports)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Supervise for as long as this is open."""
        async with httpx.AsyncClient(timeout=PROBE_LIMIT_S, trust_env=False) as probing:
            tasks = [asyncio.create_task(self._restart()), asyncio.create_task(self._probe(probing))]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _restart(self) -> None:
        while True:
            for process in [each for each in self.fleet.running if each.process.poll() is not None]:
                self.fleet.running.remove(process)
                await asyncio.sleep(RESTART_S)
                self.fleet.spawn(process.role)
                self.restarts += 1
            await asyncio.sleep(LOOK_S)

    async def _probe(self, probing: httpx.AsyncClient) -> None:
        while True:
            gateways = [each for each in self.fleet.running if each.role == "gateway" and each.listens()]
            said = await asyncio.gather(*(self._ready(probing, each.port) for each in gateways))
            self.balancer.ports = [each.port for each, ready in zip(gateways, said, strict=True) if ready]
            await asyncio.sleep(PROBE_S)

    async def _ready(self, probing: httpx.AsyncClient, port: int) -> bool:
        try:
            answer = await probing.get(f"http://127.0.0.1:{port}/readyz")
        except httpx.TransportError:
            self._silent[port] = self._silent.get(port, 0) + 1
            if self._silent[port] < FALLS or self.balancer.ports == [port]:
                return port in self.balancer.ports
            self.balancer.cut(port)
            return False
        self._silent[port] = 0
        return answer.status_code == 200


class Tools:
    """A tool server on the official SDK, behind an address that stays: it is killed, hangs, or answers 500 to everything."""

    def __init__(self) -> None:
        self.failing = False
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Run it; gives its address."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.start()
        try:
            async with server:
                yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        finally:
            self.kill()

    def start(self) -> None:
        """Start it; it may not listen yet."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self._port = listening.getsockname()[1]
        command = [sys.executable, str(ROOT / "tests/servers/sdk_mcp.py"), "http", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it without a word."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(clusters.STOP_S)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    async def answers(self) -> bool:
        """Whether it takes connections."""
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.close()
            return True
        return False

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            if self.failing:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                await writer.drain()
                return
            behind, ahead = await asyncio.open_connection("127.0.0.1", self._port)
            with closing(ahead):
                await joined(reader, writer, behind, ahead)


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault: its kind, and from when until when it lasted, in seconds since the drill began."""

    kind: str
    began: float
    ended: float


@dataclass
class Faults:
    """What can go wrong. Each kind strikes, and returns once everything is ready again."""

    fleet: Fleet
    supervision: Supervision
    server: PostgresServer
    tools: Tools
    dice: random.Random
    struck: list[Struck] = field(default_factory=list)

    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Every kind, by name."""
        return {
            "gateway killed": lambda: self._ended("gateway", signal.SIGKILL),
            "gateway restarted": lambda: self._ended("gateway", signal.SIGTERM),
            "gateway paused": lambda: self._paused("gateway"),
            "worker killed": lambda: self._ended("worker", signal.SIGKILL),
            "worker restarted": lambda: self._ended("worker", signal.SIGTERM),
            "worker paused": lambda: self._paused("worker"),
            "database killed": lambda: self._database(self.server.kill),
            "database restarted": lambda: self._database(self.server.stop),
            "tool server killed": self._tools_killed,
            "tool server hangs": self._tools_hang,
            "tool server answers 500": self._tools_fail,
            "connections cut": self._cut,
        }

    async def strike(self, kind: str, since: float) -> None:
        """Let one thing go wrong; `since` is when the drill began (monotonic)."""
        began = time.monotonic() - since
        await self.kinds()[kind]()
        await until(self.supervision.well, WELL_S, f"an installation that is ready again after {kind}")
        self.struck.append(Struck(kind, began, time.monotonic() - since))

    def _victim(self, role: str) -> Process:
        return self.dice.choice([each for each in self.fleet.running if each.role == role and each.process.poll() is None])

    async def _ended(self, role: str, number: int) -> None:
        victim = self._victim(role)
        victim.process.send_signal(number)
        await until(lambda: victim not in self.fleet.running, WELL_S, f"the end of a {role}")

    async def _paused(self, role: str) -> None:
        victim = self._victim(role)
        victim.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(self.dice.uniform(*PAUSE_S))
        victim.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(2 * PROBE_S)  # until the balancer has heard of it

    async def _database(self, end: Callable[[], None]) -> None:
        await asyncio.to_thread(end)
        await asyncio.sleep(self.dice.uniform(*AWAY_S))
        await asyncio.to_thread(self.server.start)
        await asyncio.sleep(2 * PROBE_S)  # until the balancer has heard of it

    async def _tools_killed(self) -> None:
        await asyncio.to_thread(self.tools.kill)
        await asyncio.sleep(self.dice.uniform(*AWAY_S))
        self.tools.start()
        while not await self.tools.answers():  # noqa: ASYNC110 - a program of somebody else, which tells nobody
            await asyncio.sleep(LOOK_S)

    async def _tools_hang(self) -> None:
        self.tools.signal(signal.SIGSTOP)
        await asyncio.sleep(self.dice.uniform(*PAUSE_S))
        self.tools.signal(signal.SIGCONT)

    async def _tools_fail(self) -> None:
        self.tools.failing = True
        await asyncio.sleep(self.dice.uniform(*PAUSE_S))
        self.tools.failing = False

    async def _cut(self) -> None:
        self.supervision.balancer.cut()


class Charge:
    """The person in charge: settles writes that are in doubt from what the witness has seen, in a thread with an engine of its own."""

    def __init__(self, ground: Cluster) -> None:
        self.ground = ground
        self.settled = self.redriven = 0
        self._stop = threading.Event()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Be in charge for as long as this is open."""
        working = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(self._tend())))
        try:
            yield
        finally:
            self._stop.set()
            await working

    async def _tend(self) -> None:
        while not self._stop.is_set():
            with suppress(StorageError):  # the database is away: open it again
                async with Omega.open(self.ground.home) as omega:
                    while not self._stop.is_set():
                        for line in omega.store.search(Search(status=(Status.IN_DOUBT, Status.DEAD), limit=500)):
                            await self._look_after(omega, line.execution, dead=line.status == Status.DEAD)
                        await asyncio.sleep(TEND_S)
            await asyncio.sleep(TEND_S)

    async def _look_after(self, omega: Omega, execution: str, *, dead: bool) -> None:
        try:
            if dead:
                await omega.decide(execution, "redrive", {})
                self.redriven += 1
                return
            item = recovery.load(omega.world, execution)[2].input
            for step in Past(omega.store.rows(execution)).doubts():
                await omega.decide(execution, "resolve", self._seen(step.position, item))
                self.settled += 1
        except OmegaError as error:
            if error.code not in IN_HANDS:
                raise

    def _seen(self, position: str, item: Any) -> dict[str, Any]:
        """What became of a write, as the witness has it."""
        lines = witness.read(self.ground.witness)
        done = any(line.kind == "write" and line.step == name_of(position) and line.item == str(item) for line in lines)
        return {"step": position, "done": done, "value": item * 3 if done else None}
