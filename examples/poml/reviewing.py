"""The pure parts of `code-review.poml`: a unified diff is taken apart, judged file by file, and decided on."""

from __future__ import annotations

import re
from itertools import chain
from typing import Literal

from pydantic import BaseModel

from omega import flow

LONG = 200
"""Added lines of one file that nobody reads with care."""

_RISKS = {
    "eval(": "runs text as code",
    "pickle.loads": "trusts a pickle",
    "shell=True": "hands text to a shell",
    "except:": "hides every error",
}
_SECRET = re.compile(r"(?i)(password|token|secret)\s*=\s*[\"'][^\"']{6,}[\"']")


class File(BaseModel):
    """One file of a change, and the lines that it adds, with their numbers."""

    path: str
    added: list[tuple[int, str]]


class Finding(BaseModel):
    """Something to look at. `weight` is "high" where the change must not go in."""

    path: str
    line: int
    weight: Literal["high", "low"]
    words: str


class Ranked(BaseModel):
    """All findings in reading order; `worst` is the highest weight, "none" without findings."""

    findings: list[Finding]
    worst: Literal["high", "low", "none"]


class Review(BaseModel):
    """What is said about the change."""

    verdict: str
    findings: list[str]


@flow
def split(diff: str) -> list[File]:
    """The files of a unified diff. Raises ValueError for a text that is none."""
    files: list[File] = []
    line = 0
    for text in diff.splitlines():
        if text.startswith("+++ "):
            files.append(File(path=text.removeprefix("+++ ").removeprefix("b/"), added=[]))
        elif match := re.match(r"@@ -\d+(?:,\d+)? \+(\d+)", text):
            line = int(match[1])
        elif files and text.startswith("+"):
            files[-1].added.append((line, text[1:]))
            line += 1
        elif text.startswith(" "):
            line += 1
    if not files:
        raise ValueError("this is no unified diff")
    return files


@flow
def size(file: File) -> list[Finding]:
    """A file that grew too much at once."""
    count = len(file.added)
    return [Finding(path=file.path, line=1, weight="low", words=f"adds {count} lines")] if count > LONG else []


@flow
def risks(file: File) -> list[Finding]:
    """Lines that are known to end badly."""
    return [
        Finding(path=file.path, line=number, weight="low", words=words)
        for number, text in file.added
        for sign, words in _RISKS.items()
        if sign in text
    ]


@flow
def secrets(file: File) -> list[Finding]:
    """Lines that hold what looks like a secret; the secret itself is not repeated."""
    return [
        Finding(path=file.path, line=number, weight="high", words="holds what looks like a secret")
        for number, text in file.added
        if _SECRET.search(text)
    ]


@flow
def together(found: tuple[list[Finding], list[Finding], list[Finding]]) -> list[Finding]:
    """The findings of one file."""
    return list(chain.from_iterable(found))


@flow
def rank(found: list[list[Finding]]) -> Ranked:
    """The heaviest first, then by place."""
    findings = sorted(chain.from_iterable(found), key=lambda each: (each.weight, each.path, each.line))
    return Ranked(findings=findings, worst=findings[0].weight if findings else "none")


@flow
def reject(ranked: Ranked) -> Review:
    """It must not go in."""
    return Review(verdict="changes wanted", findings=_told(ranked))


@flow
def comment(ranked: Ranked) -> Review:
    """It may go in, and somebody should look."""
    return Review(verdict="comments", findings=_told(ranked))


@flow
def accept(ranked: Ranked) -> Review:
    """Nothing was found."""
    return Review(verdict="accepted", findings=[])


def _told(ranked: Ranked) -> list[str]:
    return [f"{each.path}:{each.line} {each.words}" for each in ranked.findings]
