"""Search among tools, for agents that see hundreds: by the words of names and descriptions (BM25; Robertson and Zaragoza, 2009).

It ranks what the caller sees anyway and calls nothing, so it is answered like a list and runs no flow.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
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

_WORD: Final = re.compile(r"[a-z]+|[0-9]+|[^\W\d_a-z]+")

TOOL: Final[Mapping[str, Any]] = {
    "name": NAME,
    "title": "Find tools",
    "description": "Find tools by what they do. Gives the names, descriptions and input schemas of those that fit best.",
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


def find(tools: Iterable[Mapping[str, Any]], query: str, limit: int) -> list[Mapping[str, Any]]:
    """The tools that fit `query` best, the best first; none that shares no word with it."""
    wanted = set(_words(query))
    pages = [(tool, _page(tool)) for tool in tools]
    if not wanted or not pages:
        return []
    average = sum(page.total() for _, page in pages) / len(pages) or 1.0
    holding = Counter(word for _, page in pages for word in wanted & page.keys())
    scored = [(_score(page, wanted, holding, len(pages), average), tool) for tool, page in pages]
    found = sorted((each for each in scored if each[0] > 0), key=lambda each: (-each[0], str(each[1]["name"])))
    return [tool for _, tool in found[:limit]]


def _score(page: Counter[str], wanted: set[str], holding: Counter[str], total: int, average: float) -> float:
    length = _K1 * (1 - _B + _B * page.total() / average)
    return sum(
        math.log(1 + (total - holding[word] + 0.5) / (holding[word] + 0.5)) * page[word] * (_K1 + 1) / (page[word] + length)
        for word in wanted & page.keys()
    )


def _page(tool: Mapping[str, Any]) -> Counter[str]:
    page = Counter(_words(str(tool.get("description", "")) + " " + str(tool.get("title", ""))))
    page.update(list(_words(str(tool["name"]))) * _NAME_WEIGHT)
    return page


def _words(text: str) -> list[str]:
    """The words of `text`, lower-case; an English plural counts as its singular."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in _WORD.findall(split)]
