"""The laws of the package, over flows, trees and comments that Hypothesis makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.poml.leaves import add, all_more, back, counted, double, odd, opened, plus, refer, resolve, shifted, shout, small, total, word
from omega.kernel.adapt import optimize
from omega.kernel.attempts import attempt
from omega.kernel.compose import cache, fallback, foreach, parallel, race, retry, sequence, switch, timeout, when
from omega.kernel.errors import DefinitionError
from omega.kernel.expressions import Expression
from omega.kernel.flow import Flow
from omega.kernel.learning import tuned
from omega.kernel.people import approval, wait_for
from omega.kernel.poml import SCHEMA_FILE, diff, format, from_flow, parse, to_flow
from omega.kernel.poml.connect import Chain, Fork, Name, parse_chain
from omega.kernel.poml.layout import lay_out, plain_of, tree_of
from omega.kernel.poml.problems import Problems
from omega.kernel.poml.tree import Branch, read
from omega.kernel.repeat import batch, gather, gathered, loop, reduce, scatter
from omega.kernel.sagas import saga

EXAMPLES = sorted((Path(__file__).parents[3] / "examples/poml").glob("*.poml"))
SCHEMA = jsonschema.Draft202012Validator(json.loads((files("omega.kernel.poml") / SCHEMA_FILE).read_text()))
AnyFlow = Flow[Any, Any]
Expression("true")  # loads the compiler of expressions now, not inside a strategy
LAWS = settings(max_examples=60, deadline=None)
NAMES = st.sampled_from(["steady", "first", "add", "a-b", "x/y", "route", "retry", "sequence", "parallel"])


def composed(parts: st.SearchStrategy[AnyFlow]) -> st.SearchStrategy[AnyFlow]:
    """Flows from int to int around others of that kind."""
    pairs = st.lists(parts, min_size=1, max_size=3)
    wrapped = st.one_of(
        st.builds(retry, parts, st.integers(1, 100), backoff_s=st.sampled_from([0, 0.5, 0.25, 7, 0.1])),
        st.builds(timeout, parts, st.sampled_from([0.001, 0.5, 1.5, 30, 90, 3600, 1 / 3]), otherwise=st.none() | parts),
        st.builds(lambda flow, rest: fallback(flow, *rest), parts, pairs),
        st.builds(lambda flow, ttl: or_first(lambda one: cache(one, ttl_s=ttl), flow), parts, st.sampled_from([1, 3600, 0.2])),
    )
    joined = st.one_of(
        st.builds(lambda flows: sequence(*flows), pairs),
        st.builds(lambda flows: or_first(lambda one: race(one, *flows[1:]), flows[0]), pairs),
        st.builds(lambda flows: parallel(*flows) | total, pairs),
        st.builds(when, st.just("out > 3") | st.just(odd), then=parts, otherwise=st.none() | parts),
        st.builds(
            lambda flow, other, default: switch(word, {"odd": flow, "even": other}, default=default), parts, parts, st.none() | parts
        ),
        st.builds(lambda flow, most: counted | foreach(flow, at_once=most) | total, parts, st.sampled_from([1, 64])),
    )
    both = st.one_of(wrapped, joined, heeding(parts, pairs), repeated(parts, pairs))
    return (
        both | st.builds(lambda flow, name: flow.named(name), both, NAMES) | st.builds(lambda flow: flow.named("v", version="2.0.0"), both)
    )


def or_first(make: Callable[..., AnyFlow], part: AnyFlow, *more: Any) -> AnyFlow:
    """What `make` gives, or the part alone where the combinator refuses it (a race of waits, a saga that would not be undone)."""
    try:
        return make(part, *more)
    except DefinitionError:
        return part


def heeding(parts: st.SearchStrategy[AnyFlow], pairs: st.SearchStrategy[list[AnyFlow]]) -> st.SearchStrategy[AnyFlow]:
    """Wrappers that heed time, others, and what comes after."""
    rates = st.sampled_from(["10/s", "1/5s", "300/m", "2/250ms", "1/1.5h"])
    return st.one_of(
        st.builds(lambda flow, wait: flow.delayed(wait), parts, st.sampled_from([0.5, 60, 1 / 3])),
        st.builds(lambda flow, rate, patience: flow.rate_limited(rate, patience=patience), parts, rates, st.sampled_from([0, "1h", "90s"])),
        st.builds(lambda flow, rate: flow.rate_limited(rate, per="key", key="out"), parts, rates),
        st.builds(
            lambda flow, failures, limit, other: flow.breaker(failures=failures, within=limit, otherwise=other),
            parts,
            st.integers(1, 9),
            st.sampled_from(["1m", "5s"]),
            st.none() | parts,
        ),
        st.builds(lambda flow: attempt(flow) | opened, parts),
        st.builds(lambda flow, rest: or_first(lambda one: saga((one, back), *rest), flow), parts, pairs),
        st.builds(
            lambda flow, others, goal: or_first(lambda one: optimize(one, *others, goal=goal, score=small), flow),
            parts,
            pairs,
            st.sampled_from(["cost", "latency", {"cost": 0.5, "quality": 0.5}]),
        ),
        st.builds(lambda settings: tuned(shifted, settings), st.fixed_dictionaries({"by": st.integers(-3, 3)})),
    )


def repeated(parts: st.SearchStrategy[AnyFlow], pairs: st.SearchStrategy[list[AnyFlow]]) -> st.SearchStrategy[AnyFlow]:
    """What does the same again, and what brings results together."""
    asked = st.just("out < 3") | st.just(odd)
    return st.one_of(
        st.builds(lambda flow, ask, most: loop(flow, while_=ask, most=most), parts, asked, st.sampled_from([1, 100])),
        st.builds(lambda size: counted | batch(all_more, size=size) | total, st.integers(1, 3)),
        st.builds(
            lambda flow, queue: or_first(lambda one: counted | scatter(one, queue=queue) | total, flow),
            parts,
            st.sampled_from(["", "slow"]),
        ),
        st.builds(lambda start: counted | (reduce(plus) if start is None else reduce(plus, start=start)), st.none() | st.integers(0, 3)),
        st.builds(lambda flows: gather(*flows, reducer=total), pairs),
        st.builds(lambda flows: gather(*flows, reducer=plus), pairs),
        st.builds(lambda flows: gather(*flows, reducer=plus, start=5), pairs),
        st.builds(lambda flow: gathered(counted | foreach(flow), reducer=plus, start=0), parts),
    )


BASE = [add, double, add.named("more"), double.named("add"), approval("owner", "really?", of=int, within="8h"), wait_for("go", int, of=int)]
INTS = st.recursive(st.sampled_from(BASE), composed, max_leaves=8)


def bare(flow: AnyFlow) -> AnyFlow:
    """The same flow without the document it came from."""
    return Flow(**{each.name: getattr(flow, each.name) for each in fields(Flow) if each.name != "_digest"})


@pytest.mark.promise("POML-01")
@LAWS
@given(INTS)
def test_flow_to_document_and_back_is_the_same_flow(flow: AnyFlow) -> None:
    document = from_flow(flow, refer=refer)
    again = to_flow(document, resolve)
    assert again.digest == flow.digest
    assert from_flow(bare(again), refer=refer).text == document.text, "and what was written once is written so again"
    assert from_flow(again) is document
    assert format(document.text) == document.text
    assert next(SCHEMA.iter_errors(document.plain), None) is None, "what is written fits the published schema"


@pytest.mark.promise("POML-01")
@LAWS
@given(INTS)
def test_a_flow_that_changed_is_written_anew_and_keeps_comments(flow: AnyFlow) -> None:
    text = from_flow(flow, refer=refer).text.replace("poml: 2.0.0", "# first\npoml: 2.0.0  # second")
    renamed = to_flow(parse(text), resolve).named("another")
    document = from_flow(renamed, refer=refer)
    assert document.text.startswith("# first\npoml: 2.0.0  # second\nname: another\n")
    assert to_flow(document, resolve).digest == renamed.digest


CHAINS = st.deferred(lambda: st.lists(STAGES, min_size=1, max_size=3).map(lambda stages: Chain(tuple(stages))))
STAGES: st.SearchStrategy[Name | Fork] = st.recursive(
    st.from_regex(r"[a-z][a-z0-9-]{0,4}[a-z](/[a-z]{1,3})?", fullmatch=True).map(Name),
    lambda inner: st.lists(st.lists(inner, min_size=1, max_size=2).map(lambda stages: Chain(tuple(stages))), min_size=1, max_size=3).map(
        lambda chains: Fork(tuple(chains))
    ),
    max_leaves=6,
)


@LAWS
@given(CHAINS)
def test_an_expression_is_read_as_it_is_spelled(chain: Chain) -> None:
    assert str(parse_chain(str(chain))) == str(chain)
    assert str(parse_chain(str(chain).replace(" ", ""))) == str(chain), "blanks carry no meaning"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    [
        "null",
        "yes",
        "1",
        "1.0",
        "-",
        "a: b",
        "a #b",
        "#",
        "[",
        "a\nb",
        "a\nb\n",
        " a\nb",
        "\n",
        "a\n\nb\n",
        "2026-01-01",
        "a " * 90 + "b",
        "'",
        '"',
        "\\",
        "a\tb",
        "{}",
        "é",
    ]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.promise("POML-03")
@settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXTS, PLAIN, min_size=1, max_size=4))
def test_plain_data_survives_its_layout(data: dict[str, Any]) -> None:
    tree = tree_of(data)
    assert isinstance(tree, Branch)
    text = lay_out(tree)
    problems = Problems("x")
    again = read(text, problems)
    assert again is not None, (text, problems.found)
    assert plain_of(again) == data
    assert lay_out(again) == text


@pytest.mark.promise("POML-03")
@LAWS
@given(st.sampled_from(EXAMPLES), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 12), st.booleans()), max_size=12))
def test_the_layout_keeps_every_comment(path: Path, places: list[tuple[int, int, bool]]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    count = 0
    for place, indent, blank in places:
        at = place % len(lines)
        if "#" not in lines[at] and not blank:
            lines[at] += f" # c{count}."
        else:
            lines[at:at] = [*([""] if blank else []), f"{' ' * indent}# c{count}."]
        count += 1
    once = format("\n".join(lines))
    assert format(once) == once
    assert all(once.count(f"# c{number}.") == 1 for number in range(count))
    assert diff(parse(once), parse(path.read_text(encoding="utf-8"))) == []


@LAWS
@given(INTS, INTS)
def test_a_difference_is_found_exactly_when_there_is_one(left: AnyFlow, right: AnyFlow) -> None:
    a, b = from_flow(left, refer=refer), from_flow(right, refer=refer)
    assert diff(a, a) == []
    assert bool(diff(a, b)) == (a.plain != b.plain)
    swapped = {(change.path, {"added": "removed", "removed": "added"}.get(change.what, change.what)) for change in diff(b, a)}
    assert {(change.path, change.what) for change in diff(a, b)} == swapped


def test_types_survive() -> None:
    """Leaves of other types than the ones above."""
    flow = (add | word | shout).named("loud")
    again = to_flow(from_flow(flow, refer=refer), resolve)
    assert again.digest == flow.digest
    assert again(1) == "EVEN"
