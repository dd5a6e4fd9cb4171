"""Patterns of strangers, matched in time that grows with the text alone.

Python's own engine backtracks: `^(a+)+$` against thirty letters takes minutes, and holds up everything that runs beside it. A pattern that
comes with a schema (a tool server's, a document's) is matched by Rust's `regex` instead, which pydantic brings and which never goes back.

What it does not have is refused, but for one thing that real schemas use: conditions at the beginning (`^(?!\\.)(?=.*[0-9])...`). Each of
them is a pattern of its own. JSON Schema names ECMA-262 as its language; what the two spell differently is translated.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

MAX_PATTERN: Final = 2_000
"""Longest pattern in characters."""

MAX_WRITTEN: Final = 10_000
"""Most parts of a pattern whose counted repetitions are written out, as they are when it is made ready."""

MAX_CONDITIONS: Final = 16
"""Most conditions at the beginning of a pattern."""

MAX_KEPT: Final = 1_024
"""Patterns kept ready."""

_PART: Final = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|\{,\d+\}|.", re.DOTALL)
_CONDITION: Final = re.compile(r"\(\?([=!])")
_IN_CLASS: Final = {"[": r"\[", "&": r"\&", "~": r"\~"}
"""What means itself inside a class, and something else to Rust's engine."""

_OUTSIDE: Final = {r"\<": "<", r"\>": ">"}
"""Escapes that stand for the letter, and for the edge of a word to Rust's engine."""


class Unmatchable(ValueError):
    """No engine of linear time can match the pattern, or it is none."""


@lru_cache(MAX_KEPT)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text holds a match of `pattern` anywhere. Raises Unmatchable."""
    if len(pattern) > MAX_PATTERN:
        raise Unmatchable(f"it has more than {MAX_PATTERN:,} characters")
    if _written_out(pattern) > MAX_WRITTEN:
        raise Unmatchable(f"its repetitions come to more than {MAX_WRITTEN:,} parts")
    conditions, rest = _conditions(_translated(pattern))
    wanted = [(meant, _linear(f"^(?:{part})")) for meant, part in conditions]
    main = _linear(rest)
    if not wanted:
        return main
    return lambda text: main(text) and all(found(text) is meant for meant, found in wanted)


def _written_out(pattern: str) -> int:
    """How many parts `pattern` has once `a{3}` is written as `aaa`; no more than just above `MAX_WRITTEN`."""
    sums, last = [0], [0]  # for each group that is open: its parts so far, and those of its last one
    for part in _PART.findall(pattern):
        if part == "(":
            sums.append(0)
            last.append(0)
        elif part == ")" and len(sums) > 1:
            last.pop()
            last[-1] = sums.pop()
            sums[-1] += last[-1]
        elif part[0] == "{" and len(part) > 1:
            times = max(int(number[:6]) for number in part[1:-1].split(",") if number)
            sums[-1] += last[-1] * (times - 1)
            last[-1] *= times
        elif part not in "?*+|^$":
            sums[-1] += 1
            last[-1] = 1
        if sums[-1] > MAX_WRITTEN:
            break
    return sum(sums)


def _linear(pattern: str) -> Callable[[str], bool]:
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        made = SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True))
    except SchemaError as error:
        raise Unmatchable("it looks ahead, looks behind or refers back, or it is no pattern") from error
    return made.isinstance_python


def _translated(pattern: str) -> str:
    """`pattern` as Rust's engine spells it."""
    parts: list[str] = []
    inside = first = False
    for part in re.findall(r"\\.|.", pattern, re.DOTALL):
        if not inside:
            parts.append(_OUTSIDE.get(part, part))
            inside = first = part == "["
            continue
        if part == "-" and parts[-1] == "-":
            raise Unmatchable("a class takes something out of another")
        parts.append(_IN_CLASS.get(part, part))
        if part == "]" and not first:
            inside = False
        first = first and part == "^"
    return "".join(parts)


def _conditions(pattern: str) -> tuple[list[tuple[bool, str]], str]:
    """The conditions at the beginning of `pattern` (whether what they say is meant to be there), and the pattern without them."""
    if not pattern.startswith("^(?=") and not pattern.startswith("^(?!"):
        return [], pattern
    found: list[tuple[bool, str]] = []
    at = 1
    while (begun := _CONDITION.match(pattern, at)) is not None and len(found) < MAX_CONDITIONS:
        end = _end(pattern, at)
        found.append((begun[1] == "=", pattern[begun.end() : end - 1]))
        at = end
    rest = pattern[at:]
    if _end(f"{rest})", 0, stop="|") <= len(rest):
        raise Unmatchable("its conditions belong to one of several ways only")
    return found, f"^(?:{rest})"


def _end(pattern: str, at: int, stop: str = "") -> int:
    """Just after the group that begins at `at`. With `stop`: just after the first of it outside of all groups, or after the last `)`."""
    depth = 0 if pattern.startswith("(", at) and not stop else 1
    inside = False
    for found in re.finditer(r"\\.|.", pattern[at:], re.DOTALL):
        part = found[0]
        if inside:
            inside = part != "]"
        elif part == "[":
            inside = True
        elif part == "(":
            depth += 1
        elif part == ")":
            depth -= 1
            if depth == 0:
                return at + found.end()
        elif part == stop and depth == 1:
            return at + found.end()
    raise Unmatchable("a group has no end")
