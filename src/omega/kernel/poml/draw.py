"""A document as a picture: a tree for terminals, a flowchart in Mermaid's language for pages, nodes and edges for a canvas.

Drawn from the document alone, so that nothing it names has to be there. A node that stands in several places is drawn whole once; in the
flowchart it is drawn wherever it stands, up to `MAX_DRAWN` boxes, after which what is inside a node stays inside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omega.kernel.poml.connect import Chain, Fork, Name
from omega.kernel.poml.document import Document, Node, Typed
from omega.kernel.poml.rewrite import duration

MAX_DRAWN = 1_000
"""Boxes of one flowchart: more cannot be read, and renderers give up."""
MAX_WORDS = 60
"""Characters of a value that a picture shows."""

ASKING = frozenset({"when", "switch"})
"""Kinds whose value is a question: a flow there decides, it is no part of what follows."""
SHOWN = frozenset({"effect", "at_once", "while", "most", "size", "queue", "goal", "explore"})
"""Fields that are told beside a node's kind."""
REPEATING = frozenset({"foreach", "loop", "batch", "scatter", "reduce"})
"""Kinds that do what is inside them several times."""

_TOGETHER = "at the same time"


def tree(document: Document) -> list[str]:
    """The document as lines, parts below what they belong to."""
    lines = [f"{document.name} {document.version}"]
    lines += _children(_stages(document.connect), _Tree(document), "")
    return lines


@dataclass(slots=True)
class _Tree:
    document: Document
    seen: set[str] = field(default_factory=set)


Part = tuple[str, Chain]
"""What stands before a part (`then`, `case x`), and the part."""


def _stages(chain: Chain) -> list[tuple[str, Name | Fork | Chain]]:
    return [("", stage) for stage in chain.stages]


def _children(parts: Sequence[tuple[str, Name | Fork | Chain]], drawn: _Tree, tail: str) -> Iterator[str]:
    for index, (label, part) in enumerate(parts):
        last = index == len(parts) - 1
        yield from _part(label, part, drawn, tail + ("└─ " if last else "├─ "), tail + ("   " if last else "│  "))


def _part(label: str, part: Name | Fork | Chain, drawn: _Tree, lead: str, tail: str) -> Iterator[str]:
    if isinstance(part, Chain) and len(part.stages) == 1:
        part = part.stages[0]
    before = f"{label}: " if label else ""
    if isinstance(part, Name):
        node = drawn.document.nodes[part.text]
        inside = parts_of(node)
        again = bool(inside) and node.key in drawn.seen
        drawn.seen.add(node.key)
        yield f"{lead}{before}{node.key}   {words_of(node)}{'   (as above)' if again else ''}"
        if not again:
            yield from _children(_stages(inside[0][1]) if len(inside) == 1 and not inside[0][0] else inside, drawn, tail)
    elif isinstance(part, Fork):
        yield f"{lead}{before}{_TOGETHER}"
        yield from _children([("", chain) for chain in part.chains], drawn, tail)
    else:
        yield f"{lead}{before}one after the other"
        yield from _children(_stages(part), drawn, tail)


def parts_of(node: Node) -> list[Part]:
    """Every expression inside a node with what it is there for, those of its options last."""
    return [*_own(node), *_beside(node)]


def _own(node: Node) -> list[Part]:
    value = node.value.get("tools", ()) if isinstance(node.value, Mapping) else node.value
    label = "by" if node.kind in ASKING else "tool" if node.kind == "agent" else ""
    found: list[Part] = [(label, chain) for chain in _chains(value)]
    if node.kind == "agent" and isinstance(node.value, Mapping):
        found += [("check", chain) for word in ("input_checks", "output_checks") for chain in _chains(node.value.get(word, ()))]
    for name, value in node.fields.items():
        if isinstance(value, Mapping):
            found += [
                (f"case {case}" if name == "cases" else f"{name} {case}", chain) for case, each in value.items() for chain in _chains(each)
            ]
        else:
            found += [(name, chain) for chain in _chains(value)]
    return found


def _beside(node: Node) -> list[Part]:
    found: list[Part] = []
    for name, value in node.options:
        if isinstance(value, Mapping):
            found += [(f"{name} {key}", chain) for key, each in value.items() for chain in _chains(each)]
        else:
            found += [(name, chain) for chain in _chains(value)]
    return found


def _chains(value: Any) -> list[Chain]:
    if isinstance(value, Chain):
        return [value]
    return [chain for each in value for chain in _chains(each)] if isinstance(value, tuple) else []


def words_of(node: Node) -> str:
    """A node in a few words: its kind, what it stands for, its options."""
    value = node.value
    if isinstance(value, Mapping):
        told = {name: each.name or "a schema" if isinstance(each, Typed) else each for name, each in value.items()}
        value = next((f"{name} {told[name]}" for name in ("approval", "form", "signal", "model") if name in told), None)
    said = f" {_short(value)}" if isinstance(value, str) else ""
    options = [f"{name} {duration(each) if name == 'delay' else _option(each)}".strip() for name, each in node.options]
    more = [f"{name} {each}" for name, each in node.fields.items() if name in SHOWN and isinstance(each, (str, int))]
    return "   ".join([f"{node.kind}{said}", *more, *options])


