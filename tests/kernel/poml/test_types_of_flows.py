"""Types in a document that its Python flows have: a question to a person stands between two flows without a second definition."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, create_model

from omega.kernel import poml
from omega.kernel.flow import Flow, flow


class Claim(BaseModel):
    """What is asked for."""

    total: int


@flow
def weigh(amount: int) -> Claim:
    return Claim(total=amount)


@flow
def pay(claim: Claim) -> str:
    return f"paid {claim.total}"


Namesake = create_model("Claim", words=(str, ...))


@flow
def tell(claim: Namesake) -> str:  # type: ignore[valid-type]
    return str(claim)


FLOWS: dict[str, Flow[Any, Any]] = {"claims:weigh": weigh, "claims:pay": pay, "claims:tell": tell}
LOOK = """poml: 2.0.0
name: look
nodes:
  weigh: {flow: claims:weigh}
  ask: {human: {approval: owner, message: may it be paid?}, input: Claim}
  pay: {flow: claims:pay}
connect: weigh -> ask -> pay
"""


def problems(text: str) -> list[tuple[str, str, str]]:
    return [(each.code, each.message, each.suggestion) for each in poml.check(poml.parse(text), FLOWS.__getitem__)]


def test_a_question_between_two_flows_takes_their_type_by_its_name() -> None:
    whole = poml.to_flow(poml.parse(LOOK), FLOWS.__getitem__)
    assert (whole.input.name, whole.output.name) == ("int", "str")
    assert (
        problems(LOOK.replace("approval: owner, message: may it be paid?}, input: Claim", "form: Claim, role: clerk}, input: Claim")) == []
    )


def test_a_slip_in_such_a_name_is_told_with_what_was_meant() -> None:
    ((code, message, suggestion),) = problems(LOOK.replace("input: Claim", "input: Clam"))
    assert (code, message, suggestion) == ("OMG-L004", "unknown type 'Clam'", "Claim")


def test_a_name_that_two_types_have_is_nobodys() -> None:
    text = LOOK.replace("pay: {flow: claims:pay}", "pay: {flow: claims:pay, fallback: tell}\n  tell: {flow: claims:tell}")
    assert ("OMG-L004", "unknown type 'Claim'") in [found[:2] for found in problems(text)]


def test_a_schema_that_takes_the_name_of_a_flows_type_is_told_as_the_cause() -> None:
    schema = "types:\n  Claim: {type: object, properties: {total: {type: integer}}, required: [total]}\nnodes:"
    (found,) = poml.check(poml.parse(LOOK.replace("nodes:", schema)), FLOWS.__getitem__)
    assert (found.code, found.expected) == ("OMG-L006", "one meaning of the name: leave it out of `types`")


def test_a_first_value_that_the_flow_does_not_take_has_its_place() -> None:
    text = "poml: 2.0.0\nname: s\nnodes:\n  add: {flow: claims:add}\n  sum: {reduce: add, start: zero}\nconnect: sum\n"

    @flow
    def add(pair: tuple[int, int]) -> int:
        return sum(pair)

    (found,) = poml.check(poml.parse(text), {"claims:add": add}.__getitem__)
    assert (found.code, found.line) == ("OMG-L003", 5)
    assert "valid integer" in found.message
