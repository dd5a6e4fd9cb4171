"""Steps for people as definitions: what they are, what they take, what is refused when they are written."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel

from omega import DefinitionError, Effect, FlowError, approval, cache, flow, form, wait_for
from omega.kernel.journal import Row
from omega.kernel.past import Recorded
from omega.kernel.people import MAX_MESSAGE, MAX_SCHEMA, question_of


class Reply(BaseModel):
    """What a person fills in."""

    ok: bool
    why: str = ""


@flow
def told(reply: Reply) -> str:
    return reply.why


@flow
def length(text: str) -> int:
    return len(text)


def test_a_form_is_a_flow_with_a_type_and_joins_like_any_other() -> None:
    ask = form(Reply, message="fine?", role="clerk")
    assert (ask.effect, ask.output.name) == (Effect.READ, "Reply")
    assert set(ask.output.schema()["properties"]) == {"ok", "why"}
    assert (ask | told).output.name == "str"
    with pytest.raises(DefinitionError) as refused:
        ask | length
    assert refused.value.code == "OMG-F001" and "Reply" in refused.value.cause


def test_an_approval_passes_its_input_on_and_keeps_its_type() -> None:
    gate = approval("owner", "pay?", of=str)
    assert (gate | length).output.name == "int"
    assert gate.approver_role == "owner"
    with pytest.raises(DefinitionError):
        approval("owner", of=int) | length


def test_whatever_a_person_answers_is_never_cached() -> None:
    for step in (form(Reply), approval("owner"), wait_for("paid")):
        with pytest.raises(DefinitionError, match="OMG-F003"):
            cache(step)


def test_what_cannot_be_asked_is_refused_where_it_is_written() -> None:
    for role in ("", "Owner", "a b", "x" * 65):
        with pytest.raises(DefinitionError, match="OMG-F005"):
            approval(role)
    with pytest.raises(DefinitionError, match="OMG-F005"):
        form(Reply, role="A")
    with pytest.raises(DefinitionError, match="OMG-F003"):
        approval("owner", "x" * (MAX_MESSAGE + 1))
    with pytest.raises(DefinitionError, match="OMG-F003"):
        wait_for("")
    with pytest.raises(DefinitionError, match="OMG-F003"):
        wait_for("paid", within="soon")
    huge = Literal[tuple(f"choice number {number}" for number in range(MAX_SCHEMA // 16))]  # type: ignore[valid-type]
    with pytest.raises(DefinitionError, match="OMG-F003"):
        form(huge)


def test_what_is_asked_is_part_of_the_digest() -> None:
    asked = [
        form(Reply),
        form(Reply, message="?"),
        form(Reply, role="clerk"),
        form(Reply, within="1h"),
        approval("owner"),
        approval("clerk"),
    ]
    asked += [wait_for("a"), wait_for("b"), wait_for("a", within="1h")]
    assert len({step.digest for step in asked}) == len(asked)


def test_a_direct_run_has_nobody_to_ask() -> None:
    with pytest.raises(FlowError, match="OMG-R013"):
        form(Reply)(1)


def test_a_step_that_asks_nothing_has_no_question() -> None:
    assert question_of(Recorded("x", Row("e", 0, 4, "x", b""))) is None
