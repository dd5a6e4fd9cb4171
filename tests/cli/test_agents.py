"""`omega agents`: the roster from the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.program import omega
from omega.cli.exits import Exit
from servers.provider import provider


@pytest.mark.slow
@pytest.mark.promise("AGENT-02")
def test_agents_are_registered_tried_promoted_and_work(home: Path) -> None:
    Path("desk.txt").write_text("you answer questions about orders\n")
    assert "there is no agent: omega agents register" in omega("agents", "list").out
    said = omega("agents", "register", "desk", "1.0.0", "--instructions", "desk.txt", "--can", "orders", "--memory")
    assert (said.status, said.out.split()[:3]) == (0, ["desk", "1.0.0", "works"]), said.err
    told = omega("agents", "register", "desk", "1.1.0", "--instructions", "desk.txt", "--card", '{"turns": 3}', "--json").document
    assert [each["version"] for each in told["versions"]] == ["1.0.0", "1.1.0"]
    lines = omega("agents", "canary", "desk", "1.1.0", "--share", "0.25").out.splitlines()
    assert [line.split()[2] for line in lines] == ["works", "tried"]
    assert "tried on 25%" in lines[1]
    assert omega("agents", "rollback", "desk", "--json").document["canary"] == ""
    omega("agents", "canary", "desk", "1.1.0")
    assert omega("agents", "promote", "desk", "--json").document["stable"] == "1.1.0"
    with provider() as upstream:
        assert omega("models", "add", "echo", "--url", upstream.url, "--model", "scripted", "--default").status == 0
        upstream.answer = lambda _: "it is on its way"
        done = omega("agents", "run", "desk", "where is my order?")
    assert (done.status, done.out.splitlines()) == (0, ["it is on its way", "done   desk 1.1.0"]), done.err
    assert "healthy, 1 outcome" in omega("agents", "list").out


def test_a_card_that_cannot_be_meant_is_refused(home: Path) -> None:
    Path("desk.txt").write_text("you answer\n")
    said = omega("agents", "register", "Desk!", "1.0.0", "--instructions", "desk.txt")
    assert (said.status, said.err[:8]) == (Exit.USAGE, "OMG-I001")
    assert omega("agents", "register", "desk", "1.0.0", "--instructions", "nowhere.txt").status == Exit.USAGE
    assert omega("agents", "register", "desk", "1.0.0", "--instructions", "desk.txt", "--card", "[]").status == Exit.USAGE
