"""Pictures of documents, and whether schemas fit where documents are joined."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.poml.leaves import EVERY, add, double, refer
from omega import stream
from omega.kernel.poml import Document, draw, from_flow, parse
from omega.kernel.poml.schemas import misfit

HEAD = "poml: 2.0.0\nname: it\nnodes:\n"


def of(nodes: str, connect: str) -> Document:
    return parse(f"{HEAD}{nodes}connect: '{connect}'\n")


def arrows(document: Document) -> set[tuple[str, str, str]]:
    """The arrows of a flowchart by the names of nodes."""
    drawn = draw.flowchart(document)
    names = {box: key or "(join)" for box, key, _, _ in drawn.boxes}
    return {(names[source], names[target], label) for source, target, label in drawn.arrows}


LEAVES = "".join(f"  {name}: {{flow: leaves:add}}\n" for name in "abcd")


def test_arrows_follow_the_expression() -> None:
    assert arrows(of(LEAVES, "a -> [b, c] -> d")) == {("a", "b", ""), ("a", "c", ""), ("b", "d", ""), ("c", "d", "")}
    assert arrows(of(LEAVES, "[a, b] -> [c, d]")) == {("a", "(join)", ""), ("b", "(join)", ""), ("(join)", "c", ""), ("(join)", "d", "")}


def test_branches_stand_ins_and_rounds_have_their_words() -> None:
    chosen = of(LEAVES + "  w: {when: out > 1, then: a}\n", "w -> [b, c, d]")
    assert {("w", "a", "then"), ("w", "(join)", "else"), ("a", "(join)", "")} <= arrows(chosen)
    asked = of(LEAVES + "  s: {switch: {by: a}, cases: {x: b}, default: c}\n", "s -> d")
    assert arrows(asked) == {("s", "a", "by"), ("a", "b", "case x"), ("a", "c", "default"), ("b", "d", ""), ("c", "d", "")}
    helped = of("  f: {flow: leaves:add, fallback: a}\n" + LEAVES, "f -> [b, c, d]")
    assert {("f", "a", "fallback"), ("f", "(join)", ""), ("a", "(join)", "")} <= arrows(helped)
    rounds = of(LEAVES + "  r: {loop: a, while: out < 9}\n", "r -> [b, c, d]")
    assert {("r", "a", ""), ("a", "r", "next"), ("r", "b", "all")} <= arrows(rounds)


def test_a_wide_crossing_stays_drawable() -> None:
    names = [f"n{number}" for number in range(400)]
    document = of(
        "".join(f"  {name}: {{flow: leaves:add}}\n" for name in names), f"[{', '.join(names[:200])}] -> [{', '.join(names[200:])}]"
    )
    assert len(draw.flowchart(document).arrows) == 400, "not 200 times 200"


def test_a_node_used_in_many_places_is_drawn_whole_once_in_the_tree() -> None:
    lines = draw.tree(of("  p: {sub: a -> b}\n  q: {sub: p -> c}\n  d: {flow: leaves:add}\n  a: {flow: leaves:add}\n"
                         "  b: {flow: leaves:add}\n  c: {flow: leaves:add}\n", "p -> q -> d"))  # fmt: skip
    assert sum("flow leaves:add" in line for line in lines) == 4
    assert any(line.endswith("(as above)") for line in lines)


def test_the_language_of_flowcharts_is_never_broken_by_what_a_document_says() -> None:
    document = of("  w: {when: ''out == \"a]|{}<b>\"'', then: a}\n  a: {flow: leaves:add}\n".replace("''", "'"), "w")
    for line in draw.mermaid(document).splitlines()[1:]:
        shape = r'n\d+(\[|\{|\[/|\(\[|\{\{|\(\()"[^"\[\]{}|<>]*(<br/>[^"\[\]{}|<>]*)?"(\]|\}|/\]|\]\)|\}\}|\)\))'
        assert re.fullmatch(rf'  ({shape}|n\d+ -->(\|"[^"|]*"\|)? n\d+)', line), line


def test_every_kind_and_option_is_drawn() -> None:
    document = parse(EVERY)
    text = "\n".join(draw.tree(document))
    assert all(f"   {node.kind}" in text for node in document.nodes.values())
    assert {node["node"] for node in draw.data_of(document)["nodes"]} >= set(document.nodes) - {"many"}
    assert "rate 10/s" in text and "delay 1s" in text and "breaker 3" in text and "agent model small" in text and "human form Form" in text


def test_any_flow_gives_its_document() -> None:
    both = (add | double.retry(3)).named("both")
    assert from_flow(both, refer=refer).text == both.poml().replace("kernel.poml.leaves:", "leaves:")


@stream(reduce="text")
async def letters(n: int) -> AsyncIterator[str]:
    """So many letters."""
    for _ in range(n):
        yield "a"


def test_a_stream_stands_under_the_name_of_its_function() -> None:
    assert f"{{flow: {__name__}:letters}}" in (add | letters).poml()


# -- schemas


def properties(required: list[str] | None = None, **kinds: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": {name: {"type": kind} for name, kind in kinds.items()}}
    return found | ({"required": required} if required else {})


@pytest.mark.parametrize(
    ("gives", "takes", "words"),
    [
        ({"type": "string"}, {"type": "integer"}, "the value is of type string, integer is wanted"),
        ({"type": "integer"}, {"type": "number"}, ""),
        ({"type": "number"}, {"type": "integer"}, "the value is of type number, integer is wanted"),
        ({}, {"type": "string"}, ""),
        ({"type": ["string", "null"]}, {"type": "string"}, ""),
        (properties(a="string"), properties(["a"], a="string"), ""),
        (properties(a="string"), properties(["b"], b="string"), "b is wanted, and not among what is given"),
        (properties(a="string"), properties(a="boolean"), "a is of type string, boolean is wanted"),
        ({"type": "object"}, properties(["b"]), ""),
        (
            {"type": "array", "items": properties(a="string")},
            {"type": "array", "items": properties(a="null")},
            "[].a is of type string, null is wanted",
        ),
        ({"$ref": "#/$defs/T", "$defs": {"T": {"type": "string"}}}, {"type": "null"}, "the value is of type string, null is wanted"),
        ({"$ref": "#/nowhere"}, {"type": "null"}, ""),
        ({"$ref": "#"}, {"type": "null"}, ""),
    ],
)
def test_only_what_is_certain_is_told(gives: dict[str, Any], takes: dict[str, Any], words: str) -> None:
    assert misfit(gives, takes) == words


KINDS = st.sampled_from(["string", "integer", "number", "boolean", "null"])
SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": KINDS}) | st.just({}),
    lambda inner: (
        st.builds(lambda item: {"type": "array", "items": item}, inner)
        | st.builds(
            lambda parts: {"type": "object", "properties": parts, "required": sorted(parts)}, st.dictionaries(st.sampled_from("abc"), inner)
        )
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(SCHEMAS)
def test_a_schema_fits_itself(schema: dict[str, Any]) -> None:
    assert misfit(schema, schema) == ""


def test_a_schema_that_leads_to_its_parts_many_times_is_compared_in_no_time() -> None:
    part = {"type": "object", "properties": {f"p{number}": {"$ref": "#"} for number in range(40)}}
    began = time.perf_counter()
    assert misfit(part, dict(part)) == "" and time.perf_counter() - began < 1
    wrong = part | {"properties": {**part["properties"], "z": {"type": "string"}}}
    right = part | {"properties": {**part["properties"], "z": {"type": "integer"}}}
    assert misfit(wrong, right).endswith("z is of type string, integer is wanted")
