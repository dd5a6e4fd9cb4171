"""A document as a tree with places and comments, from a strict subset of YAML 1.2 (of which JSON is a part).

The C parser's events are read one by one with a stack of our own, so that neither depth nor size of what comes in can exhaust anything:
reading stops at the first limit passed. What is left out of YAML, because it makes a document mean something else than it shows: anchors
and aliases (and with them the "billion laughs"), tags, merge keys, several documents in one file, keys that are not text, the same key
twice, and the readings of YAML 1.1 (`no` is text; `null`, `true`, `false` and decimal numbers are not).

The parser drops comments, so they are found again in the gaps between scalars, where every `#` begins one, and given to the entry they
belong to: the entry on whose line they stand, else the next one, else (where they are indented deeper than the next) the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from omega.kernel.poml.problems import Mark, Problems, quoted

MAX_TEXT = 1_000_000
"""Longest document in characters; a workflow of a thousand nodes has about 100,000."""
MAX_VALUES = 50_000
"""Most values (scalars, lists, mappings) in a document."""
MAX_DEPTH = 32
"""Deepest nesting of lists and mappings."""
MAX_ALIASES = 0
"""Aliases allowed: a node is used again by its name, so a document that expands is refused at its first alias."""
MAX_KEY = 200
"""Longest key in characters; YAML itself ends at 1,024."""
MAX_SCALAR = 64_000
"""Longest single text in characters."""

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,20})?(?:[eE][-+]?\d{1,3})?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Scalar:
    """One value: None, bool, int, float or str. `literal` is how a number or word was written."""

    at: Mark
    value: Any
    literal: str = ""
    single_line: bool = True


@dataclass(slots=True)
class Branch:
    """A mapping (`keyed`) or a list. `end` is where it ends in the text, for flow style; else -1."""

    at: Mark
    keyed: bool
    items: list[Item] = field(default_factory=list)
    end: int = -1


Value = Scalar | Branch


@dataclass(slots=True)
class Item:
    """One entry of a mapping or list with its comments: lines `before` it ("" for a blank one), `after` it on its line, and `below` it."""

    key: str
    at: Mark
    value: Value
    before: list[str] = field(default_factory=list)
    after: str = ""
    below: list[str] = field(default_factory=list)
    start: int = 0
    column: int = 0
    parent: Item | None = None

    @property
    def commented(self) -> bool:
        """Whether a comment stands at this entry or inside it."""
        own = bool(self.after or self.below or any(self.before))
        return own or (isinstance(self.value, Branch) and any(item.commented for item in self.value.items))


class _Stop(Exception):
    """The document cannot be read further."""


def read(text: str, problems: Problems) -> Branch | None:
    """The tree of `text`, or None where it is none; what is wrong is in `problems`."""
    if len(text) > MAX_TEXT:
        problems.add("OMG-L002", Mark(), f"the document has {len(text):,} characters", expected=f"at most {MAX_TEXT:,}")
        return None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    odd = _ODD.search(text)
    if odd is not None:
        before = text[: odd.start()]
        at = Mark(before.count("\n") + 1, odd.start() - before.rfind("\n"))
        problems.add("OMG-L001", at, f"the character U+{ord(odd[0]):04X} cannot stand in a document", expected="an escape in a quoted text")
        return None
    builder = _Builder(text, problems)
    try:
        builder.build()
    except _Stop:
        return None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        last = Mark(text.count("\n") + 1, len(text) - text.rfind("\n"))  # the parser may stop on a line behind the last
        at = min(Mark(mark.line + 1, mark.column + 1), last) if mark is not None else last
        problems.add("OMG-L001", at, f"not readable as YAML: {getattr(error, 'problem', None) or type(error).__name__}")
        return None
    if not isinstance(builder.root, Branch) or not builder.root.keyed:
        problems.add("OMG-L001", Mark(), "the document is no mapping", expected="keys such as poml, name, nodes")
        return None
    _give_comments(text, builder)
    return builder.root


def _events(text: str) -> Iterator[Any]:
    """The parser's events; each has a start and an end mark with index, line and column, counted in characters from 0."""
    return yaml.parse(text, Loader=_LOADER)


