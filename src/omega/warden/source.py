"""Cedar files taken apart: one statement per policy, each with the line it begins on.

Cedar's parser gives policies numbers, not places. A policy ends at a `;` outside of texts and `//` comments (Cedar has no other use for
one), so the places are found here; each piece is then parsed by Cedar by itself and must be exactly one policy, so that a disagreement
between this scanner and Cedar is an error, never a policy that is silently another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cedarpy

from omega.warden.approvals import demand_of

MAX_SOURCE = 8 << 20
"""Largest policy file in characters."""

MAX_STATEMENT = 64 << 10
"""Longest policy in characters."""

MAX_NESTING = 64
"""Deepest nesting of brackets in a policy. Cedar's parser goes down a level of the stack for each, and some hundreds of them end the
process:
that must not be in the hands of whoever may write a policy."""

MAX_TEXT = 400
"""Longest reason or advice of a policy in characters: it is read by people, in a terminal."""

ANNOTATIONS = ("id", "reason", "ask", "approval")
"""Every annotation a policy may carry; the first two are mandatory. A misspelt one would be lost silently, so others are refused."""

PLACEHOLDERS = ("flow", "effect", "principal", "step", "execution", "tenant")
"""What `@reason` and `@ask` may name in braces."""

_PIECE = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|;|[^;"/]+|.', re.DOTALL)
_ID = re.compile(r"[a-z][a-z0-9-]{0,63}")

_OPENING, _CLOSING = "([{", ")]}"

BRACES = re.compile(r"\{([^{}]*)\}")
"""A placeholder in the words of a policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something about a policy file: `severity` is error, warning or note; `line` counts from 1 (0: the whole file)."""

    file: str
    line: int
    text: str
    advice: str = ""
    severity: str = "error"

    @property
    def where(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def record(self) -> dict[str, Any]:
        """The problem as data."""
        return {"file": self.file, "line": self.line, "severity": self.severity, "text": self.text, "advice": self.advice}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy as loaded. `rule` is Cedar's own JSON form (as text, because bundles may be large), `text` what was written, `order` its
    place in the bundle, `tenant` whose own policy it is (empty: the installation's, which is everybody's)."""

    id: str
    file: str
    line: int
    order: int
    permits: bool
    reason: str
    ask: str
    approval: str
    text: str = field(repr=False)
    rule: str = field(repr=False)
    tenant: str = ""

    @property
    def where(self) -> str:
        """`file:line` of its first line."""
        return f"{self.file}:{self.line}"

    def __hash__(self) -> int:
        return hash(self.id)


def statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements of a Cedar file as (line, text), comments between them left out. An unfinished last one is given as it is."""
    line, start, pieces = 1, 0, list[str]()
    for match in _PIECE.finditer(text):
        piece = match.group()
        comment = piece.startswith("//")
        if not start and not comment and piece.strip():
            start = line + piece[: len(piece) - len(piece.lstrip())].count("\n")
            piece = piece.lstrip()
            line = start
        if start:
            pieces.append(piece)
        line += piece.count("\n")
        if piece == ";":
            yield start, "".join(pieces)
            start, pieces = 0, []
    if start:
        yield start, "".join(pieces)


def read(name: str, text: str, order: int) -> tuple[list[Policy], list[Problem]]:
    """The policies of one file, numbered from `order`, and what is wrong with it."""
    if len(text) > MAX_SOURCE:
        return [], [Problem(file=name, line=0, text=f"the file is longer than {MAX_SOURCE} characters", advice="split it")]
    policies, problems = list[Policy](), list[Problem]()
    for line, statement in statements(text):
        rule = _too_large(statement) or _parse(statement)
        if isinstance(rule, str):
            problems.append(Problem(file=name, line=line, text=rule, advice="a policy is: annotations, permit or forbid (...);"))
            continue
        wrong = list(_wrong(rule))
        problems += [Problem(file=name, line=line, text=text, advice=advice) for text, advice in wrong]
        if not wrong:
            policies.append(_policy(name, line, order + len(policies), statement, rule))
    return policies, problems


def _too_large(statement: str) -> str:
    """Why the statement is not given to the parser; empty when it is."""
    if len(statement) > MAX_STATEMENT:
        return f"is longer than {MAX_STATEMENT:,} characters"
    depth = deepest = 0
    for match in _PIECE.finditer(statement):
        piece = match.group()
        if piece[0] in '"/':  # a text or a comment
            continue
        for letter in piece:
            depth += (letter in _OPENING) - (letter in _CLOSING)
            deepest = max(deepest, depth)
    return f"nests brackets more than {MAX_NESTING} deep" if deepest > MAX_NESTING else ""


def _parse(statement: str) -> dict[str, Any] | str:
    """Cedar's JSON form of one statement, or what is wrong with it."""
    try:
        document = json.loads(cedarpy.policies_to_json_str(statement))
    except (ValueError, RecursionError) as error:
        return f"does not parse: {str(error)[:MAX_TEXT]}"
    if document["templates"]:
        return "is a template, which decides nothing by itself"
    rules = list(document["staticPolicies"].values())
    if len(rules) != 1:
        return f"holds {len(rules)} policies where one was expected"
    rule: dict[str, Any] = rules[0]
    return rule


def _wrong(rule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the annotations of a policy, as (text, advice)."""
    notes: Mapping[str, str] = rule.get("annotations", {})
    for name in notes:
        if name not in ANNOTATIONS:
            yield f"has an unknown annotation @{name}", f"known are {', '.join('@' + known for known in ANNOTATIONS)}"
    if not _ID.fullmatch(notes.get("id") or ""):
        yield "has no usable @id", 'give it one of its own: @id("agents-read-only"), lower-case letters, digits, dashes'
    if not (notes.get("reason") or "").strip():
        yield "has no @reason", 'say in one sentence why: @reason("an agent may read")'
    for name in ("reason", "ask"):
        text = notes.get(name) or ""
        unknown = sorted(set(BRACES.findall(text)) - set(PLACEHOLDERS))
        if unknown:
            yield f"names {{{unknown[0]}}} in @{name}", f"known are {', '.join('{' + known + '}' for known in PLACEHOLDERS)}"
        if len(text) > MAX_TEXT or "\n" in text:
            yield f"has an @{name} that is longer than one line of {MAX_TEXT} characters", "say it shorter"
    if "approval" in notes and not demand_of(notes["approval"] or "")[1]:
        yield "has an @approval without a role", 'name the role: @approval("owner"), or @approval("owner:2") for two persons'
    if "approval" in notes and rule["effect"] != "forbid":
        yield "is a permit with @approval", "forbid unless context.approved holds the role"


def _policy(file: str, line: int, order: int, statement: str, rule: Mapping[str, Any]) -> Policy:
    notes: Mapping[str, str] = rule["annotations"]
    return Policy(
        id=notes["id"],
        file=file,
        line=line,
        order=order,
        permits=rule["effect"] == "permit",
        reason=notes["reason"].strip(),
        ask=(notes.get("ask") or "").strip(),
        approval=notes.get("approval") or "",
        text=statement,
        rule=json.dumps(rule, separators=(",", ":")),
    )