def _option(value: Any) -> str:
    if isinstance(value, Mapping):
        for key in ("attempts", "failures", "limit"):
            if key in value:
                return str(value[key])
        return next((str(duration(value[key])) for key in ("after", "ttl") if key in value), "")
    return _short(str(value)) if isinstance(value, (str, int, float)) and value is not True else ""


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MAX_WORDS else f"{flat[: MAX_WORDS - 3]}..."


# -- nodes and edges


@dataclass(slots=True)
class Drawn:
    """A flowchart: boxes as (id, node's key, kind, words), arrows as (from, to, label)."""

    boxes: list[tuple[str, str, str, str]] = field(default_factory=list)
    arrows: list[tuple[str, str, str]] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "nodes": [{"id": box, "node": key, "kind": kind, "label": words} for box, key, kind, words in self.boxes],
            "edges": [{"from": source, "to": target, "label": label} for source, target, label in self.arrows],
        }


_End = tuple[str, str]
"""A box and the label of the arrow that leaves it."""


def flowchart(document: Document) -> Drawn:
    """The document as boxes and arrows."""
    drawing = _Flowchart(document)
    drawing.chain(document.connect, [])
    return drawing.drawn


class _Flowchart:
    """Draws from the left to the right; every method takes the ends that lead to it and gives those that lead on."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.drawn = Drawn()

    def chain(self, chain: Chain, ends: list[_End]) -> list[_End]:
        for stage in chain.stages:
            ends = self.stage(stage, ends)
        return ends

    def stage(self, stage: Name | Fork, ends: list[_End]) -> list[_End]:
        if isinstance(stage, Name):
            return self.node(self.document.nodes[stage.text], ends)
        ends = self.joined(ends) if len(ends) > 1 and len(stage.chains) > 1 else ends
        return [end for chain in stage.chains for end in self.chain(chain, list(ends))]

    def node(self, node: Node, ends: list[_End]) -> list[_End]:
        box = self.box(node, ends)
        if len(self.drawn.boxes) >= MAX_DRAWN:
            return [(box, "")]
        own = _own(node)
        begin: list[_End] = [(box, "")]
        for label, part in own:
            if label == "by":
                begin = self.chain(part, [(end, label) for end, _ in begin])
        leaving = [end for label, part in own if label != "by" for end in self.chain(part, [(start, label) for start, _ in begin])]
        if node.kind in REPEATING:
            self.drawn.arrows += [(end, box, "next") for end, _ in leaving]
            leaving = [(box, "all")]
        elif not leaving or (node.kind == "when" and "otherwise" not in node.fields):
            leaving += [(end, "else" if node.kind == "when" else "") for end, _ in begin]
        return leaving + [end for label, part in _beside(node) for end in self.chain(part, [(box, label)])]

    def joined(self, ends: list[_End]) -> list[_End]:
        """One point that many arrows lead to and many lead from: m and n of them, not m times n."""
        box = f"n{len(self.drawn.boxes)}"
        self.drawn.boxes.append((box, "", "join", ""))
        self.drawn.arrows += [(source, box, label) for source, label in ends]
        return [(box, "")]

    def box(self, node: Node, ends: list[_End]) -> str:
        box = f"n{len(self.drawn.boxes)}"
        self.drawn.boxes.append((box, node.key, node.kind, words_of(node)))
        self.drawn.arrows += [(source, box, label) for source, label in ends]
        return box


_SHAPES = {"when": ("{", "}"), "switch": ("{", "}"), "foreach": ("[/", "/]"), "human": ("([", "])"), "agent": ("{{", "}}")}


def mermaid(document: Document) -> str:
    """The flowchart in the language of Mermaid (https://mermaid.js.org/syntax/flowchart.html)."""
    drawn = flowchart(document)
    lines = ["flowchart LR"]
    for box, key, kind, words in drawn.boxes:
        left, right = _SHAPES.get(kind, ("[", "]"))
        lines.append(f'  {box}{left}"{_escaped(key)}<br/>{_escaped(words)}"{right}' if key else f'  {box}((" "))')
    for source, target, label in drawn.arrows:
        lines.append(f'  {source} -->|"{_escaped(label)}"| {target}' if label else f"  {source} --> {target}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text as Mermaid shows it: characters that mean something to it, or to HTML, as their numbers."""
    return "".join(each if each.isalnum() or each in " -_./:,=+*?()" else f"#{ord(each)};" for each in text)


def data_of(document: Document) -> dict[str, Any]:
    """The document as a canvas draws it: what it says, and its flowchart."""
    head = {"name": document.name, "version": document.version, "description": document.description}
    return head | {"document": document.plain, **flowchart(document).as_data()}
