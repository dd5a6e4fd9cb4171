"""What a model said, whatever its provider's interface calls it; and how far its own count of tokens is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MOST_TOKENS: Final = 1_000_000_000
"""A count above it is no count."""

BYTES_PER_TOKEN: Final = 4
"""What a token is taken to hold where nobody counted: the usual figure for English with byte-pair encodings."""

FEWEST_PER_TOKEN: Final = 40
"""Bytes per token above which a provider's count is too low to be true: even long words are several tokens."""


class Unreadable(Exception):
    """A provider's answer has another shape than its interface says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens: read, written, of the read ones those from the provider's cache, of the written ones those of reasoning. `said` tells that
    the provider counted; else it is an estimate, never 0."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    cache_written: int = 0
    said: bool = True

    @property
    def total(self) -> int:
        """Read and written."""
        return self.input + self.output

    def record(self) -> dict[str, Any]:
        """As data."""
        return {
            "input": self.input,
            "output": self.output,
            "cached": self.cached,
            "reasoning": self.reasoning,
            "said": self.said,
        }


@dataclass(slots=True, kw_only=True)
class Said:
    """One message of a model."""

    text: str | None = None
    tool_calls: list[dict[str, str]] = field(default_factory=list)
    finish: str = "stop"
    usage: Usage | None = None
    version: str = ""
    fingerprint: str = ""


def counted(usage: Usage | None, *, sent: int, given: int) -> Usage:
    """The usage to reckon with, for a question of `sent` bytes and an answer of `given` bytes.

    A provider's own count is taken unless it is missing or too low to be true; then both are estimated, by `BYTES_PER_TOKEN`.
    """
    if usage is not None and usage.output * FEWEST_PER_TOKEN >= given and usage.total:
        return usage
    return Usage(input=estimated(sent), output=estimated(given), said=False)


def estimated(size: int) -> int:
    """Tokens in `size` bytes of text; at least one."""
    return max(1, -(-size // BYTES_PER_TOKEN))


def amount(counts: Any, name: str) -> int:
    """A count out of a provider's answer; 0 for what is none."""
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def given_bytes(said: Said) -> int:
    """How much the model wrote, in bytes."""
    calls = sum(len(call["arguments"].encode()) + len(call["name"]) for call in said.tool_calls)
    return len((said.text or "").encode("utf-8", "replace")) + calls
