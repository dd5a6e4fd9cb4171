"""Predicates as text: CEL over `out`, from documents that nobody trusts."""

from __future__ import annotations

from typing import Any

import pytest

from omega import DefinitionError, FlowError
from omega.kernel.expressions import MAX_EXPRESSION, Expression


@pytest.mark.parametrize(
    ("source", "out", "value"),
    [
        ("out > 3", 4, True),
        ("out[0].urgency >= 4", [{"urgency": 5}], True),
        ("out.team == 'net' && size(out.text) < 3", {"team": "net", "text": "ab"}, True),
        ("out.exists(x, x > 2)", [1, 2, 3], True),
        ("has(out.a) ? out.a : 'none'", {}, "none"),
        ("out == null", None, True),
    ],
)
def test_what_expressions_give(source: str, out: Any, value: Any) -> None:
    assert Expression(source).value(out) == value


@pytest.mark.parametrize(
    "source", ["", "out >", "out; drop", "import os", "lambda: 0", "out = 1", "(" * 200, "x" * (MAX_EXPRESSION + 1), "'\x00", "out..a"]
)
def test_what_does_not_parse_is_refused_when_it_is_written(source: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        Expression(source)
    assert refusal.value.code == "OMG-F004"


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("out.missing > 1", {}),
        ("out[5] == 1", [1]),
        ("out / 0 == 1", 4),
        ("out + 'a' == 'b'", 3),
        ("unknown > 3", 1),
        ("out.__class__ == 1", {}),
        ("__import__('os')", 1),
        ("open('/etc/passwd')", 1),
        ("9223372036854775807 + out > 0", 1),
    ],
)
def test_what_cannot_be_evaluated_is_a_failure_of_the_step(source: str, out: Any) -> None:
    try:
        expression = Expression(source)
    except DefinitionError as refusal:
        assert refusal.code == "OMG-F004"
        return
    with pytest.raises(FlowError) as failure:
        expression.value(out)
    assert failure.value.code == "OMG-R001" and source[:20] in failure.value.cause


@pytest.mark.parametrize("source", ["out", "1", "'true'", "null", "[true]"])
def test_a_predicate_is_true_or_false_and_nothing_like_it(source: str) -> None:
    with pytest.raises(FlowError) as failure:
        Expression(source).holds(7)
    assert failure.value.code == "OMG-R001" and "not true or false" in failure.value.cause
