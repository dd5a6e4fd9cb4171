"""Search among tools, for agents that see hundreds: by words, by words that look alike, and by how the tools have done.

    words         BM25 over name, title, description and the names of arguments (Robertson and Zaragoza, 2009)
    likeness      a word that no tool has stands for those that look like it: shared pairs of letters (Dice, 1945)
    coverage      what fits half of the words counts three quarters of what its words add up to
    standing      what fits is weighed by how reliable it was, which moves it by a quarter at most

Scores add up word by word, so each result says what it was found by. It ranks what the caller sees anyway and calls nothing, so it is
answered like a list and runs no flow.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

NAME: Final = "find_tools"
MOST: Final = 20
"""Most tools in one answer."""

MAX_QUERY: Final = 500
"""Longest query in characters."""

_K1: Final = 1.2
_B: Final = 0.75
_NAME_WEIGHT: Final = 3
"""How often a word of the name counts, compared with one of the description."""

_ALIKE: Final = 0.6
"""From which likeness on one word stands for another."""

_ALIKE_WEIGHT: Final = 0.5
"""What a word that only looks alike counts, compared with one that is there."""

_MOST_ALIKE: Final = 8
_STANDING: Final = 0.25
"""By which part of it a score falls for a tool that never did what it should."""

_SAID: Final = 6
"""Most words that an explanation names."""

_PAGES: Final = 8_192
_WORD: Final = re.compile(r"[a-z]+|[0-9]+|[^\W\d_a-z]+")

TOOL: Final[Mapping[str, Any]] = {
    "name": NAME,
    "title": "Find tools",
    "description": "Find tools by what they do. Gives the names, descriptions and input schemas of those that fit best, and why each fits.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "what the tool should do, in a few words", "maxLength": MAX_QUERY},
            "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": 5},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    "annotations": {"readOnlyHint": True, "openWorldHint": False},
}

Standing = Callable[[Mapping[str, Any]], tuple[float, str] | None]
"""How a tool has done: from 0 to 1, and in words; None for one of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Found:
    """A tool that fits: its score, and what it was found by."""

    tool: Mapping[str, Any]
    score: float
    why: str


def unknown(tool: Mapping[str, Any]) -> tuple[float, str] | None:
    """The standing of tools where nobody keeps count."""
    return None


def ranked(tools: Iterable[Mapping[str, Any]], query: str, limit: int, standing: Standing = unknown) -> list[Found]:
    """The tools that fit `query` best, the best first, each with why."""
    wanted = dict.fromkeys(words(query))
    pages = [(tool, _page(tool)) for tool in tools]
    if not wanted or not pages:
        return []
    meant = {word: 1.0 for word in wanted if any(word in page for _, page in pages)}
    lacking = [word for word in wanted if word not in meant]
    known = frozenset().union(*(page.keys() for _, page in pages)) if lacking else frozenset[str]()
    for word in lacking:
        for other, likeness in _alike(word, known):
            meant[other] = max(meant.get(other, 0.0), likeness * _ALIKE_WEIGHT)
    holding = Counter(word for _, page in pages for word in page.keys() & meant.keys())
    average = sum(page.total() for _, page in pages) / len(pages) or 1.0
    rarity = {word: math.log(1 + (len(pages) - holding[word] + 0.5) / (holding[word] + 0.5)) for word in meant}
    weights = _Weights(meant, rarity, average, len(wanted))
    scored = [_scored(tool, page, weights, standing) for tool, page in pages]
    fitting = [each for each in scored if each is not None]
    return sorted(fitting, key=lambda each: (-each.score, str(each.tool["name"])))[:limit]


def words(text: str) -> list[str]:
    """The words of `text`, lower-case; an English plural counts as its singular."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in _WORD.findall(split)]


@dataclass(frozen=True, slots=True)
class _Weights:
    """What a query weighs: the words meant by it with how well each stands for one of it, how rare each is, the average length of a page of
    words, and how many words were asked for."""

    meant: Mapping[str, float]
    rarity: Mapping[str, float]
    average: float
    asked: int


def _scored(tool: Mapping[str, Any], page: Counter[str], query: _Weights, standing: Standing) -> Found | None:
    length = _K1 * (1 - _B + _B * page.total() / query.average)
    parts = {
        word: weight * query.rarity[word] * page[word] * (_K1 + 1) / (page[word] + length)
        for word, weight in query.meant.items()
        if word in page
    }
    if not parts:
        return None
    known = standing(tool)
    covered = min(1.0, sum(query.meant[word] for word in parts) / query.asked)
    factor = (1.0 + covered) / 2 * (1.0 if known is None else 1.0 - _STANDING * (1.0 - known[0]))
    return Found(tool, sum(parts.values()) * factor, _why(tool, parts, query.meant, known))


def _why(tool: Mapping[str, Any], parts: Mapping[str, float], meant: Mapping[str, float], known: tuple[float, str] | None) -> str:
    """What a tool was found by, the weightiest first."""
    names = set(words(str(tool["name"])))
    told = []
    for word, _ in sorted(parts.items(), key=lambda part: (-part[1], part[0]))[:_SAID]:
        told.append(f"{word}{' (name)' if word in names else ''}{' (looks alike)' if meant[word] < 1 else ''}")
    return f"by {', '.join(told)}{'; ' + known[1] if known is not None else ''}"


def _alike(word: str, others: Iterable[str]) -> Sequence[tuple[str, float]]:
    """Words that look like `word`, the most alike first."""
    pairs = _pairs(word)
    if len(pairs) < 2:
        return ()
    found = []
    for other in others:
        if abs(len(other) - len(word)) <= max(3, len(word) // 2):
            theirs = _pairs(other)
            likeness = 2 * len(pairs & theirs) / (len(pairs) + len(theirs)) if theirs else 0.0
            if likeness >= _ALIKE:
                found.append((other, likeness))
    return sorted(found, key=lambda each: (-each[1], each[0]))[:_MOST_ALIKE]


@lru_cache(_PAGES)
def _pairs(word: str) -> frozenset[str]:
    return frozenset(word[at : at + 2] for at in range(len(word) - 1))


def _page(tool: Mapping[str, Any]) -> Counter[str]:
    schema = tool.get("inputSchema")
    arguments = schema.get("properties") if isinstance(schema, Mapping) else None
    named = " ".join(arguments) if isinstance(arguments, Mapping) else ""
    return _counted(str(tool["name"]), f"{tool.get('description', '')} {tool.get('title', '')}", named)


@lru_cache(_PAGES)
def _counted(name: str, text: str, arguments: str) -> Counter[str]:
    """The words of one tool, counted: worked out once for each description."""
    page = Counter(words(text))
    page.update(list(words(name)) * _NAME_WEIGHT)
    page.update(set(words(arguments)))
    return page
