"""Answering a form at the command line: what is asked is shown, what is typed is read by the form's own schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.program import omega
from omega.cli.exits import Exit

ASKS = '''
from typing import Literal

from pydantic import BaseModel, Field

from omega import flow, form, wait_for


class Booking(BaseModel):
    """Where it goes."""

    account: str
    amount: int = Field(ge=1)
    way: Literal["wire", "card"] = "card"


@flow
def ask(n: int) -> int:
    return n


main = (ask | form(Booking, message="which account, and how much?", within="2d")).named("booking")
number = ask | form(int, message="how many?")
listens = ask | wait_for("go", int)
'''


@pytest.fixture
def asks(home: Path, tmp_path: Path) -> str:
    (tmp_path / "asks.py").write_text(ASKS)
    assert omega("run", "asks.py:main", "--input", "n=1", "--id", "first").status == Exit.WAITING
    return "first"


@pytest.mark.promise("FLOW-64")
def test_show_says_what_is_asked_and_how_to_answer(asks: str) -> None:
    (step,) = [step for step in omega("show", asks, "--json").document["steps"] if step.get("status") == "waiting"]
    asked = step["asks"]
    assert (asked["kind"], asked["message"], asked["role"]) == ("form", "which account, and how much?", "")
    assert set(asked["schema"]["properties"]) == {"account", "amount", "way"} and asked["until"] > step["began"]
    shown = omega("show", asks).out
    assert "which account, and how much?" in shown and f"do  omega answer {asks} form" in shown
    fields = [line.split() for line in shown[shown.index("  asks for\n") :].splitlines()[1:4]]
    assert [field[0] for field in fields] == ["account", "amount", "way"] and " ".join(fields[0]) == "account string must be given"
    refused = omega("answer", asks, "form", "--input", "amount=12").err
    assert "give what the form asks for: account (string), amount (integer), way (" in refused


@pytest.mark.promise("FLOW-64")
def test_an_answer_is_typed_field_by_field(asks: str) -> None:
    said = omega("answer", asks, "form", "--input", "account=0071", "--input", "amount=12", "--json")
    assert said.status == 0 and said.document["verb"] == "answer" and said.document["recorded"] is True
    (step,) = [step for step in omega("show", asks, "--json").document["steps"] if "asks" in step]
    assert step["status"] == "answered"
    done = omega("resume", asks, "--json")
    assert done.document["value"] == {"account": "0071", "amount": 12, "way": "card"}, "a text of digits stays a text"


@pytest.mark.parametrize(
    "typed",
    [
        ["--input", "account=a"],
        ["--input", "account=a", "--input", "amount=0"],
        ["--input", "account=a", "--input", "amount=many"],
        ["--input", "account=a", "--input", "amount=1", "--input", "way=post"],
        ["--input", "colour=red"],
        ["--input", "red"],
        ["--input-json", "{"],
        ["--input", "amount=1", "--input-json", "{}"],
        [],
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_trace(asks: str, typed: list[str]) -> None:
    before = omega("show", asks, "--json").document["steps"]
    said = omega("answer", asks, *typed, "--json")
    assert (said.status, said.document["error"]["code"]) == (Exit.USAGE, "OMG-I001")
    assert omega("show", asks, "--json").document["steps"] == before


def test_a_form_may_ask_for_one_value_or_come_from_a_file(asks: str, tmp_path: Path) -> None:
    assert omega("run", "asks.py:number", "--input", "n=1", "--id", "second").status == Exit.WAITING
    assert omega("answer", "second", "--input", "x").status == Exit.USAGE
    assert omega("answer", "second", "--input", "7").status == 0
    assert omega("resume", "second", "--json").document["value"] == 7
    (tmp_path / "answer.json").write_text(json.dumps({"account": "a", "amount": 3, "way": "wire"}))
    assert omega("answer", asks, "--input-json", "@answer.json").status == 0
    assert omega("resume", asks, "--json").document["value"]["way"] == "wire"


def test_where_nothing_is_asked_there_is_nothing_to_answer(asks: str) -> None:
    assert omega("run", "asks.py:listens", "--input", "n=1", "--id", "third").status == Exit.WAITING
    assert "do  omega signal third go VALUE" in omega("show", "third").out
    for arguments, code in (
        (("answer", "third", "--input", "1"), "OMG-I005"),
        (("answer", "nobody", "--input", "1"), "OMG-I003"),
        (("answer", asks, "other", "--input", "account=a", "--input", "amount=1"), "OMG-I004"),
        (("approve", asks), "OMG-I005"),
    ):
        assert omega(*arguments, "--json").document["error"]["code"] == code


def test_a_cancelled_run_whose_saga_is_still_to_be_undone_says_so(home: Path, tmp_path: Path) -> None:
    (tmp_path / "trip.py").write_text(
        "from omega import flow, form, saga\n\n\n@flow\ndef book(n: int) -> int:\n    return n\n\n\n"
        "@flow\ndef give_back(pair: tuple[int, int]) -> None: ...\n\n\nmain = saga((book, give_back), form(int, message='how much?'))\n"
    )
    assert omega("run", "trip.py", "--input", "1", "--id", "first").status == Exit.WAITING
    said = omega("cancel", "first").out.splitlines()
    assert said[0].startswith("cancelled   first") and said[0].endswith("and to be undone first") and said[1] == "do  omega resume first"
    assert omega("show", "first").out.splitlines()[-1] == "do  omega resume first"
    assert "give_back" in omega("resume", "first").out
    assert omega("show", "first", "--json").document["status"] == "cancelled"
