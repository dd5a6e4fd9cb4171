"""The bench of the gateway: its peers are pinned, its load sees what went wrong, its figures say whether they hold."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def calling() -> ModuleType:
    return loaded("calling", BENCH / "peers/calling.py")


@pytest.fixture(scope="module")
def gateways(calling: ModuleType) -> ModuleType:
    return loaded("gateways", BENCH / "peers/gateways.py")


@pytest.fixture(scope="module")
def figures(gateways: ModuleType) -> ModuleType:
    return loaded("bench_of_the_mcp_entrance", BENCH / "mcp.py")


def test_each_peer_is_pinned_by_hash_and_the_page_states_its_version(gateways: ModuleType) -> None:
    page = (BENCH.parent / "docs/bench.md").read_text()
    for peer in gateways.PEERS:
        pins = peer.pins.read_text()
        wanted = re.findall(r"^([a-z0-9][a-z0-9._-]*)(\[[^]]*\])?==(\S+)(.*)$", pins, re.MULTILINE)
        assert len(wanted) > 20
        assert all(rest.endswith("\\") for *_, rest in wanted), "a requirement without a hash"
        version = next(each[2] for each in wanted if each[0] == peer.distribution)
        release = re.match(r"\d+(\.\d+)*", version)
        assert release is not None
        assert f"| {release[0]} |" in page


@pytest.mark.parametrize(
    ("goal", "values", "holds"),
    [("< 3", [2.9, 3.5, 1.0], True), ("< 3", [3.0], False), ("<= 1", [1.0], True), (">= 60", [59.0, 70.0, 80.0], True), ("", [9.0], True)],
)
def test_a_figure_is_a_median_held_against_its_goal(figures: ModuleType, goal: str, values: list[float], holds: bool) -> None:
    made = figures.record("G", "what", "x", values, goal)
    assert made["holds"] is holds
    assert made["value"] == sorted(values)[len(values) // 2]
    assert {"id", "what", "value", "unit", "range", "goal", "holds", "peer", "command"} <= set(made)


def test_ratios_are_taken_within_a_round(figures: ModuleType, calling: ModuleType) -> None:
    def seen(cpu_ms: float) -> Any:
        one = calling.Measured(100.0, cpu_ms, 1.0, 2.0, 10)
        return figures.Seen(one, one, one, cpu_ms)

    found = [{"omega": seen(mine), "litellm": seen(theirs)} for mine, theirs in ((0.5, 25.0), (1.0, 30.0), (2.0, 120.0))]
    peer = calling.Target("litellm", "http://127.0.0.1:1/mcp", 1, version="1")
    cpu = figures.peer_figures(found, peer, 4.0)[0]
    assert (cpu["value"], cpu["range"], cpu["holds"]) == (50.0, [30.0, 60.0], True)
    assert (cpu["omega"], cpu["other"]) == (1.0, 30.0)


@pytest.mark.slow
@pytest.mark.parametrize("handshake", [False, True])
def test_the_load_counts_calls_and_cpu_and_stops_at_an_error(figures: ModuleType, calling: ModuleType, handshake: bool) -> None:
    with ExitStack() as stack:
        direct = figures.start_direct(stack)
        direct.handshake = handshake
        done = calling.measure(direct, 4, 40)
        assert (done.calls, done.rate > 0, done.cpu_ms >= 0, done.p99_ms >= done.p50_ms > 0) == (40, True, True, True)
        assert calling.name_of_tool(direct, "note") == "note"
        assert figures.requests_per_call(direct, direct) == 1.0
        with pytest.raises(RuntimeError, match="answered"):
            asyncio.run(refused(calling, direct))
        assert direct.memory_mb() > 5


async def refused(calling: ModuleType, target: Any) -> None:
    connection = await calling.Connection.open(target)
    try:
        request = connection._message("no/such/method", {}, 2)
        connection._message = lambda *_: request
        await connection.call("echo", "x", 2)
    finally:
        await connection.close()
