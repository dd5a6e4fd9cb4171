"""What is wrong with a document: each problem with its place, what was expected there, and the nearest thing that would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from omega.kernel.errors import DefinitionError

MAX_PROBLEMS = 50
"""Problems collected before reading stops: more are the consequence of the first."""

MAX_QUOTED = 60
"""Characters of the document that an error repeats."""

MAX_SLIP = 4
"""Characters by which a word may be longer or shorter than the one that was meant."""

MAX_COMPARED = 300
"""Words that an unknown one is compared with: comparing is slow, and a document may have thousands of names and mistakes."""

SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{10,200}\.eyJ[A-Za-z0-9_-]{10,})"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----|[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{1,100}:[^\s/@]{1,200}@"
)
"""Token formats as their vendors publish them (prefix and alphabet), private keys in PEM form, passwords in URLs.

A repetition that something must follow is bounded: the text searched may have been made to be slow.
"""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a document: line and column, both from 1."""

    line: int = 1
    column: int = 1

    def right(self, characters: int) -> Mark:
        """The place so many characters further on the same line."""
        return Mark(self.line, self.column + characters)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `expected` and `suggestion` are empty where there is nothing to say."""

    code: str
    file: str
    line: int
    column: int
    message: str
    expected: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        hint = f"; did you mean {self.suggestion!r}" if self.suggestion else ""
        wanted = f" (expected {self.expected})" if self.expected else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{wanted}{hint}"


class TooMany(Exception):
    """`MAX_PROBLEMS` were collected: stop reading."""


class Problems:
    """The problems of one document, in the order found."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, code: str, at: Mark, message: str, *, expected: str = "", suggestion: str = "") -> None:
        """Note one problem. Raises TooMany at the limit."""
        self.found.append(Problem(code, self.file, at.line, at.column, message, expected, suggestion))
        if len(self.found) >= MAX_PROBLEMS:
            raise TooMany

    def unknown(self, code: str, at: Mark, what: str, given: str, known: Iterable[str]) -> None:
        """Note a word that is none of the `known` ones, with the nearest of them."""
        names = sorted(known)
        similar = [name for name in names if abs(len(name) - len(given)) <= MAX_SLIP][:MAX_COMPARED]
        near = get_close_matches(given, similar, n=1, cutoff=0.6) if len(given) <= MAX_QUOTED else []
        listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        self.add(code, at, f"unknown {what} {quoted(given)}", expected=f"one of: {listed}" if names else "", suggestion="".join(near))

    def refuse(self) -> None:
        """Raises DefinitionError with all problems in its details, when there are any; the cause is the first, in the document's order."""
        if self.found:
            raise refusal(self.found)


def refusal(found: Iterable[Problem]) -> DefinitionError:
    """The error of a document with these problems: `details["problems"]` lists them all, sorted by place."""
    ordered = sorted(set(found), key=lambda problem: (problem.line, problem.column, problem.code, problem.message))
    more = f" (and {len(ordered) - 1} more)" if len(ordered) > 1 else ""
    return DefinitionError(ordered[0].code, f"{ordered[0]}{more}", details={"problems": [asdict(each) for each in ordered]})


def problems_of(error: DefinitionError) -> tuple[Problem, ...]:
    """The problems listed in an error of this package; none for other errors."""
    listed: Any = error.details.get("problems", ())
    return tuple(Problem(**each) for each in listed)


def quoted(text: str, most: int = MAX_QUOTED) -> str:
    """A part of the document as an error may show it: at most so many characters, and withheld where it holds what looks like a secret."""
    if SECRET.search(text):
        return "(withheld)"
    return repr(text if len(text) <= most else text[:most] + "...")
