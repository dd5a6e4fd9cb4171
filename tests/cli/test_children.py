"""Children that run in the engine of a run, as the run and `omega show` tell of them."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from cli.program import finished, omega, started, wait_for
from omega.cli.exits import Exit
from omega.cli.live import TreeScreen
from omega.runtime.world import Moment

SPREAD = """
from pathlib import Path

from omega import Context, flow, scatter


@flow
def double(n: int) -> int:
    return n * 2


@flow
async def hold(ctx: Context, n: int) -> int:
    while not Path("go").exists():
        Path("held").touch()
        await ctx.sleep(0.05)
    return n


main = scatter(double)
held = scatter(hold)
"""


@pytest.fixture
def spread(home: Path, tmp_path: Path) -> str:
    (tmp_path / "spread.py").write_text(SPREAD)
    return "spread.py"


def test_show_names_each_child_and_how_it_stands(spread: str) -> None:
    assert omega("run", spread, "--input", "[3, 4]", "--id", "first").status == 0
    children = [step for step in omega("show", "first", "--json").document["steps"] if step.get("record") == "child"]
    assert [(each["step"], each["status"]) for each in children] == [("spread.0/double", "done"), ("spread.1/double", "done")]
    shown = omega("show", "first").out
    assert "failed" not in shown
    for each in children:
        assert omega("show", each["child"], "--json").document["parent"] == "first"
        assert re.search(rf"double \[\d\] +child +done +{each['child']}", shown)


def test_a_run_tells_of_a_child_in_one_line_and_counts_its_own_steps(spread: str) -> None:
    said = omega("run", spread, "--input", "[3, 4]", "--id", "first")
    lines = said.out.splitlines()
    assert [line for line in lines if "tenant" in line] == ["spread 1.0.0   first   tenant local"]
    assert len([line for line in lines if re.match(r"  double +child +\S+ \S+ +done  exe_", line)]) == 2
    assert "done   0 steps" in said.out


def test_a_run_that_is_stopped_among_its_children_names_itself_as_the_next_command(home: Path, tmp_path: Path, spread: str) -> None:
    process = started(home, "run", f"{spread}:held", "--input", "[1]", "--id", "first")
    wait_for((tmp_path / "held").exists)
    process.send_signal(signal.SIGINT)
    said = finished(process)
    assert said.status == Exit.INTERRUPTED
    assert "omega resume first" in said.out and "omega resume exe_" not in said.out


def test_a_child_is_one_line_of_the_tree_whatever_it_does_inside() -> None:
    screen = TreeScreen(lambda moment: moment.execution)
    for moment in (
        Moment(kind="started", execution="whole", flow="main"),
        Moment(kind="started", execution="child", flow="double"),
        Moment(kind="began", execution="child", position="inside", effect="pure"),
        Moment(kind="paused", execution="child", position="sleep", took_s=9.0),
    ):
        screen.watch(moment)
    (line,) = screen.drawn("|")
    assert re.fullmatch(r"  child +child .*running +double", line)
    screen.watch(Moment(kind="finished", execution="child", note="done"))
    (line,) = screen.drawn("|")
    assert re.fullmatch(r"  child +child .*done +double", line)
    assert screen.execution == "whole" and screen.steps == 0
