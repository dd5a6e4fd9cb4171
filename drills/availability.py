"""Availability: the whole house under a steady load, while one thing after the other goes wrong.

    python drills/availability.py --minutes 15 --rate 8 --seed 1       writes bench/soak/availability-<date>.json

PostgreSQL, two gateways behind a plain TCP balancer, three workers, a real MCP server, and clients of six kinds: reads, writes, streams,
RPC over a WebSocket, MCP of both eras. Calls arrive by chance at a fixed rate, whether earlier ones have been answered or not, so that an
outage counts with every call that fell into it. The faults are in `faults.py`; they are drawn from a seed, each kind once before any twice.

Each call has DEADLINE_S. What breaks off, and what is refused with a code that says "not now", its client asks again as the client library
does (`omega.client.retrying`), under the same idempotency key where there is one. Then

    availability = calls that came to the right answer within their deadline / calls made

told with and without asking again, for each kind of fault, with the longest stretch in which no call was answered. The witness counts what
happened: no write twice, none lost that was answered, none left open; and `omega verify` holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cluster as clusters
import httpx
import witness
from cluster import ROOT, Cluster, doubled, until, verified
from faults import GATEWAYS, WORKERS, Charge, Faults, Struck, Supervision, Tools
from gateways import Balancer, Call, Fleet, Load, Work, accept

from omega.client import Client, Retry
from omega.client.retrying import passes
from omega.host.clock import SystemClock, SystemEntropy
from omega.host.embedded import Omega
from omega.kernel.errors import OmegaError
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.journal import Status
from omega.kernel.ports import Search
from servers.postgres import PostgresServer

DEADLINE_S = 20.0
"""How long a call may take, with everything that is asked again."""

AGAIN = Retry(times=40, longest_s=1.0)
"""How often, and how far apart, a client asks again: until the deadline, about once a second in the end."""

DOUBT = "OMG-R006"
"""The code of a write whose fate is not known yet: its caller asks again, and learns it once somebody has looked."""

WAITS = ("OMG-R010", DOUBT)
"""Codes that say that the execution which a key stands for is under way."""

LEASE = "4s"
"""For how long what a killed process left behind is nobody's: shorter than usual (10 s), as everything in here follows closely."""

APART_S = (3.0, 8.0)
"""Between the end of one fault and the next, in seconds."""

AFTER_S = 2.0
"""A call that began so long after the end of a fault still counts with it."""

