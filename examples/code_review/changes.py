"""Which lines changed, read from the text of a unified diff.

A diff is foreign text: a changed line may itself look like a header. So the parser never searches for headers inside a hunk; it counts the
lines that the hunk's own head announces (`@@ -a,b +c,d @@`) and looks for the next header only after them. Lines are separated by
`\\n` alone: a carriage return or form feed belongs to the line, as it does for Git.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from code_review import paths

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class NotADiff(ValueError):
    """The text ends inside a hunk or holds a line that no diff has there; the message says where."""


@dataclass(slots=True)
class _File:
    path: str
    status: str = "modified"
    added: int = 0
    deleted: int = 0
    lines: list[list[int]] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        return {"path": self.path, "status": self.status, "added": self.added, "deleted": self.deleted, "lines": _merged(self.lines)}


def parse(text: str) -> list[dict[str, Any]]:
    """The files of a diff, by path: `path` (shown), `status`, `added`, `deleted` (line counts), `lines` ([first, last] on the new side).

    `status` is added, deleted, modified or binary. Text before the first header is passed over. Raises NotADiff.
    """
    files: list[_File] = []
    lines = iter(text.split("\n"))
    for line in lines:
        if line.startswith("diff --git "):
            files.append(_File(_path(line)))
        elif files:
            _read(files[-1], line, lines)
    return [file.record() for file in sorted(files, key=lambda one: paths.raw(one.path))]


def touched(spans: list[tuple[int, int]], first: int, last: int) -> bool:
    """Whether any line of first..last lies in one of `spans` (both inclusive)."""
    return any(start <= last and first <= end for start, end in spans)


def _read(file: _File, line: str, lines: Iterator[str]) -> None:
    if line.startswith("new file mode"):
        file.status = "added"
    elif line.startswith("deleted file mode"):
        file.status = "deleted"
    elif line.startswith(("Binary files ", "GIT binary patch")):
        file.status = "binary" if file.status == "modified" else file.status
    elif match := _HUNK.match(line):
        old, start, new = int(match[2] or 1), int(match[3]), int(match[4] or 1)
        _read_hunk(file, old, start, new, lines)


def _read_hunk(file: _File, old: int, start: int, new: int, lines: Iterator[str]) -> None:
    at = start
    while old > 0 or new > 0:
        line = next(lines, None)
        if line is None:
            raise NotADiff(f"the diff ends inside a hunk of {file.path}")
        mark = line[:1]
        if mark == "\\":
            continue
        if mark == "+":
            file.lines.append([at, at])
            file.added, new, at = file.added + 1, new - 1, at + 1
        elif mark == "-":
            file.deleted, old = file.deleted + 1, old - 1
        elif mark in (" ", ""):
            old, new, at = old - 1, new - 1, at + 1
        else:
            raise NotADiff(f"a hunk of {file.path} holds a line that is none of a hunk")


def _path(header: str) -> str:
    """The path of `diff --git a/NAME b/NAME`: without renames both names are the same, so half of the rest is enough."""
    rest = header.removeprefix("diff --git ").encode("utf-8", "surrogateescape")
    half = rest[: len(rest) // 2]
    return paths.shown(paths.unquoted(half).removeprefix(b"a/"))


def _merged(lines: list[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for first, last in sorted(lines):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return merged
