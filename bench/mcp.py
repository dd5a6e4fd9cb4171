"""Figures G1 to G4 and G6 of the MCP entrance: what a governed `tools/call` costs. `python bench/mcp.py` prints them.

    client (this process) -> gateway -> tool server (raw ASGI, answers at once)

G1  CPU of the gateway per governed call at 16 connections; as a multiple, how much less that is than with a peer.
G2  median latency that the gateway adds at one connection, over the direct call of the same round: with its data in memory; on disk, for a
    tool that reads and for one that writes, less one and two waits for the disk as the disk was measured in the same round.
G3  governed calls a second, one process, 64 connections.
G4  requests that reach the tool server per call, once warm.
G6  from the start of the process to the answer of its first governed call, and its memory after the load.

Omega is `omega up`, as a user gets it, and every call is governed: passport, policies, journal, sealed leaf; every reply is checked. CPU
and memory are those of the gateway's process and its children, as /proc says. Rounds are interleaved and their order reversed from
round to round; a difference or a ratio is taken within a round; figures are medians with their range. Peers (bench/peers/gateways.py) are
measured where their environments stand; `--peers` makes them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from calling import Measured, Target, free_port, fsync_ms, listening, measure, started
from gateways import PEERS, Peer, put_up

HERE = Path(__file__).resolve().parent
ROUNDS = int(os.environ.get("OMEGA_BENCH_ROUNDS", "5"))
CALLS = int(os.environ.get("OMEGA_BENCH_CALLS", "1600"))
"""Calls of one measurement."""

FEW = 400
"""Calls of one measurement at one connection."""

WITHIN_S = 4.0
"""No call begins later than this (seconds) after the first of its measurement: peers would take minutes."""

COMMAND = "python bench/mcp.py"
RAM = Path("/dev/shm")
GOALS = {"contextforge": ">= 60", "litellm": ">= 40"}
"""How many times less CPU a governed call takes than a call there (G1)."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: rounds, calls of one measurement, and for how long (seconds) a measurement goes on."""

    rounds: int
    calls: int
    within_s: float


WHOLE = Size(ROUNDS, CALLS, WITHIN_S)
QUICK = Size(1, 480, 1.5)


@dataclass(frozen=True, slots=True)
class Seen:
    """One target in one round: at 1, 16 and 64 connections, and the latency that it added at one, in milliseconds."""

    one: Measured
    some: Measured
    many: Measured
    added_ms: float


Round = dict[str, Seen]


def start_direct(stack: ExitStack) -> Target:
    """The tool server in a process of its own."""
    port = free_port()
    process = started(stack, [sys.executable, HERE / "peers/tool_server.py", str(port)])
    listening(port, process)
    return Target("direct", f"http://127.0.0.1:{port}/mcp", process.pid)


