"""Schemas of strangers: a small one that asks for work without end is held to a bound, or refused; a sound one is read as it is meant."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega.adapters.mcp.description import ToolDescription
from omega.adapters.mcp.schema import check_answer, check_arguments
from omega.kernel.checking import MAX_SCHEMA, MAX_STEPS, Unusable, errors
from omega.kernel.errors import InputError, UpstreamError
from omega.kernel.patterns import MAX_PATTERN, Unmatchable, matcher
from omega.kernel.types import check_schema

SOON_S = 8.0
"""How long a bomb may keep the engine; without a bound it would be hours."""

LADDER: dict[str, Any] = {
    "$ref": "#/$defs/n0",
    "$defs": {f"n{at}": {"allOf": [{"$ref": f"#/$defs/n{at + 1}"}] * 2} for at in range(40)} | {"n40": {"type": "string"}},
}
BOMBS: dict[str, tuple[Any, Any]] = {
    "a ladder of references": (LADDER, 1),
    "a reference to itself": ({"$ref": "#"}, 1),
    "a dynamic reference to itself": ({"$dynamicAnchor": "x", "$dynamicRef": "#x"}, 1),
    "a reference to elsewhere": ({"$ref": "http://169.254.169.254/latest/meta-data"}, 1),
    "a reference to a file": ({"$ref": "file:///etc/passwd"}, 1),
    "a pattern that backtracks": ({"type": "string", "pattern": "^(a+)+$"}, "a" * 5_000 + "!"),
    "another one": ({"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}, "a" * 5_000),
    "a pattern with overlapping ways": ({"type": "string", "pattern": "^(a|aa)+$"}, "a" * 5_000 + "!"),
    "names that backtrack": ({"patternProperties": {"^(a+)+$": {}}}, {"a" * 5_000 + "!": 1}),
    "names beside patterns": ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 5_000 + "!": 1}),
    "patterns written out": ({"type": "string", "pattern": "(" * 8 + "a{50}" + "){50}" * 8}, "a"),
    "a condition that backtracks": ({"type": "string", "pattern": "^(?=(a+)+$)b"}, "a" * 5_000 + "!"),
    "what refers back": ({"type": "string", "pattern": r"^(a+)+\1$"}, "a" * 40 + "!"),
    "items that are never the same": ({"uniqueItems": True}, [*({"n": n} for n in range(5_000)), *range(5_000)]),
    "many ways for many values": ({"items": {"oneOf": [{"const": n} for n in range(120)]}}, list(range(120))),
    "names held against many patterns": (
        {"patternProperties": {f"{n}(a|b)*c$": {} for n in range(100)}, "additionalProperties": False},
        {f"{n}" + "ab" * 20: n for n in range(2_000)},
    ),
}


@pytest.mark.promise("ATTACK-03")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_schema_made_to_cost_time_costs_little(bomb: str) -> None:
    schema, value = BOMBS[bomb]
    began = time.process_time()
    try:
        found = next(errors(schema, value), None)
    except Unusable as refused:
        assert len(str(refused)) < 1_000
    else:
        assert found is None or found.validator
    assert time.process_time() - began < SOON_S


@pytest.mark.slow
@pytest.mark.promise("ATTACK-03")
@pytest.mark.parametrize("bomb", ["a ladder of references", "a pattern that backtracks", "what refers back", "a reference to a file"])
def test_the_same_through_a_tool_and_through_a_form(bomb: str) -> None:
    schema, value = BOMBS[bomb]
    pin = ToolDescription("evil", "tool", input_schema={"type": "object", "properties": {"x": schema}}, output_schema=schema)
    began = time.process_time()
    with pytest.raises((InputError, UpstreamError)) as one:
        check_arguments("evil", _whole(pin, schema), {"x": value})
    with pytest.raises(UpstreamError) as other:
        check_answer("evil", pin, value)
    with pytest.raises(InputError) as form:
        check_schema(schema, value)
    assert {one.value.code, other.value.code} <= {"OMG-I001", "OMG-M006"}
    assert form.value.code == "OMG-I001"
    assert time.process_time() - began < SOON_S * 3


def _whole(pin: ToolDescription, schema: Any) -> ToolDescription:
    """A tool that takes x; where the schema has definitions they stand at the root, as references want them."""
    inner = {key: part for key, part in schema.items() if key != "$defs"}
    wanted = {"type": "object", "properties": {"x": inner}, "$defs": schema.get("$defs", {})}
    return ToolDescription(pin.server, pin.name, input_schema=wanted)


@pytest.mark.parametrize(
    "schema", [{"type": "no-such"}, {"pattern": "("}, {"properties": 7}, 7, [], {"$schema": 7}, {"$schema": ["x"]}, "x" * (MAX_SCHEMA + 1)]
)
def test_what_is_no_schema_is_said_to_be_none(schema: Any) -> None:
    with pytest.raises(Unusable):
        list(errors(schema, {}))


_INSIDE = {"type": {"type": 5}, "name": {"required": 5}, "order": {"minimum": "x"}, "parts": {"properties": 5}}


@pytest.mark.promise("ATTACK-03")
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "description": "\ud800"}, {}),
        ({"properties": {"\ud800": {}}}, {}),
        ({"enum": ["\ud800"]}, "a"),
        *(({"$ref": f"#/const/{name}", "const": _INSIDE}, {"b": 1} if name != "order" else 1) for name in _INSIDE),
        ({"$ref": "#/type", "type": "object"}, {}),
        ({"$ref": "#/prefixItems/x", "prefixItems": [{}]}, 1),
        ({"$ref": "#/enum/0", "enum": [{"multipleOf": 0}]}, 5),
        ({"$schema": "http://["}, 1),
        ({"$schema": "http://json-schema.org/draft-03/schema#", "extends": {"disallow": "x"}}, 5),
        ({"multipleOf": 0.5}, 10**400),
    ],
)
def test_what_the_library_stumbles_over_is_said_to_be_unusable(schema: Any, value: Any) -> None:
    with pytest.raises(Unusable) as refused:
        list(errors(schema, value))
    str(refused.value).encode()


def test_a_nest_of_a_thousand_schemas_is_refused() -> None:
    schema: Any = {"type": "object"}
    for _ in range(1_000):
        schema = {"not": schema}
    with pytest.raises(Unusable):
        list(errors(schema, {}))


@pytest.mark.slow
def test_steps_are_those_of_one_check() -> None:
    schema = {"items": {"type": "integer"}}
    for _ in range(3):
        assert list(errors(schema, list(range(MAX_STEPS - 10)))) == []
    with pytest.raises(Unusable):
        list(errors(schema, list(range(MAX_STEPS + 10))))


SEEN_IN_THE_WILD = {
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$": (
        ["ada@example.org", "a.b+c@sub.example.org"],
        [".ada@example.org", "a..b@example.org", "ada@", "ada@example"],
    ),
    r"^(?=.*[a-z])(?=.*\d).{8,}$": (["abcdefg1"], ["abcdefgh", "ABCDEFG1", "abc1"]),
    r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$": (["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
    r"^https?:\/\/[^\s\/$.?#].[^\s]*$": (["https://example.org/x"], ["ftp://example.org", "https:// x"]),
    r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$": (["2026-11-21", "2026-11-21T10:00:00Z"], ["21.11.2026"]),
    r"^[\w.\-\[\]]+$": (["a.b[0]-c"], ["a b"]),
    r"^((25[0-5]|[0-9]{1,3})\.){3}[0-9]{1,3}(:[0-9]{1,5})?(/[a-z]{0,63}){0,40}$": (["127.0.0.1:80/a/b"], ["127.0.0"]),
    r"[&~]{2}": (["a&&b", "~&"], ["a&b"]),
    r"\<b\>": (["<b>"], ["b"]),
    r"^(?!con$|nul$)[a-z]+$": (["ada", "cons"], ["con", "nul"]),
    "": (["", "x"], []),
}


@pytest.mark.parametrize("pattern", SEEN_IN_THE_WILD)
def test_patterns_of_real_schemas_mean_what_they_say(pattern: str) -> None:
    good, bad = SEEN_IN_THE_WILD[pattern]
    found = matcher(pattern)
    assert all(found(text) for text in good)
    assert not any(found(text) for text in bad)


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", "(?<=a)b", "a(?=b)", "^(?=a)b|c", "^(?=a", "(", "a{2}{9999}", "[a-z--[aeiou]]", "x" * (MAX_PATTERN + 1), "a{99999999999}"],
)
def test_patterns_that_cannot_be_matched_in_time_are_refused(pattern: str) -> None:
    with pytest.raises(Unmatchable):
        matcher(pattern)


ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", r"\d", r"\w", r"\.", "(?:ab)", "(a|b)", "-", "1"])
PARTS = st.tuples(ATOMS, st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}"])).map("".join)
PATTERNS = st.tuples(st.sampled_from(["", "^", "^(?!a)", "^(?=.*b)", "^(?=a)(?!ab)"]), st.lists(PARTS, max_size=5).map("".join))


@settings(max_examples=80, deadline=None)
@given(PATTERNS, st.text(alphabet="abc1.-", max_size=8))
def test_a_pattern_matches_what_pythons_engine_matches(pattern: tuple[str, str], text: str) -> None:
    written = "".join(pattern)
    assert matcher(written)(text) == (re.search(written, text) is not None), (written, text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 1.5, -0.0]) | st.sampled_from(["", "a", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(JSON_VALUES, max_size=5))
def test_items_are_the_same_exactly_when_the_standard_says_so(values: list[Any]) -> None:
    from jsonschema._utils import equal

    same = any(equal(one, other) for at, one in enumerate(values) for other in values[at + 1 :])
    assert bool(list(errors({"uniqueItems": True}, values))) == same
