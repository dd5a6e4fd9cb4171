"""Expressions that join nodes: `fetch -> [lint, scan -> rate] -> report`.

An arrow hands the result on, brackets run branches at the same time on the same input. The same grammar names what a node refers to
(`then: page -> log`), so every series-parallel graph has exactly one spelling.

    chain  = stage ("->" stage)*
    stage  = name | "[" chain ("," chain)* "]"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omega.kernel.poml.problems import quoted

MAX_BRACKETS = 24
"""Deepest nesting of brackets in one expression."""

NODE = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_.]|-(?!>)){0,63}(?:/(?:[A-Za-z0-9_.]|-(?!>)){1,64})?")
"""The name of a node: the same as the name of a flow."""
_TOKEN = re.compile(rf"\s*(?:(?P<arrow>->)|(?P<mark>[\[\],])|(?P<name>{NODE.pattern}))")


@dataclass(frozen=True, slots=True)
class Name:
    """A node by its name; `offset` is where it stands in the expression."""

    text: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Fork:
    """Branches on the same input."""

    chains: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Stages one after the other."""

    stages: tuple[Name | Fork, ...]

    def names(self) -> Iterator[Name]:
        """Every name in it, in order."""
        for stage in self.stages:
            if isinstance(stage, Name):
                yield stage
            else:
                for chain in stage.chains:
                    yield from chain.names()

    def edges(self) -> Iterator[tuple[Name, Name]]:
        """Every (from, to) that an arrow draws."""
        for stage in self.stages:
            if isinstance(stage, Fork):
                for chain in stage.chains:
                    yield from chain.edges()
        for left, right in zip(self.stages, self.stages[1:], strict=False):
            for source in _ends(left, -1):
                for target in _ends(right, 0):
                    yield source, target

    def __str__(self) -> str:
        return " -> ".join(
            stage.text if isinstance(stage, Name) else f"[{', '.join(str(chain) for chain in stage.chains)}]" for stage in self.stages
        )


class NotAnExpression(Exception):
    """Says at which `offset` of the expression what was `expected`."""

    def __init__(self, offset: int, message: str, expected: str) -> None:
        super().__init__(message)
        self.offset, self.message, self.expected = offset, message, expected


def parse_chain(text: str) -> Chain:
    """The chain that `text` spells. Raises NotAnExpression."""
    tokens: list[tuple[str, str, int]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            start = end - len(text[position:end].lstrip())
            raise NotAnExpression(start, f"{quoted(text[start:], 12)} cannot stand in an expression", "node names, ->, [ , ]")
        tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    tokens.append(("end", "", len(text)))
    chain, rest = _chain(tokens, 0, 0)
    if tokens[rest][0] != "end":
        raise NotAnExpression(tokens[rest][2], f"{quoted(tokens[rest][1])} is one too many", "-> or the end")
    return chain


def _chain(tokens: Sequence[tuple[str, str, int]], index: int, depth: int) -> tuple[Chain, int]:
    stages: list[Name | Fork] = []
    while True:
        stage, index = _stage(tokens, index, depth)
        stages.append(stage)
        if tokens[index][0] != "arrow":
            return Chain(tuple(stages)), index
        index += 1


def _stage(tokens: Sequence[tuple[str, str, int]], index: int, depth: int) -> tuple[Name | Fork, int]:
    kind, text, offset = tokens[index]
    if kind == "name":
        return Name(text, offset), index + 1
    if text != "[":
        raise NotAnExpression(offset, f"{quoted(text)} stands here" if text else "the expression ends here", "a node or [")
    if depth >= MAX_BRACKETS:
        raise NotAnExpression(offset, f"brackets deeper than {MAX_BRACKETS}", "a node of its own for the inner part")
    chains: list[Chain] = []
    while True:
        chain, index = _chain(tokens, index + 1, depth + 1)
        chains.append(chain)
        if tokens[index][1] != ",":
            break
    if tokens[index][1] != "]":
        raise NotAnExpression(tokens[index][2], "a bracket is not closed", "] or ,")
    return Fork(tuple(chains)), index + 1


def _ends(stage: Name | Fork, which: int) -> Iterator[Name]:
    if isinstance(stage, Name):
        yield stage
    else:
        for chain in stage.chains:
            yield from _ends(chain.stages[which], which)


def find_cycle(edges: Mapping[str, Sequence[str]]) -> list[str]:
    """A way round in a graph, first name repeated at its end; empty when there is none. No recursion: graphs may be long."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                path.pop()
                on_path.discard(name)
                done.add(name)
            elif name in on_path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                on_path.add(name)
                stack.append((name, True))
                stack.extend((target, False) for target in reversed(edges.get(name, ())))
    return []
