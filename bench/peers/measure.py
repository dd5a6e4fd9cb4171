"""What every driver measures with, peers and Omega alike: resident memory, a step counter with a window, and one JSON line as result."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn


@dataclass(slots=True)
class Window:
    """Counts steps and reads the rate over a stretch of time.

    The clock starts when `expected` flows have begun their first step, so that starting flows is not part of a peer's rate, and is read at
    the last step seen or after `seconds`, whichever comes first. A step counts when it begins: the step before it has been recorded then.
    """

    expected: int
    seconds: float
    begun: set[int] = field(default_factory=set)
    started_at: float = 0.0
    last_at: float = 0.0
    steps: int = 0

    def step(self, flow: int) -> None:
        """Note that flow number `flow` began a step."""
        now = time.perf_counter()
        if not self.started_at:
            self.begun.add(flow)
            if len(self.begun) == self.expected:
                self.started_at = now
        elif now - self.started_at <= self.seconds:
            self.steps += 1
            self.last_at = now

    async def watch(self, running: asyncio.Future[Any]) -> None:
        """Wait until `running` ended or the stretch has passed."""
        while not running.done() and not (self.started_at and time.perf_counter() - self.started_at > self.seconds):
            await asyncio.wait([running], timeout=0.05)

    @property
    def rate(self) -> float:
        """Steps per second; 0 when the window never filled."""
        return self.steps / (self.last_at - self.started_at) if self.steps else 0.0


def arguments() -> argparse.Namespace:
    """The command line that every driver understands."""
    ask = argparse.ArgumentParser()
    ask.add_argument("workload", choices=["concurrent", "sequential", "latency", "import", "counts"])
    ask.add_argument("--dir", type=Path, required=True, help="an empty folder for the data")
    ask.add_argument("--wal", action="store_true", help="DBOS: set the database to WAL beforehand")
    ask.add_argument("--store", default="", help="DBOS: the address of a PostgreSQL database, instead of SQLite")
    ask.add_argument("--touches", action="store_true", help="Omega: every tenth step reads a file through the gate")
    ask.add_argument("--uneven", action="store_true", help="Omega: flows of 5 to 95 steps, 50 on average")
    ask.add_argument("--flows", type=int, default=200, help="flows at once; for latency: calls")
    ask.add_argument("--steps", type=int, default=50, help="steps of each flow")
    ask.add_argument("--seconds", type=float, default=4.0, help="length of the stretch that is timed")
    return ask.parse_args()


def peak_rss_mb() -> float:
    """Peak resident memory of this process in MB (10^6 bytes); Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def cpu_s() -> float:
    """CPU seconds of this process, all threads."""
    return time.process_time()


def p50_ms(seconds: list[float]) -> float:
    """Median in milliseconds."""
    return statistics.median(seconds) * 1000


def finish(**values: object) -> NoReturn:
    """Print the result and the peak memory as one line of JSON and end the process: what is left of a workload is not waited for."""
    sys.stdout.write(json.dumps(values | {"rss_mb": peak_rss_mb()}) + "\n")
    sys.stdout.flush()
    os._exit(0)
