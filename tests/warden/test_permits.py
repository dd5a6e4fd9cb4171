"""Permits: given for an ALLOW of this gate, for this very step and port; spent once."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from omega.kernel.effects import Command, ReadFile, ToolCall, WriteFiles
from omega.kernel.errors import Denied
from omega.kernel.verdict import Decision, Gate, Permit, Verdict
from omega.warden.admit import Warden
from omega.warden.explain import explain
from omega.warden.mint import PERMIT_TTL_S, permit
from omega.warden.policies import Bundle
from warden.asks import COMMITMENT, NOW, PERMIT_ALL, caller, touch

OPEN = Bundle.load({"all.cedar": PERMIT_ALL})


def noon() -> float:
    """A clock that stands still."""
    return NOW


def refused(code: str, ask, verdict, port: str = "mcp", now: float = NOW) -> Denied:
    with pytest.raises(Denied) as caught:
        permit(ask, verdict, port, lambda: now)
    assert caught.value.code == code
    return caught.value


@pytest.mark.promise("GATE-04")
def test_a_permit_serves_one_touch() -> None:
    ask = touch()
    granted = permit(ask, Warden(OPEN).ask(ask), "mcp", noon)
    assert (granted.tenant, granted.execution, granted.step, granted.epoch) == ("local", "exe_1", "findings.1/log", 3)
    assert granted.covers(COMMITMENT)
    assert not granted.covers(b"\0" * 32)
    granted.spend("mcp")
    with pytest.raises(Denied, match="already used"):
        granted.spend("mcp")


@pytest.mark.promise("GATE-04")
def test_a_step_may_touch_several_times_with_a_permit_each() -> None:
    ask = touch()
    verdict = Warden(OPEN).ask(ask)
    for _ in range(3):
        permit(ask, verdict, "mcp", noon).spend("mcp")


@pytest.mark.promise("GATE-04")
def test_a_permit_is_for_one_port_and_is_used_up_by_a_wrong_one() -> None:
    ask = touch()
    granted = permit(ask, Warden(OPEN).ask(ask), "mcp", noon)
    with pytest.raises(Denied, match="is for mcp"):
        granted.spend("process")
    with pytest.raises(Denied, match="already used"):
        granted.spend("mcp")


@pytest.mark.promise("GATE-04")
def test_a_permit_expires() -> None:
    ask = touch()
    verdict = Warden(OPEN).ask(ask)
    now = NOW
    held, late = (permit(ask, verdict, "mcp", lambda: now) for _ in range(2))
    now += PERMIT_TTL_S
    held.spend("mcp")
    now += 0.1
    with pytest.raises(Denied, match="expired"):
        late.spend("mcp")
    refused("OMG-W006", ask, verdict, now=float("nan"))


@pytest.mark.promise("GATE-05")
def test_a_forged_verdict_gives_no_permit() -> None:
    ask = touch()
    real = Warden(OPEN).ask(ask)
    fields = {field.name: getattr(real, field.name) for field in dataclasses.fields(real)}

    class Lookalike(Verdict):
        __slots__ = ("_ask",)

    lookalike = Lookalike(**fields)
    object.__setattr__(lookalike, "_ask", ask)
    for forged in (
        Verdict(decision=Decision.ALLOW),
        Verdict(**fields),
        lookalike,
        dataclasses.replace(real),
        dataclasses.replace(real, reason="better"),
        copy.copy(real),
        copy.deepcopy(real),
        pickle.loads(pickle.dumps(real)),
        type(real)(**fields),
    ):
        assert forged.decision is Decision.ALLOW
        refused("OMG-W006", ask, forged)
    assert copy.copy(real).record() == pickle.loads(pickle.dumps(real)).record() == real.record()


@pytest.mark.promise("GATE-05")
def test_a_verdict_for_another_question_gives_no_permit() -> None:
    ask = touch()
    verdict = Warden(OPEN).ask(ask)
    for name, value in (
        ("step", "other"),
        ("execution", "exe_2"),
        ("epoch", 4),
        ("input_commitment", b"\1" * 32),
        ("scope", caller("person:eve")),
        ("flow", "git/git_push"),
        ("needs", frozenset({"*"})),
        ("gate", Gate.ENTRY),
    ):
        refused("OMG-W006", dataclasses.replace(ask, **{name: value}), verdict)


@pytest.mark.promise("GATE-05")
def test_a_denial_altered_into_an_allow_gives_no_permit() -> None:
    ask = touch()
    for warden in (Warden(), Warden(Bundle.load({}))):
        verdict = warden.ask(ask)
        refused("OMG-W006", ask, dataclasses.replace(verdict, decision=Decision.ALLOW))
        object.__setattr__(verdict, "decision", Decision.ALLOW)
        refused("OMG-W006", ask, verdict)
    waiting = touch(role="oncall")
    refused("OMG-W006", waiting, Warden(OPEN).ask(waiting))


@pytest.mark.promise("GATE-04")
def test_an_entry_is_no_touch() -> None:
    ask = touch(gate=Gate.ENTRY)
    refused("OMG-W006", ask, Warden(OPEN).ask(ask))


@pytest.mark.promise("GATE-05")
def test_a_permit_is_not_made_copied_or_sent() -> None:
    ask = touch()
    granted = permit(ask, Warden(OPEN).ask(ask), "mcp", noon)
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(Denied) as caught:
            attempt(granted)
        assert caught.value.code == "OMG-W006"
    with pytest.raises(Denied):
        Permit(object(), tenant="", execution="", step="", epoch=0, port="mcp", commitment=b"", ttl_s=0, clock=noon)


def test_an_explanation_has_no_force() -> None:
    ask = touch()
    assert explain(OPEN, ask).verdict["decision"] == "allow"
    refused("OMG-W006", ask, explain(OPEN, ask).verdict)


@pytest.mark.promise("GATE-08")
@pytest.mark.parametrize(
    ("port", "effect", "capability"),
    [
        ("process", "read", "process:run"),
        ("files", "read", "files:read"),
        ("files", "idempotent", "files:write"),
        ("files", "write", "files:write"),
        ("mcp", "read", "tools:call"),
        ("model", "read", "model:ask"),
        ("queue", "write", "queue:use"),
    ],
)
def test_a_port_takes_a_capability_that_is_declared_and_held(port, effect, capability) -> None:
    warden = Warden(OPEN)
    flow = "git/git_log" if port == "mcp" else "review"

    def attempt(held: tuple[str, ...], needs: tuple[str, ...]) -> Permit:
        ask = touch(caller(capabilities=held), flow, effect, needs=needs)
        return permit(ask, warden.ask(ask), port, noon)

    area = capability.partition(":")[0] + ":*"
    for held, needs in (((capability,), (capability,)), (("*",), (capability,)), ((area,), (area,)), (("*",), ("*",))):
        attempt(held, needs).spend(port)
    with pytest.raises(Denied, match="without declaring") as caught:
        attempt(("*",), ("other:thing",))
    assert caught.value.code == "OMG-W008"
    assert caught.value.details["missing"] == [capability]


def test_reading_files_is_no_right_to_write_them() -> None:
    ask = touch(caller(capabilities=("files:read",)), "report", "write", needs=("files:read",))
    refused("OMG-W008", ask, Warden(OPEN).ask(ask), "files")


def test_a_task_does_not_call_a_tool_past_the_rules_for_that_tool() -> None:
    ask = touch(flow="innocent", needs=("tools:call",))
    error = refused("OMG-W006", ask, Warden(OPEN).ask(ask), "mcp")
    assert "tool(server, name)" in error.advice
    disguised = dataclasses.replace(touch(flow="git/git_log"), kind="task")
    refused("OMG-W006", disguised, Warden(OPEN).ask(disguised), "mcp")


@pytest.mark.promise("GATE-04")
def test_a_permit_for_one_request_is_not_given_for_another() -> None:
    warden = Warden(OPEN)
    ask = touch(flow="git/git_log")
    verdict = warden.ask(ask)
    permit(ask, verdict, "mcp", noon, request=ToolCall(server="git", tool="git_log", arguments={}))
    for other in (
        ToolCall(server="git", tool="git_push", arguments={}),
        ToolCall(server="other", tool="git_log", arguments={}),
        Command(argv=("true",)),
    ):
        with pytest.raises(Denied) as caught:
            permit(ask, verdict, "mcp", noon, request=other)
        assert caught.value.code == "OMG-W006"
    reads = touch(flow="load", effect="read", needs=("files:*",))
    permit(reads, warden.ask(reads), "files", noon, request=ReadFile(path="a"))
    with pytest.raises(Denied, match="admitted to read"):
        permit(reads, warden.ask(reads), "files", noon, request=WriteFiles(files={"a": b""}))
    writes = touch(flow="save", effect="write", needs=("files:*",))
    permit(writes, warden.ask(writes), "files", noon, request=WriteFiles(files={"a": b""}))
