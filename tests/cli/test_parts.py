"""Parts of a stream on the screen: beside their step while it runs, gone when it has ended, and never a control character."""

from __future__ import annotations

import pytest

from omega.cli.live import Screen, TreeScreen
from omega.runtime.world import Moment


def moment(kind: str, note: str = "") -> Moment:
    return Moment(kind=kind, execution="run-1", position="write", flow="write", effect="pure", note=note)


@pytest.mark.promise("FLOW-66")
def test_the_newest_part_stands_beside_its_step_until_that_ends() -> None:
    screen = TreeScreen(lambda _: "")
    for note in ("once upon", " a time \x1b[2J there"):
        screen.watch(moment("part", note))
    (line,) = screen.drawn("*")
    assert "write" in line and "running" in line and "a time" in line and "once" not in line and "\x1b[2J" not in line
    screen.watch(moment("ended"))
    (line,) = screen.drawn("*")
    assert "done" in line and "a time" not in line


def test_where_lines_are_appended_parts_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(lambda _: "")
    screen.watch(moment("part", "once"))
    screen.watch(moment("ended"))
    shown = capsys.readouterr().out
    assert "write" in shown and "once" not in shown
