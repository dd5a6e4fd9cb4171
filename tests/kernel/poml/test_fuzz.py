"""Whatever is fed to the parser, it gives a document or a coded error with a place, soon, and never anything else."""

from __future__ import annotations

import os
import random
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from kernel.poml.leaves import EVERY
from omega.kernel.errors import CODES, DefinitionError
from omega.kernel.flow import Flow, flow
from omega.kernel.poml import Document, diff, draw, format, from_flow, parse, problems_of, to_flow

EXAMPLES = [path.read_text(encoding="utf-8") for path in sorted((Path(__file__).parents[3] / "examples/poml").glob("*.poml"))] + [EVERY]
PIECES = [
    "a", "b -> [c, d]", "->", "[", "]", "{", "}", ": ", ",", "\n", "\n  ", "- ", "? ", "&x ", "*x", "<<: ", "!!str ", "!t ",
    "|\n", ">-\n", "'", '"', "#", " # c", "---\n", "...\n", "%YAML 1.1\n", "\t", "null", "~", "true", "1", "-0", "1e9", "1e999",
    ".nan", "0x1f", "poml: 2.0.0", "nodes:", "connect:", "flow: leaves:add", "tool: a/b", "when: out > 1", "retry: 3",
    "timeout: 30s", '\\', '\\u0041', "\xe9", "\U0001f600", "\u2028", "\ufeff", "\x00", "\x85", "\r\n", "[[[[[[[[", "{a: {a: ",
    "sub: a", "then: a", "cases: {x: a}", "by: a", "env: X", "types:", "input:", "secrets:", "servers:",
    "loop: a", "while: out > 1", "most: 3", "batch: a", "size: 2", "scatter: a", "queue: q", "reduce: a", "start: 0", "gather: [a, b]",
    "reducer: a", "saga: a -> b", "undo: a", "optimize: [a, b]", "goal: cost", "explore: 0.1", "tuned: a", "parameters: {by: 1}",
    "learn: a", "human: {approval: owner}", "human: {form: {type: object}}", "human: {signal: go}", "agent: {instructions: x}",
    "tools: [a]", "module: m@1.0.0", "rate: 10/s", "breaker: 3", "attempt: true", "delay: 1s", "poml: 2.7.0", "poml: 1.0.0",
]  # fmt: skip
FAST_S = float(os.environ.get("OMEGA_FUZZ_S", "2"))
SLOW_S = 120.0


def mutated(rng: random.Random) -> str:
    text = rng.choice(EXAMPLES)
    for _ in range(rng.choice((1, 1, 2, 3, 8, 30))):
        at, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        end = min(end, at + rng.choice((0, 0, 1, 5, 200)))
        piece = rng.choice((rng.choice(PIECES), text[rng.randrange(len(text) + 1) :][: rng.randrange(40)], chr(rng.randrange(1, 0x3000))))
        text = text[:at] + piece + text[end:]
    return text


def fed(text: str) -> bool:
    """Feed one text; whether it was a document."""
    try:
        document = parse(text, name="fuzz.poml")
    except DefinitionError as error:
        problems = problems_of(error)
        assert problems and error.code in CODES, text
        lines = text.count("\n") + text.count("\r") + 2
        assert all(problem.code in CODES and 1 <= problem.line <= lines and problem.column >= 1 for problem in problems), text
        return False
    assert draw.tree(document) and draw.mermaid(document).startswith("flowchart LR\n"), text
    there_and_back(document)
    laid_out = format(text)
    assert format(laid_out) == laid_out == document.text, text
    again = parse(laid_out)
    assert diff(document, again) == [], text
    assert [comment.strip() for comment in comments(document.tree)] == [comment.strip() for comment in comments(again.tree)], text
    return True


def there_and_back(document: Document) -> None:
    """Whatever can be made of a document can be written down from its parts alone, and is then the same flow."""
    try:
        made = to_flow(document, lambda reference: anything)
    except DefinitionError as error:
        assert problems_of(error), document.text
        return
    bare = Flow(**{each.name: getattr(made, each.name) for each in fields(Flow) if each.name != "_digest"})
    written = from_flow(bare, refer=lambda leaf: "leaves:anything")
    assert to_flow(written, lambda reference: anything).digest == made.digest, (document.text, written.text)


@flow
def anything(value: Any) -> Any:
    """Stands where a document names a flow."""
    return value


def comments(tree: object) -> list[str]:
    """Every comment of a tree, sorted: which entry it belongs to may become clearer by the new layout."""
    found: list[str] = []
    for item in getattr(tree, "items", []):
        found += [*(line for line in (*item.before, *item.below) if line), *([item.after] if item.after else []), *comments(item.value)]
    return sorted(found)


def fuzz(seconds: float, seed: int) -> tuple[int, int]:
    rng = random.Random(seed)
    end = time.process_time() + seconds
    tried = documents = 0
    while time.process_time() < end:
        tried += 1
        documents += fed(mutated(rng))
    return tried, documents


@pytest.mark.promise("POML-05")
def test_two_seconds_of_nonsense() -> None:
    tried, documents = fuzz(FAST_S, 1)
    assert tried > 100
    assert documents > 5, "most of what is tried must not fail for the same early reason"


@pytest.mark.promise("POML-05")
@pytest.mark.slow
def test_two_minutes_of_nonsense() -> None:
    fuzz(SLOW_S, 2)


@pytest.mark.promise("POML-05")
@pytest.mark.soak
def test_an_hour_of_nonsense() -> None:
    """An hour of CPU with a seed that is told when it fails; OMEGA_FUZZ_SOAK_S makes it shorter."""
    seed = random.SystemRandom().randrange(2**32)
    try:
        tried, documents = fuzz(float(os.environ.get("OMEGA_FUZZ_SOAK_S", "3600")), seed)
    except BaseException:
        print(f"fuzz: poml, seed {seed}")
        raise
    print(f"fuzz: poml, seed {seed}: {tried} texts, {documents} of them documents")


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "#", "[]", "{}", "a", "null", "\ufeff", "- a", "%", "\x00", "a: [", "? a", "!!python/object:os.system a"]
)
def test_the_smallest_texts(text: str) -> None:
    assert fed(text) is False


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(DefinitionError, match="OMG-L001 b:2:1"):
        parse(b"a: 1\n\xff", name="b")
