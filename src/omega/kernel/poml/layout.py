"""The one way a document is laid out: `format` is idempotent, keeps every comment, and changes neither order nor meaning.

Two blanks of indentation; the sections `nodes`, `types`, `servers` and `secrets` one entry a line; below them a list or mapping on one line
where it fits and holds no comment. Text is plain where every reader of YAML takes it for text, else quoted; text of several lines is a
literal block, long text a folded one. At most one blank line is kept where some were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omega.kernel.poml.problems import Mark, Problems, TooMany, refusal
from omega.kernel.poml.tree import Branch, Item, Scalar, Value, read

WIDTH = 120
"""Longest line that lists and mappings are joined to, in characters."""

SECTIONS = frozenset({"nodes", "types", "servers", "secrets"})
"""Top-level keys whose entries always stand one a line."""

_PLAIN = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}|\d{1,9}(?:ms|s|m|h|d)|[A-Za-z_][^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]*")
_TAKEN = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Words that some reader of YAML takes for something else than text."""


def format(text: str, *, name: str = "document") -> str:
    """`text` laid out anew. Raises DefinitionError (OMG-L001 to L003) with every problem when it cannot be read."""
    problems = Problems(name)
    try:
        root = read(text, problems)
    except TooMany:
        root = None
    if root is None or problems.found:
        raise refusal(problems.found)
    return lay_out(root)


def lay_out(root: Branch) -> str:
    """The text of a tree."""
    lines: list[str] = []
    for item in root.items:
        lines.extend(_item(item, "", True, item.key in SECTIONS))
    while lines and not lines[0]:
        lines.pop(0)
    return "\n".join(lines or ["{}"]) + "\n"


def lay_out_value(value: Any) -> str:
    """Plain data on one line, as it stands in a document; texts of several lines as JSON."""
    return _one_line(tree_of(value), flow=False) or json.dumps(value, ensure_ascii=False)


def tree_of(value: Any) -> Value:
    """The tree of plain data, without places or comments."""
    if isinstance(value, Mapping):
        return Branch(Mark(), True, [Item(str(key), Mark(), tree_of(each)) for key, each in value.items()])
    if isinstance(value, list | tuple):
        return Branch(Mark(), False, [Item("", Mark(), tree_of(each)) for each in value])
    return Scalar(Mark(), value)


def plain_of(value: Value) -> Any:
    """The plain data of a tree."""
    if isinstance(value, Scalar):
        return value.value
    if value.keyed:
        return {item.key: plain_of(item.value) for item in value.items}
    return [plain_of(item.value) for item in value.items]


def carry_comments(old: Branch, new: Branch) -> None:
    """Give the entries of `new` the comments that the entries of `old` under the same keys (in lists: places) had."""
    known = dict(_paths(old))
    for path, item in _paths(new):
        had = known.get(path)
        if had is not None:
            item.before, item.after, item.below = list(had.before), had.after, list(had.below)


def _paths(branch: Branch, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Item]]:
    for index, item in enumerate(branch.items):
        here = (*path, item.key if branch.keyed else index)
        yield here, item
        if isinstance(item.value, Branch):
            yield from _paths(item.value, here)


def _item(item: Item, indent: str, keyed: bool, section: bool = False) -> Iterator[str]:
    """The lines of one entry."""
    after = f"  {item.after}" if item.after else ""
    lead = f"{indent}{_text(item.key, flow=True)}:" if keyed else f"{indent}-"
    yield from (indent + line if line else "" for line in item.before)
    one_line = None if section and isinstance(item.value, Branch) and item.value.items else _one_line(item.value, flow=False)
    whole = isinstance(item.value, Scalar) or not item.value.items
    if one_line is not None and (whole or len(lead) + 1 + len(one_line) + len(after) <= WIDTH):
        folded = _folded(item.value, WIDTH - len(indent) - 2) if len(lead) + 1 + len(one_line) > WIDTH else []
        yield f"{lead} {'>-' if folded else one_line}{after}"
        yield from (f"{indent}  {line}" for line in folded)
    elif isinstance(item.value, Scalar):
        head, *lines = _block(item.value.value)
        yield f"{lead} {head}{after}"
        yield from (f"{indent}  {line}" if line else "" for line in lines)
    else:
        if item.after and not keyed:  # behind a dash it would belong to the list
            yield f"{indent}{item.after}"
            after = ""
        yield lead + after
        for child in item.value.items:
            yield from _item(child, indent + "  ", item.value.keyed)
    yield from (indent + line if line else "" for line in item.below)


def _one_line(value: Value, *, flow: bool) -> str | None:
    """`value` on one line, or None where comments or several lines of text forbid it."""
    if isinstance(value, Scalar):
        if not isinstance(value.value, str):
            return value.literal or json.dumps(value.value)
        return None if _blockable(value.value) else _text(value.value, flow=flow)
    if any(item.commented for item in value.items):
        return None
    parts = []
    for item in value.items:
        part = _one_line(item.value, flow=True)
        if part is None:
            return None
        parts.append(f"{_text(item.key, flow=True)}: {part}" if value.keyed else part)
    return f"{{{', '.join(parts)}}}" if value.keyed else f"[{', '.join(parts)}]"


def _text(text: str, *, flow: bool) -> str:
    """One text, plain or quoted; inside a flow collection fewer texts may stay plain."""
    usable = _PLAIN.fullmatch(text) is not None and text.lower() not in _TAKEN and text == text.rstrip()
    if usable and ": " not in text and " #" not in text and not text.endswith(":") and not (flow and re.search(r"[,\[\]{}]", text)):
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    if short is not None:
        return short
    number = ord(character)
    if number < 0x20 or 0x7F <= number < 0xA0 or number in (0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF):
        return f"\\u{number:04X}"
    return character


def _blockable(text: str) -> bool:
    """Whether a text of several lines can be a literal block as it stands."""
    if "\n" not in text.rstrip("\n") and not text.endswith("\n"):
        return False
    lines = text.removesuffix("\n").split("\n")
    clean = all(line == line.rstrip() and _printable(line) for line in lines)
    return clean and bool(lines[-1]) and bool(lines[0]) and lines[0][0] not in " \t"


def _printable(line: str) -> bool:
    return all(_escaped(character) == character or character in '"\\\t' for character in line)


def _block(text: str) -> list[str]:
    return ["|" if text.endswith("\n") else "|-", *text.removesuffix("\n").split("\n")]


def _folded(value: Value, width: int) -> list[str]:
    """A long text in lines that a reader joins with single blanks again; none where that would change it."""
    text = value.value if isinstance(value, Scalar) else ""
    if not isinstance(text, str) or "  " in text or text != text.strip() or not _printable(text) or re.search(r"[\n\t]", text):
        return []
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines if len(lines) > 1 else []
