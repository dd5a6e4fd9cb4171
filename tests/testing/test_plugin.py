"""The fixture `omega_test`, as authors of flows meet it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel

from omega import Command, Context, Denied, FlowError, InputError, Suspended, UpstreamError, flow, parallel, tool, when
from omega.testing.bench import Bench


class Ticket(BaseModel):
    id: str
    text: str


class Triage(BaseModel):
    team: str
    urgency: int


@flow
def redact(ticket: Ticket) -> Ticket:
    return ticket.model_copy(update={"text": ticket.text.replace("@", "(at)")})


@flow(effect="read", needs="model:ask")
async def classify(ctx: Context, ticket: Ticket) -> Triage:
    raise AssertionError("the answer stands in for this")


@flow(effect="read", needs="process:run")
async def history(ctx: Context, ticket: Ticket) -> list[Ticket]:
    return [Ticket.model_validate(item) for item in await ctx.touch(Command(argv=("crm", ticket.id)))]


@flow(effect="write", needs="pager:use")
async def page(ctx: Context, seen: tuple[Triage, list[Ticket]]) -> str:
    raise AssertionError("the answer stands in for this")


@flow
def reply(seen: tuple[Triage, list[Ticket]]) -> str:
    return f"team {seen[0].team} will answer"


triage = redact | parallel(classify, history) | when("out[0].urgency >= 4", then=page.approved_by("oncall"), otherwise=reply)
ticket = Ticket(id="1", text="down, says ada@example.org")


def test_urgent_is_paged(omega_test: Bench) -> None:
    omega_test.answers(classify, Triage(team="net", urgency=5))
    omega_test.answers(history, [])
    assert omega_test.run(triage, ticket).needs_approval(of=page)


def test_the_way_on_from_there(omega_test: Bench) -> None:
    omega_test.answers(classify, lambda seen: Triage(team="net" if "(at)" in seen.text else "?", urgency=5))
    omega_test.answers(history, [ticket])
    omega_test.answers(page, lambda seen: f"paged {seen[0].team} about {len(seen[1])}")
    waits = omega_test.run(triage, ticket)
    assert waits.status == "waiting" and waits.needs_approval(role="oncall") and not waits.needs_approval(of=classify)
    assert waits.step(page).status == "waiting" and waits.step("redact").status == "done"
    with pytest.raises(Suspended):
        _ = waits.value
    done = omega_test.approve(waits)
    assert done.value == "paged net about 1" and done.status == "done" and omega_test.replays(done)
    assert [step.status for step in done.steps] == ["done"] * 4
    with pytest.raises(LookupError, match="there are: redact"):
        done.step("missing")


def test_calm_is_answered(omega_test: Bench) -> None:
    omega_test.answers(classify, Triage(team="net", urgency=1))
    omega_test.answers(history, [])
    assert omega_test.run(triage, ticket).value == "team net will answer"


def test_a_step_without_an_answer_fails(omega_test: Bench) -> None:
    omega_test.answers(classify, Triage(team="net", urgency=1))
    result = omega_test.run(triage, ticket)
    assert result.status == "failed"
    with pytest.raises(FlowError) as failure:
        _ = result.value
    assert failure.value.code == "OMG-R017" and "Command" in failure.value.cause


def test_an_answer_may_be_a_failure(omega_test: Bench) -> None:
    def down(seen: Ticket) -> Any:
        raise UpstreamError("OMG-M008", "the model is down")

    omega_test.answers(classify, down)
    fallback = classify.retry(3).fallback(calm)
    result = omega_test.run(fallback, ticket)
    assert result.value == Triage(team="desk", urgency=0)
    assert [(step.flow, step.status) for step in result.steps] == [("classify", "failed")] * 3 + [("calm", "done")]


@flow
def calm(ticket: Ticket) -> Triage:
    return Triage(team="desk", urgency=0)


def test_tools_are_answered_by_name_and_gated_like_the_real_ones(omega_test: Bench) -> None:
    log, commit = tool("git", "git_log", effect="read"), tool("git", "git_commit", effect="write")
    omega_test.answers(log, lambda arguments: [arguments["repo"]])
    omega_test.answers(commit, "done")
    assert omega_test.run(log, {"repo": "."}).value == ["."]
    refused = omega_test.run(commit, {"message": "x"}, principal="agent:reviewer", capabilities=("flows:run", "tools:call"))
    assert refused.denied(of=commit) and refused.denied(by="agents-read-only") and not refused.denied(by="other")
    with pytest.raises(Denied):
        _ = refused.value


def test_a_policy_of_the_test_counts(omega_test: Bench) -> None:
    omega_test.policy("mine.cedar", '@id("closed")\n@reason("closed today")\nforbid (principal, action, resource);\n')
    assert omega_test.run(redact, ticket).denied(by="closed")


def test_a_week_takes_no_time(omega_test: Bench) -> None:
    @flow
    async def patient(ctx: Context, n: int) -> str:
        before = await ctx.now()
        await ctx.sleep(7 * 24 * 3600)
        word = await ctx.signal("go")
        return f"{word} after {round((await ctx.now() - before) / 86_400)} days"

    waits = omega_test.run(patient, 1)
    assert omega_test.signal(waits, "go", "on").value == "on after 7 days"


def test_answers_are_checked_when_they_are_given(omega_test: Bench) -> None:
    with pytest.raises(InputError):
        omega_test.answers(classify, {"team": "net"})
    with pytest.raises(InputError):
        omega_test.answers(triage, "x")


def test_the_plugin_loads_nothing(tmp_path: Any) -> None:
    lines = (
        "import sys",
        "def test_nothing():",
        "    heavy = {'pydantic', 'cryptography', 'cedarpy', 'msgspec', 'omega.kernel'}",
        "    assert not heavy & set(sys.modules)",
    )
    (tmp_path / "test_nothing.py").write_text("\n".join(lines))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "omega.testing.plugin", str(tmp_path)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
