"""The commands by which an operator governs: policies changed and tried, limits, guards, facts, quarantine, second factors."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from cli.program import omega
from omega.host import mfa

CAREFUL = """
@id("careful")
@reason("{flow} takes a second factor")
@approval("step-up")
forbid (principal, action == Action::"write", resource) unless { context.approved.contains("step-up") };
"""
WRITES = """
from omega import Context, WriteFiles, flow


@flow(effect="write", needs="files:write")
async def note(ctx: Context, text: str) -> list[str]:
    return await ctx.touch(WriteFiles(files={"note.txt": text.encode()}))
"""


@pytest.mark.promise("WARD-09")
def test_policies_are_denied_used_listed_and_rolled_back(home: Path) -> None:
    assert omega("policy", "history").out == "nothing was enacted\n"
    assert omega("policy", "use", "strict").status == 0
    denied = omega("policy", "deny", "git/git_push", "--for", "agent:x", "--reason", 'no "pushing" here')
    assert denied.status == 0 and '@id("deny-git-git-push-agent-x")' in denied.out and "no pushing here" in denied.out
    shown = omega("policy", "show", "--json").document
    assert {"strict-writes-wait", "deny-git-git-push-agent-x"} <= {each["id"] for each in shown["policies"]} and shown["sound"]
    packs = {each["name"]: each["used"] for each in omega("policy", "packs", "--json").document["packs"]}
    assert packs == {"strict": "1.0.0", "read-only-agents": None, "change-windows": None, "roles": None}
    assert omega("policy", "check").status == 0
    assert omega("policy", "use", "strict", "--drop").status == 0
    assert omega("policy", "use", "strict", "--drop").status != 0
    assert omega("policy", "rollback", "2").out.startswith("version 4")
    assert [each["version"] for each in omega("policy", "history", "--json").document["versions"]] == [4, 3, 2, 1]
    for wrong in ("", "a b", "git/git_push;", "x" * 300):
        assert omega("policy", "deny", wrong).status != 0
    assert omega("policy", "deny", "git/*", "--for", "ada").status != 0
    assert omega("policy", "rollback", "99").status != 0


@pytest.mark.promise("WARD-09")
def test_what_does_not_load_or_hold_is_not_put_into_force(home: Path, tmp_path: Path) -> None:
    bad, case = tmp_path / "bad.cedar", tmp_path / "bad.test.yaml"
    bad.write_text("permit (")
    refused = omega("policy", "enact", str(bad))
    assert refused.status != 0 and "OMG-W003" in refused.out + refused.err
    bad.write_text(CAREFUL)
    case.write_text('- {name: no, ask: {principal: "person:ada", groups: [owner], flow: f, effect: write}, expect: allow}\n')
    assert omega("policy", "enact", str(bad), str(case)).status != 0
    assert omega("policy", "enact", str(bad), "--note", "careful").status == 0
    permit = tmp_path / "permit.cedar"
    permit.write_text('@id("all") @reason("all") permit (principal, action, resource);')
    refused = omega("policy", "enact", str(permit), "--tenant", "ten_a")
    assert refused.status != 0 and "can only forbid" in refused.out + refused.err


@pytest.mark.promise("WARD-10")
def test_the_tests_of_policies_are_judged(home: Path, tmp_path: Path) -> None:
    judged = omega("policy", "test", "--coverage", "--mutate", "--json").document
    assert judged["score"] == 1.0 and judged["survived"] == [] and judged["one_sided"] == [] and judged["cases"] > 50
    mine = tmp_path / "mine.cedar"
    mine.write_text(CAREFUL)
    weak = omega("policy", "test", str(mine), "--mutate", "--coverage")
    assert "survived   careful   left out" in weak.out and "never decided   careful" in weak.out
    assert "action write" in omega("policy", "schema").out or "write" in omega("policy", "schema").out


@pytest.mark.promise("WARD-13")
def test_a_dry_run_says_what_would_change(home: Path, tmp_path: Path) -> None:
    flows, mine = tmp_path / "note.py", tmp_path / "mine.cedar"
    flows.write_text(WRITES)
    mine.write_text(CAREFUL)
    assert omega("run", str(flows), "--input", "text=x", "--id", "one").status == 0
    said = omega("policy", "dry-run", str(mine), "--json").document
    assert [(each["execution"], each["step"], each["now"], each["then"]) for each in said["changes"]] == [("one", "note", "allow", "needs")]
    assert said["by_policy"] == {"careful": 1}
    assert "allow -> needs" in omega("policy", "dry-run", str(mine)).out
    assert omega("policy", "dry-run", str(mine), "--tenant", "ten_a", "--json").document["changes"] == []


@pytest.mark.promise("WARD-03")
def test_a_step_goes_ahead_with_a_code_of_ones_own(home: Path, tmp_path: Path) -> None:
    flows, mine = tmp_path / "note.py", tmp_path / "mine.cedar"
    flows.write_text(WRITES)
    mine.write_text(CAREFUL)
    assert omega("policy", "enact", str(mine)).status == 0
    waiting = omega("run", str(flows), "--input", "text=x", "--id", "one")
    assert "second factor" in waiting.out + waiting.err and "--code" in waiting.out + waiting.err
    assert omega("approve", "one").status != 0
    address = omega("mfa", "enrol", "--json").document["address"]
    secret = base64.b32decode(address.partition("secret=")[2].partition("&")[0])
    assert omega("approve", "one", "--code", "000000").status != 0

    approved = omega("approve", "one", "--code", mfa.code_at(secret, int(time.time() // mfa.STEP_S)))
    assert approved.status == 0, approved.err
    assert omega("resume", "one").status == 0


@pytest.mark.promise("WARD-05")
def test_limits_guards_and_facts_are_set_listed_and_removed(home: Path) -> None:
    assert omega("limit", "list").out == "no limits are set\n"
    assert omega("budget", "set", "agent:x", "5", "USD/day").out == "cost day agent:x   5 USD per day\n"
    assert omega("budget", "set", "agent:x", "5", "tokens/day").status != 0
    assert omega("limit", "set", "tool:git/git_push", "3 at once", "--name", "pushes").status == 0
    assert {each["name"] for each in omega("limit", "list", "--json").document["limits"]} == {"cost day agent:x", "pushes"}
    assert omega("limit", "remove", "pushes").status == 0 and omega("limit", "remove", "pushes").status != 0
    assert omega("guards", "set", "personal", "arguments", "redact", "--tool", "mail/*").status == 0
    assert "mail/*" in omega("guards", "list").out
    assert omega("guards", "remove", "personal arguments mail/*").status == 0
    assert omega("fact", "set", "change-window", "open").status == 0
    assert omega("fact", "list", "--json").document["facts"] == {"change-window": "open"}
    assert omega("fact", "set", "Bad Name", "x").status != 0
    assert omega("fact", "remove", "change-window").status == 0


@pytest.mark.promise("WARD-14")
@pytest.mark.promise("WARD-15")
def test_breakers_and_what_a_limit_of_money_lets_pass_are_set_listed_and_removed(home: Path) -> None:
    assert omega("breaker", "list").out == "no breakers are set\n"
    made = omega("breaker", "set", "tool:git/*", "--failures", "3", "--within", "2m", "--open-for", "10s")
    assert made.out == "tool:git/*   open for 10 s after 3 failures within 120 s\n"
    shared = omega("breaker", "set", "flow:report", "--tenant", "", "--name", "all", "--json").document
    assert (shared["name"], shared["tenant"], shared["failures"]) == ("all", "", 5)
    assert "tenant each, flow git/*" in omega("breaker", "list").out
    for odd in (("agent:x",), ("tool:git/*", "--failures", "0"), ("tool:git/*", "--within", "2 days")):
        assert omega("breaker", "set", *odd).status != 0, odd
    assert omega("breaker", "remove", "all").status == 0 and omega("breaker", "remove", "all").status != 0
    assert omega("budget", "set", "agent:x", "5", "USD/day", "--unpriced", "pass").status == 0
    assert omega("limit", "set", "agent:x", "5 requests/day", "--unpriced", "pass").status != 0
    assert [each["unpriced"] for each in omega("limit", "list", "--json").document["limits"]] == ["pass"]
    assert "models without a price pass" in omega("limit", "list").out


@pytest.mark.promise("WARD-07")
def test_an_agent_is_put_away_and_let_in_from_the_command_line(home: Path) -> None:
    assert omega("quarantine", "add", "agent:x", "--reason", "odd").status == 0
    listed = omega("quarantine", "list", "--json").document
    assert [(each["principal"], each["reason"]) for each in listed["quarantined"]] == [("agent:x", "odd")] and not listed["acts"]
    assert omega("quarantine", "release", "agent:x", "--as", "person:bob", "--json").document["released"] is False
    assert omega("quarantine", "release", "agent:x", "--as", "person:bob").status == 3
    assert omega("quarantine", "release", "agent:x", "--as", "person:eve", "--json").document["released"] is True
    assert omega("quarantine", "watch", "on").status == 0
    assert omega("quarantine", "list", "--json").document["acts"] is True