class _Builder:
    """Takes events, keeps the open branches on a stack, and notes where scalars stand."""

    def __init__(self, text: str, problems: Problems) -> None:
        self.text = text
        self.problems = problems
        self.root: Value | None = None
        self.open: list[tuple[Branch, int, set[str]]] = []  # branch, column of its entries, keys seen
        self.holders: list[Item | None] = []
        self.key: tuple[str, Mark, int, int] | None = None
        self.items: list[Item] = []
        self.spans: list[tuple[int, int]] = []
        self.values = 0

    def build(self) -> None:
        for event in _events(self.text):
            at, end = Mark(event.start_mark.line + 1, event.start_mark.column + 1), event.end_mark
            if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent, yaml.AliasEvent)):
                self._check(event, at)
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event, at)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event, at)
            elif isinstance(event, yaml.CollectionEndEvent):
                branch = self.open.pop()[0]
                self.holders.pop()
                branch.end = end.index if branch.end == 0 else -1
            elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
                self._stop("OMG-L001", at, "a second document in the same file", "one document per file")

    def _stop(self, code: str, at: Mark, message: str, expected: str) -> NoReturn:
        self.problems.add(code, at, message, expected=expected)
        raise _Stop

    def _check(self, event: Any, at: Mark) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            self._stop("OMG-L002", at, f"more than {MAX_VALUES:,} values", "a smaller document: split it")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._stop("OMG-L002", at, "an anchor or alias", "nodes used again by their names")
        if event.tag is not None and not (isinstance(event, yaml.ScalarEvent) and event.tag == "!"):
            self._stop("OMG-L001", at, "a tag", "plain data")

    def _begin(self, event: Any, at: Mark) -> None:
        if len(self.open) >= MAX_DEPTH:
            self._stop("OMG-L002", at, f"nested deeper than {MAX_DEPTH} levels", "nodes of their own for inner parts")
        branch = Branch(at, isinstance(event, yaml.MappingStartEvent), end=0 if event.flow_style else -1)
        holder = self._place(branch, event)
        self.open.append((branch, event.start_mark.column, set()))
        self.holders.append(holder)

    def _scalar(self, event: Any, at: Mark) -> None:
        start, end = int(event.start_mark.index), int(event.end_mark.index)
        if event.style in ("|", ">"):
            header = self.text.find("\n", start, end)
            start, end = (end if header < 0 else header), max(start, end - _blank_tail(self.text[start:end]))
        self.spans.append((start, end))
        if len(event.value) > MAX_SCALAR:
            self._stop("OMG-L002", at, f"a text of {len(event.value):,} characters", f"at most {MAX_SCALAR:,}")
        if self.open and self.open[-1][0].keyed and self.key is None:
            self._key(event, at)
            return
        value, literal = _meaning(event.value) if not event.style and event.tag is None else (event.value, "")
        self._place(Scalar(at, value, literal, event.style not in ("|", ">") and "\n" not in self.text[start:end]), event)

    def _key(self, event: Any, at: Mark) -> None:
        _, _, seen = self.open[-1]
        if len(event.value) > MAX_KEY:
            self._stop("OMG-L002", at, f"a key of {len(event.value):,} characters", f"at most {MAX_KEY}")
        if event.value in seen:
            self.problems.add("OMG-L003", at, f"the key {quoted(event.value)} stands here a second time")
        if event.value == "<<" and not event.style:
            self._stop("OMG-L001", at, "a merge key", "the keys themselves")
        seen.add(event.value)
        self.key = (event.value, at, event.start_mark.index, event.start_mark.column)

    def _place(self, value: Value, event: Any) -> Item | None:
        """Put a value where it belongs; the entry that holds it, or None for the root."""
        if not self.open:
            self.root = value
            return None
        branch, column, _ = self.open[-1]
        if branch.keyed:
            if self.key is None:
                self._stop("OMG-L001", value.at, "a key that is a list or mapping", "text")
            key, at, start, column = self.key
            self.key = None
        else:
            key, at, start = "", value.at, event.start_mark.index
            column = event.start_mark.column if branch.end == 0 else column
        item = Item(key, at, value, start=start, column=column, parent=self.holders[-1])
        branch.items.append(item)
        self.items.append(item)
        return item


def _blank_tail(block: str) -> int:
    """Characters of a block text after its last line that holds something."""
    return len(block) - len(block.rstrip("\n "))


def _meaning(word: str) -> tuple[Any, str]:
    """What a plain word means, and its spelling where that is not text."""
    if word in _WORDS:
        return _WORDS[word], word or "null"
    if _NUMBER.fullmatch(word):
        if word.lstrip("-").isdigit():
            return int(word), word
        number = float(word)
        if number not in (float("inf"), float("-inf")):
            return number, word
    return word, ""


def _trivia(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int, str, bool]]:
    """Comments and blank lines in order: offset, column, text ("" for a blank line), whether a value stands before it on the line."""
    index, offset = 0, 0
    for line in text.split("\n"):
        end = offset + len(line)
        while index < len(spans) and spans[index][1] < offset:
            index += 1
        inside = index < len(spans) and spans[index][0] < offset < spans[index][1]
        if not line.strip():
            if not inside:
                yield offset, 0, "", False
        elif (found := _comment(text, offset, end, spans, index)) >= 0:
            yield found, found - offset, text[found:end].rstrip(), bool(text[offset:found].strip())
        offset = end + 1


def _comment(text: str, offset: int, end: int, spans: list[tuple[int, int]], index: int) -> int:
    """Where the first `#` of a line stands that no scalar covers; -1 for none."""
    found = text.find("#", offset, end)
    while found >= 0:
        while index < len(spans) and spans[index][1] <= found:
            index += 1
        if index >= len(spans) or found < spans[index][0]:
            return found
        found = text.find("#", min(spans[index][1], end), end)
    return -1


def _give_comments(text: str, builder: _Builder) -> None:
    """Merge comments and blank lines with the entries, both in the order of the text."""
    items = builder.items
    upcoming, blank = 0, False
    for offset, column, words, trailing in [*_trivia(text, builder.spans), (len(text) + 1, 0, "", False)]:
        while upcoming < len(items) and items[upcoming].start < offset:
            if blank:
                items[upcoming].before.append("")
            blank = False
            upcoming += 1
        if words:
            lines = ["", words] if blank else [words]
            _give(
                lines,
                offset,
                column,
                trailing,
                items[upcoming - 1] if upcoming else None,
                items[upcoming] if upcoming < len(items) else None,
            )
        blank = not words


def _give(lines: list[str], offset: int, column: int, trailing: bool, last: Item | None, following: Item | None) -> None:
    """Give one comment to the entry it belongs to."""
    if last is not None and trailing:
        owner = last
        while owner.parent is not None and isinstance(owner.parent.value, Branch) and 0 <= owner.parent.value.end <= offset:
            owner = owner.parent
        if owner.after:
            owner.below.append(lines[-1])
        else:
            owner.after = lines[-1]
    elif last is not None and (following is None or following.column < column):
        owner = last
        while owner.parent is not None and owner.column > column:
            owner = owner.parent
        owner.below.extend(lines)
    elif following is not None:
        following.before.extend(lines)