def start_omega(stack: ExitStack, behind: str, medium: Path) -> tuple[Target, float]:
    """Omega in front of `behind` with its data on `medium`, and the seconds from its start to the first governed reply."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=medium, prefix=".bench-")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMEGA_")} | {"OMEGA_HOME": str(home)}
    omega = [sys.executable, "-m", "omega"]
    # In its folder: from here, Python would take this file for the package that is called mcp.
    add = [*omega, "mcp", "add", "bench", "--url", behind]
    subprocess.run(add, env=environment, cwd=home, check=True, stdout=subprocess.DEVNULL)
    passport = _passport(home)
    port, since = free_port(), time.monotonic()
    process = started(stack, [*omega, "up", "--port", str(port), "--json"], folder=home, environment=environment)
    listening(port, process)
    url, headers = f"http://127.0.0.1:{port}/mcp", {"Authorization": f"Bearer {passport}"}
    target = Target("omega", url, process.pid, headers, "bench__echo")
    measure(target, 1, 1)
    return target, time.monotonic() - since


def _passport(home: Path) -> str:
    from omega.host.clock import SystemClock, SystemEntropy
    from omega.host.identity import Identity
    from omega.host.settings import Settings

    return Identity.load(Settings.load(home), SystemEntropy()).passport("", now_us=SystemClock().now_us())


def _requests(direct: Target) -> int:
    with urllib.request.urlopen(direct.url.removesuffix("/mcp") + "/count", timeout=10) as answer:
        return int(answer.read())


def requests_per_call(direct: Target, target: Target) -> float:
    """How many requests reach the tool server for one call of a warm gateway, without those that begin and end a session."""
    counts = [_requests(direct)]
    for calls in (8, 8, 40):
        measure(target, 1, calls)
        counts.append(_requests(direct))
    _, few, more = (after - before for before, after in pairwise(counts))
    return (more - few) / 32


# -- rounds


def seen(direct: Target, target: Target, size: Size) -> Seen:
    """One target in one round."""
    floor = measure(direct, 1, FEW, size.within_s)
    one = measure(target, 1, FEW, size.within_s)
    some, many = (measure(target, connections, size.calls, size.within_s) for connections in (16, 64))
    return Seen(one, some, many, one.p50_ms - floor.p50_ms)


def rounds(direct: Target, targets: Sequence[Target], size: Size) -> list[Round]:
    """Every target in every round."""
    found: list[Round] = []
    for number in range(size.rounds):
        order = targets if number % 2 == 0 else targets[::-1]
        found.append({target.name: seen(direct, target, size) for target in order})
    return found


def on_disk(direct: Target, size: Size) -> tuple[list[float], list[float], list[float]]:
    """What Omega adds on disk for a read and for a write, less one and two waits for the disk, and that wait; milliseconds, by round."""
    reads, writes, floors = [], [], []
    with ExitStack() as stack:
        omega, _ = start_omega(stack, direct.url, HERE)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=HERE, prefix=".bench-")))
        for tool in ("bench__echo", "bench__note"):
            measure(omega, 1, 64, tool=tool)
        for _ in range(size.rounds):
            wait = fsync_ms(folder)
            plain = measure(direct, 1, FEW, size.within_s).p50_ms
            reads.append(measure(omega, 1, FEW, size.within_s, "bench__echo").p50_ms - plain - wait)
            writes.append(measure(omega, 1, FEW, size.within_s, "bench__note").p50_ms - plain - 2 * wait)
            floors.append(wait)
    return reads, writes, floors


# -- figures


def own_figures(found: Sequence[Round], per_call: float, ready_s: float, memory_mb: float) -> list[dict[str, Any]]:
    """Omega alone, with its data in memory."""
    mine = [each["omega"] for each in found]
    return [
        record("G1", "CPU per governed call, 16 connections", "us", [each.some.cpu_ms * 1e3 for each in mine]),
        record("G2/tmpfs", "added latency, median, one connection, data in memory", "ms", [each.added_ms for each in mine], "< 1"),
        record("G2/p99", "99th percentile, 16 connections", "ms", [each.some.p99_ms for each in mine]),
        record("G3", "governed calls a second, one process, 64 connections", "calls/s", [each.many.rate for each in mine], ">= 2000"),
        record("G4", "requests to the tool server per call, warm", "", [per_call], "<= 1"),
        record("G6/mcp", "start to first governed MCP call", "s", [ready_s], "< 3"),
        record("G6/mcp memory", "memory of the process after the load", "MB", [memory_mb], "< 130"),
    ]


def disk_figures(direct: Target, size: Size) -> list[dict[str, Any]]:
    """G2 on disk."""
    reads, writes, floors = on_disk(direct, size)
    floor = statistics.median(floors)
    waits = f"of {floor:.2f} ms"
    return [
        record("G2/disk/read", f"the same on disk, a tool that reads, less one wait for the disk {waits}", "ms", reads, "< 1"),
        record("G2/disk/write", f"the same on disk, a tool that writes, less two waits {waits}", "ms", writes, "< 1"),
    ]


def peer_figures(found: Sequence[Round], peer: Target, per_call: float) -> list[dict[str, Any]]:
    """Omega against one peer: how many times less CPU and added latency, how many times as many calls; medians of both beside it."""
    name = f"{peer.name} {peer.version}"

    def against(figure: str, what: str, unit: str, of: Callable[[Seen], float], goal: str = "", *, less: bool) -> dict[str, Any]:
        mine, theirs = ([of(each[who]) for each in found] for who in ("omega", peer.name))
        ratios = [(b / a if less else a / b) for a, b in zip(mine, theirs, strict=True)]
        both = {"omega": _digits(statistics.median(mine)), "other": _digits(statistics.median(theirs)), "absolute_unit": unit}
        return record(f"{figure}/{peer.name}", what, "x", ratios, goal, peer=name) | both

    goal = GOALS.get(peer.name, "")
    return [
        against("G1", "how much less CPU per call, 16 connections", "ms", lambda each: each.some.cpu_ms, goal, less=True),
        against("G2", "how much less added latency, one connection", "ms", lambda each: each.added_ms, less=True),
        against("G3", "how many times the calls a second, 64 connections", "calls/s", lambda each: each.many.rate, less=False),
        record(f"G4/{peer.name}", "requests to the tool server per call, warm", "", [per_call], peer=name),
    ]


def record(figure: str, what: str, unit: str, values: Iterable[float], goal: str = "", *, peer: str = "") -> dict[str, Any]:
    """A figure as the table keeps it: the median of `values`, and whether it meets `goal` (`< n`, `<= n`, `>= n`; empty: none)."""
    each = sorted(values)
    value = statistics.median(each)
    sign, _, limit = goal.partition(" ")
    meets = {"": True, "<": value < float(limit or 0), "<=": value <= float(limit or 0), ">=": value >= float(limit or 0)}
    return {
        "id": figure,
        "what": what,
        "value": _digits(value),
        "unit": unit,
        "range": [_digits(each[0]), _digits(each[-1])] if len(each) > 1 else None,
        "goal": goal or None,
        "holds": meets[sign],
        "peer": peer,
        "command": COMMAND,
    }


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def figures(peers: Sequence[Peer] | None = None, size: Size = WHOLE) -> list[dict[str, Any]]:
    """Every figure as a record; `peers` are those to measure against, all whose environments stand if it is not said."""
    chosen = [peer for peer in PEERS if peer.stands()] if peers is None else peers
    with ExitStack() as stack:
        direct = start_direct(stack)
        omega, ready_s = start_omega(stack, direct.url, RAM)
        with ThreadPoolExecutor() as starting:  # they take up to a minute each, on their first start
            others = list(starting.map(lambda peer: put_up(stack, peer, direct.url), chosen))
        per_call = {target.name: requests_per_call(direct, target) for target in (omega, *others)}
        found = rounds(direct, [omega, *others], size)
        records = own_figures(found, per_call["omega"], ready_s, omega.memory_mb())
        for other in others:
            records += peer_figures(found, other, per_call[other.name])
    with ExitStack() as stack:  # by itself, so that no peer is at work beside it
        records += disk_figures(start_direct(stack), size)
    return records


def show(records: Iterable[dict[str, Any]]) -> None:
    """The table."""
    for each in records:
        spread = "" if each["range"] is None else f"{each['range'][0]:g} .. {each['range'][1]:g}"
        sides = f" ({each['omega']:g} against {each['other']:g} {each['absolute_unit']})" if "omega" in each else ""
        held = "" if each["goal"] is None else "holds" if each["holds"] else "FALLS SHORT"
        value = f"{each['value']:g} {each['unit']}"
        peer = f", {each['peer']}" if each["peer"] else ""
        print(f"{each['id']:28} {value:>14}  {spread:20} {each['goal'] or '':8} {held:11} {each['what']}{peer}{sides}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="measure against the peers, making their environments where they do not stand")
    parser.add_argument("--alone", action="store_true", help="measure Omega alone")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    given = parser.parse_args()
    if given.peers:
        for peer in PEERS:
            peer.prepare()
    found = figures([] if given.alone else None, QUICK if given.quick else WHOLE)
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


if __name__ == "__main__":
    main()
