"""Arguments that are seen to fit without the validator fit for the validator too."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.schema import check_arguments, mismatch
from omega.adapters.mcp.shapes import shape_of
from omega.kernel.errors import InputError

NAMES = st.sampled_from(["a", "b", "c"])
KINDS = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(
            NAMES, st.fixed_dictionaries({"type": KINDS}, optional={"minLength": st.just(2), "title": st.just("t")})
        ),
        "required": st.lists(NAMES, unique=True),
        "additionalProperties": st.booleans(),
        "description": st.just("d"),
        "minProperties": st.just(1),
    },
)
VALUES = st.dictionaries(NAMES, st.sampled_from(["", "xy", 0, 1, 1.0, 1.5, True, None, [], {}]))


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, VALUES)
def test_what_is_seen_to_fit_fits(schema: dict[str, Any], value: dict[str, Any]) -> None:
    shape = shape_of(schema)
    if shape is not None and shape.fits(value):
        assert mismatch(schema, value) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}}},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "patternProperties": {}},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "$schema": "http://json-schema.org/draft-03/schema#", "required": True},
        {"anyOf": [{"type": "object"}]},
        True,
    ],
)
def test_schemas_that_demand_more_are_left_to_the_validator(schema: Any) -> None:
    assert shape_of(schema) is None


def test_arguments_of_a_plain_tool_are_held_against_its_schema() -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False}
    pin = ToolDescription("s", "t", input_schema=schema)
    check_arguments("s", pin, {"text": "x"})
    for wrong in ({}, {"text": 1}, {"text": "x", "more": 1}):
        with pytest.raises(InputError) as caught:
            check_arguments("s", pin, wrong)
        assert caught.value.code == "OMG-I001"
