"""The roster of agents: who there is in a tenant, what they are good at, how they have done. Pure, and the requests that keep it.

An agent of the roster is data, so that it can be registered, released and rolled back without touching code: a card says what it is told,
which model it asks, which tools it may call, and what it may spend. A card of a version never changes; a release says which version works,
and which one is tried on a share of the work (the canary).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.kernel.effects import Request

MAX_OUTCOMES = 200
"""Outcomes that are remembered of each version: what an agent did long ago says little of what it does now."""

RECENT = 5
"""Latest outcomes by which health is told."""

CONFIDENCE = 1.96
"""Width of the interval whose lower end is the reputation: 95 %."""

RELEVANT = 0.2
"""Least relevance at which an agent takes a task to be its own, unless the asker says otherwise."""

_WORD = re.compile(r"[a-z0-9]{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAgent(Request):
    """Keep the card of one version of an agent. The same card again changes nothing, another one for that version is refused (OMG-I001)."""

    port: ClassVar[str] = "agents"
    name: str
    card: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAgent(Request):
    """Say which version of an agent works, and which is tried on a `share` (0 to 1) of the work; gives the release."""

    port: ClassVar[str] = "agents"
    name: str
    stable: str
    canary: str = ""
    share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAgents(Request):
    """The agents of the caller's tenant: {name: {"release": ..., "cards": {version: card}, "outcomes": {version: [bool, ...]}}}."""

    port: ClassVar[str] = "agents"
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteOutcome(Request):
    """Remember how a piece of work of an agent went. A step that is done again is remembered once."""

    port: ClassVar[str] = "agents"
    name: str
    version: str
    good: bool


def reputation(outcomes: Sequence[bool]) -> float:
    """0 to 1: the lower end of Wilson's interval (1927) for the share of work that went well, so that few outcomes prove little."""
    count = len(outcomes)
    if not count:
        return 0.0
    share, square = sum(outcomes) / count, CONFIDENCE**2
    middle = share + square / (2 * count)
    spread = CONFIDENCE * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return round((middle - spread) / (1 + square / count), 4)


def health(outcomes: Sequence[bool]) -> str:
    """`unknown` (no work yet), `failing` (none of the latest went well), `shaky` (some did not), or `healthy`."""
    latest = outcomes[-RECENT:]
    if not latest:
        return "unknown"
    return "healthy" if all(latest) else "shaky" if any(latest) else "failing"


def relevance(card: Mapping[str, Any], task: str) -> float:
    """How much of what an agent says it is good at the task speaks of: 0 to 1, by words. A capability counts when all its words occur."""
    words = set(_stems(task))
    claims = [set(_stems(each)) for each in card.get("capabilities", ())]
    claims = [claim for claim in claims if claim]
    met = sum(claim <= words for claim in claims)
    about = set(_stems(str(card.get("description", ""))))
    shared = len(about & words) / len(about) if about else 0.0
    return round(max(met / len(claims) if claims else 0.0, 0.5 if met else 0.0, shared), 4)


def is_task_relevant(card: Mapping[str, Any], task: str, least: float = RELEVANT) -> bool:
    """Whether an agent takes the task to be its own."""
    return relevance(card, task) >= least


def chosen_version(release: Mapping[str, Any], draw: float) -> str:
    """The version that does this piece of work; `draw` is a number in [0, 1) drawn for it, and recorded."""
    canary, share = str(release.get("canary", "")), float(release.get("share", 0.0))
    return canary if canary and draw < share else str(release["stable"])


def _stems(text: str) -> list[str]:
    """The words of a text, without the commonest English endings: enough for `refunds` to meet `refund`."""
    found = []
    for word in _WORD.findall(text.lower()):
        for ending in ("ing", "ed", "es", "s"):
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                word = word[: -len(ending)]
                break
        found.append(word.removesuffix("e"))
    return found
