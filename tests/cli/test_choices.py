"""Decisions by what happened before, as `omega show` tells them: which flow, why, and how a call met its limit or its breaker."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.program import omega

FLOWS = """
from omega import flow, optimize


@flow(effect="read")
def thorough(n: int) -> int:
    return sum(1 for _ in range(200_000)) * 0 + n


@flow(effect="read")
def quick(n: int) -> int:
    return n


@flow
def breaks(n: int) -> int:
    raise ValueError("no")


main = optimize(thorough, quick, goal="latency", explore=0.0)
careful = quick.rate_limited("1/h") | breaks.breaker(failures=1, otherwise=quick).fallback(quick)
"""


@pytest.mark.promise("FLOW-62")
def test_show_says_which_flow_was_taken_and_why(home: Path, tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    for number in range(3):
        assert omega("run", "flows.py", "--input", "n=1", "--id", f"run-{number}").status == 0
    (said,) = [step["said"] for step in omega("show", "run-2", "--json").document["steps"] if step["step"] == "optimize"]
    assert said.startswith("quick: best so far (latency ") and "others: thorough 1.000" in said
    assert "quick: best so far" in omega("show", "run-2").out
    assert omega("replay", "run-2", "--json").document["identical"] is True


def test_show_says_how_a_call_met_its_limit_and_its_breaker(home: Path, tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    assert omega("run", "flows.py:careful", "--input", "n=1", "--id", "first").status == 0
    said = {step["step"]: step["said"] for step in omega("show", "first", "--json").document["steps"] if "said" in step}
    assert said["rate"] == "after 0 s" and said["breaker"] == "closed"
