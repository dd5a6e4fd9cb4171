"""Insights: the summary is a pure fold of what is recorded, and its method takes the road."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from omega.features.insights.model import Period
from omega.features.insights.service import summarise
from omega.host.discover import find_method, manifests, methods
from omega.host.embedded import Omega
from omega.host.targets import load_target
from omega.kernel.errors import DefinitionError, InputError
from omega.kernel.flow import flow
from omega.kernel.ports import Line
from omega.kernel.service import Manifest, method, methods_of


def line(name: str, status: str, *, began_s: float = 0, took_s: float = 1) -> Line:
    return Line(
        execution=f"exe_{name}_{began_s}",
        tenant="local",
        flow=name,
        version="1.0.0",
        status=status,
        principal="person:ada",
        target="",
        epoch=1,
        owner="",
        lease_us=0,
        started_us=int(began_s * 1e6),
        updated_us=int((began_s + took_s) * 1e6),
    )


def test_summary_counts_each_execution_once() -> None:
    lines = [line("a", "done", took_s=2), line("a", "failed", took_s=4), line("b", "waiting"), line("c", "cancelled")]
    summary = summarise(lines)
    assert (summary.executions, summary.done, summary.failed, summary.cancelled, summary.open) == (4, 1, 1, 1, 1)
    first = summary.flows[0]
    assert (first.flow, first.executions, first.median_s, first.longest_s) == ("a", 2, 3.0, 4.0)


def test_summary_of_nothing() -> None:
    assert summarise([]).model_dump() == {
        "executions": 0,
        "done": 0,
        "failed": 0,
        "cancelled": 0,
        "open": 0,
        "flows": [],
        "truncated": False,
    }


@flow
def double(n: int) -> int:
    return n * 2


def test_the_method_takes_the_road(tmp_path: Path) -> None:
    summary, offered = find_method("insights.summary")
    assert summary.effect == "read"
    assert "cli" in offered.entrances

    async def whole() -> None:
        async with Omega.open(tmp_path / "home") as omega:
            await omega.run(double, 2)
            outcome = await omega.run(summary, dict(offered.example))
            assert outcome.status == "done"
            assert outcome.value["done"] == 1
            assert {part["flow"] for part in outcome.value["flows"]} == {"double", "insights.summary"}
            refused = await omega.run(summary, dict(offered.example), principal="agent:x")
            assert refused.error is not None
            assert refused.error["code"] == "OMG-W008"

    asyncio.run(whole())


def test_a_service_is_a_target_that_can_be_taken_up_again() -> None:
    target = load_target("service:insights.summary")
    assert target.flow.name == "insights.summary"
    assert load_target(target.text).flow.digest == target.flow.digest


@pytest.mark.parametrize("text", ["nothing.here", "insights.nothing", "insights", ""])
def test_what_is_not_there_is_named(text: str) -> None:
    with pytest.raises(InputError) as caught:
        find_method(text)
    assert caught.value.code == "OMG-I002"


def test_every_example_fits_its_method() -> None:
    for name in manifests():
        for _, (made, offered) in methods(name).items():
            made.input.read(dict(offered.example) if made.input.name != "None" else None)


def test_a_class_without_methods_is_no_service() -> None:
    class Empty:
        def verb(self) -> None: ...

    with pytest.raises(DefinitionError):
        methods_of(Manifest("empty", "1.0.0", "", "x:Y"), Empty())


def test_an_unknown_entrance_is_refused() -> None:
    with pytest.raises(DefinitionError):
        method(entrances=("telex",))


def test_period_has_bounds() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        Period(hours=0)