END_S = 60.0
TTL_S = 4 * 3_600
RESULTS = ROOT / "bench" / "soak"
_ATTEMPTS: ContextVar[list[str]] = ContextVar("attempts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Retry):
    """The client library's own policy, which notes each repeat."""

    def wait_s(self, repeat: int, chance: float, asked_s: float | None) -> float:
        """As the library waits."""
        _ATTEMPTS.get().append("asked again")
        return Retry.wait_s(self, repeat, chance, asked_s)


@dataclass(frozen=True, slots=True)
class Made:
    """One call: its kind and item, when it began (seconds since the drill did), how long it took, why it was asked again each time, and
    what was wrong in the end (empty: the right answer)."""

    kind: str
    item: int
    began: float
    took_s: float
    again: tuple[str, ...]
    wrong: str


@dataclass
class Arrivals(Load):
    """Calls that arrive `rate` times a second, and what came of each."""

    rate: float = 10.0
    dice: random.Random = field(default_factory=random.Random)
    since: float = field(default_factory=time.monotonic)
    made: list[Made] = field(default_factory=list)

    def kinds(self) -> dict[str, Work]:
        """Writes besides those of the other drill."""
        return {**super().kinds(), "http": self._reads, "write": self._writes}

    async def run(self) -> None:
        """Make calls until it is told to stop, and see all of them to their end."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as under_way:
            clients: list[tuple[str, Call]] = []
            for kind, work in self.kinds().items():
                clients.append((kind, await stack.enter_async_context(asynccontextmanager(work)(kind))))
            await self._made("mcp older", dict(clients)["mcp older"], 0)  # opens its session
            item, next_at = 0, time.monotonic()
            while not self.stopped:
                next_at += self.dice.expovariate(self.rate)
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))
                item += 1
                under_way.create_task(self._made(*clients[item % len(clients)], item))

    async def _made(self, kind: str, call: Call, item: int) -> None:
        began, again = time.monotonic(), []
        _ATTEMPTS.set(again)
        wrong = ""
        try:
            async with asyncio.timeout(DEADLINE_S):
                wrong = await self._answered(call, item, again)
        except TimeoutError:
            wrong = f"no answer within {DEADLINE_S:g} s ({', '.join(f'{n} times {why}' for why, n in Counter(again).items())})"
        self.made.append(Made(kind, item, began - self.since, time.monotonic() - began, tuple(again), wrong))

    async def _answered(self, call: Call, item: int, again: list[str]) -> str:
        """What was wrong with the answer, in the end."""
        while True:
            try:
                found = await call(item)
                return "" if found == item * 3 else f"the answer was {str(found)[:300]}"
            except (httpx.TransportError, OSError) as error:
                why = type(error).__name__
            except OmegaError as error:
                if not passes(error) and error.code not in WAITS:
                    return f"{error.code} {error.cause}"[:300]
                why = error.code
            again.append(why)
            await asyncio.sleep(AGAIN.wait_s(len(again), random.random(), None))  # noqa: S311 - spreads clients out

    async def _reads(self, name: str) -> AsyncIterator[Call]:
        async with self._client() as client:
            yield lambda item: client.run("ask", item, key=f"{name} {item}", timeout_s=DEADLINE_S)

    async def _writes(self, name: str) -> AsyncIterator[Call]:
        async with self._client() as client:
            yield lambda item: client.run("book", item, key=f"{name} {item}", timeout_s=DEADLINE_S)

    def _client(self) -> Client:
        return Client(self.url, self.passport, retry=Told(times=AGAIN.times, longest_s=AGAIN.longest_s))


# -- what came of it


def share(made: list[Made], *, first: bool = False) -> float:
    """The part of the calls that came to the right answer; with `first` without being asked again."""
    right = sum(not each.wrong and not (first and each.again) for each in made)
    return round(right / len(made), 6) if made else 1.0


def stretch(made: list[Made]) -> float:
    """The longest time (seconds) in which no call was answered rightly."""
    ends = sorted([0.0, *(each.began + each.took_s for each in made if not each.wrong)])
    return round(max((later - sooner for sooner, later in pairwise(ends)), default=0.0), 2)


def spread(made: list[Made]) -> dict[str, float]:
    """How long right answers took, in seconds."""
    took = sorted(each.took_s for each in made if not each.wrong) or [0.0]
    return {name: round(took[min(len(took) - 1, int(len(took) * at))], 3) for name, at in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))}


def during(made: list[Made], struck: list[Struck]) -> list[Made]:
    """The calls that were under way in one of the faults, or began soon after."""
    return [one for one in made if any(one.began < each.ended + AFTER_S and one.began + one.took_s > each.began for each in struck)]


def by_fault(made: list[Made], struck: list[Struck]) -> dict[str, dict[str, Any]]:
    """For each kind of fault what became of the calls it met."""
    found = {}
    for kind in dict.fromkeys(each.kind for each in struck):
        mine = [each for each in struck if each.kind == kind]
        met = during(made, mine)
        found[kind] = {
            "times": len(mine),
            "until_ready_s": round(max(each.ended - each.began for each in mine), 1),
            "calls": len(met),
            "without_asking_again": share(met, first=True),
            "available": share(met),
            "longest_call_s": spread(met)["most"],
        }
    return found


@dataclass
class Drill:
    """One drill on an open cluster."""

    ground: Cluster
    server: PostgresServer
    seconds: float
    rate: float
    seed: int
    only: str = ""
    wrong: list[str] = field(default_factory=list)

    async def run(self) -> dict[str, Any]:
        """All of it; gives what was seen."""
        dice = random.Random(self.seed)  # noqa: S311 - what goes wrong when
        balancer, tools = Balancer(), Tools()
        fleet = Fleet(self.ground, balancer, LEASE)
        supervision = Supervision(fleet, balancer)
        faults = Faults(fleet, supervision, self.server, tools, dice)
        charge = Charge(self.ground)
        try:
            async with tools.open() as address, balancer.open() as url:
                passport = await self._prepared(address)
                for role in ["gateway"] * GATEWAYS + ["worker"] * WORKERS:
                    fleet.spawn(role)
                async with supervision.at_work(), charge.at_work():
                    await until(supervision.well, clusters.START_S, "the start of the gateways")
                    load = Arrivals(url, passport, rate=self.rate, dice=random.Random(self.seed + 1))  # noqa: S311 - when calls arrive
                    await self._struck(load, faults)
                    await self._rest()
        finally:
            fleet.end()
        self._judge(load.made)
        return self._told(load, faults, supervision, charge)

    async def _prepared(self, address: str) -> str:
        """Accept the tool server; gives a passport of the owner that lasts as long as the drill."""
        async with Omega.open(self.ground.home) as omega:
            await accept(omega, address)
            now = SystemClock().now_us() / 1_000_000
            jti = new_id(PASSPORT, now_ms=int(now * 1_000), entropy=SystemEntropy().take(10))
            made: str = omega.identity.authority.issue(
                tenant="local", principal="person:ada", groups=("owner",), capabilities=("*",), ttl_s=TTL_S, now=now, jti=jti
            )
            return made

    async def _struck(self, load: Arrivals, faults: Faults) -> None:
        """Let one thing after the other go wrong under load, until the time is over."""
        working = asyncio.create_task(load.run())
        ends, left = load.since + self.seconds, list[str]()
        while time.monotonic() < ends and not working.done():
            await asyncio.sleep(faults.dice.uniform(*APART_S))
            kinds = [kind for kind in sorted(faults.kinds()) if self.only in kind]
            left = left or faults.dice.sample(kinds, len(kinds))
            kind = left.pop()
            try:
                await faults.strike(kind, load.since)
            except TimeoutError as error:
                self.wrong.append(str(error))
                break
            sys.stderr.write(f"{time.monotonic() - load.since:6.1f} s  {kind:24} {len(load.made)} calls, {share(load.made):.4%}\n")
        await asyncio.sleep(APART_S[1])
        load.stopped = True
        await working

    async def _rest(self) -> None:
        """Wait until nothing is under way any more; what is left then is wrong."""
        open_ones = (Status.RUNNING, Status.QUEUED, Status.WAITING, Status.IN_DOUBT, Status.DEAD)
        async with Omega.open(self.ground.home) as omega:

            def left() -> list[str]:
                return [
                    f"{each.execution} of {each.flow} is {each.status}" for each in omega.store.search(Search(status=open_ones, limit=50))
                ]

            try:
                await until(lambda: not left(), END_S, "the end of what was left")
            except TimeoutError:
                self.wrong += left()

    def _judge(self, made: list[Made]) -> None:
        """Compare what was answered with what the witness saw."""
        lines = list(witness.read(self.ground.witness))
        self.wrong += doubled(lines)
        booked = {int(line.item) for line in lines if line.kind == "write"}
        lost = [each.item for each in made if each.kind == "write" and not each.wrong and each.item not in booked]
        self.wrong += [f"item {item} was answered, and never written" for item in lost]
        self.wrong += list(filter(None, [verified(self.ground.environment("verify"))]))

    def _told(self, load: Arrivals, faults: Faults, supervision: Supervision, charge: Charge) -> dict[str, Any]:
        made = load.made
        kinds = {kind: [each for each in made if each.kind == kind] for kind in sorted({each.kind for each in made})}
        return {
            "seconds": round(max((each.began for each in made), default=0.0), 1),
            "calls": len(made),
            "available": share(made),
            "without_asking_again": share(made, first=True),
            "longest_stretch_without_an_answer_s": stretch(made),
            "took_s": spread(made),
            "faults": by_fault(made, faults.struck),
            "calls_by_kind": {
                kind: {"calls": len(mine), "available": share(mine), "without_asking_again": share(mine, first=True), **spread(mine)}
                for kind, mine in kinds.items()
            },
            "asked_again": dict(Counter(why for each in made for why in each.again)),
            "failed": [f"{each.kind} {each.item} at {each.began:.1f} s: {each.wrong}" for each in made if each.wrong][:50],
            "restarts": supervision.restarts,
            "settled": charge.settled,
            "redriven": charge.redriven,
            "wrong": self.wrong,
        }


def drill(folder: Path, seconds: float, rate: float, seed: int, only: str = "") -> dict[str, Any]:
    """Run it in `folder`; gives what was seen, with what was wrong."""
    with clusters.cluster(folder) as (ground, server):
        return asyncio.run(Drill(ground, server, seconds, rate, seed, only).run())


def main() -> int:
    """Run it as it is asked for; 1 when fewer calls came to their answer than `--least`, or anything was wrong."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--minutes", type=float, default=15.0)
    ask.add_argument("--rate", type=float, default=8.0, help="calls per second")
    ask.add_argument("--least", type=float, default=0.999, help="the part of the calls that has to come to its answer")
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--only", default="", help="faults with this in their name alone: database, gateway, worker, tool")
    ask.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help="write the result under bench/soak/")
    given = ask.parse_args()
    folder, began, load = Path(tempfile.mkdtemp(prefix="omega-drill-")), time.gmtime(), os.getloadavg()
    found = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", began),
        "command": f"python drills/availability.py --minutes {given.minutes:g} --rate {given.rate:g} --seed {given.seed}"
        + (f" --only {given.only}" if given.only else ""),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(load[0], 1),
        **drill(folder, given.minutes * 60, given.rate, given.seed, given.only),
        "load_after": round(os.getloadavg()[0], 1),
    }
    text = json.dumps(found, indent=1) + "\n"
    sys.stdout.write(text)
    if given.keep:
        (RESULTS / f"availability-{time.strftime('%Y-%m-%d-%H%M', began)}.json").write_text(text)
    if found["wrong"] or found["available"] < given.least:
        sys.stderr.write(f"the folder is kept: {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
