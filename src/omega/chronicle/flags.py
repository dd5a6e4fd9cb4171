"""Flags: which leaves a compliance officer wants to see, why, and what raised each. Pure reading of leaves; nothing is stored beside them.

A flag is not another record: it is what a leaf that is there already means. So it is as tamper-evident as the leaf, an old log has its
flags too, and nobody can raise or hide one without writing or changing a leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from omega.chronicle.record import Leaf


class Kind(StrEnum):
    """What a flag is about."""

    DENIED = "denied"
    POLICY_ERROR = "policy error"
    BUDGET = "budget or limit"
    GUARD = "guard"
    IN_DOUBT = "in doubt"
    BY_HAND = "decided by hand"
    ERASED = "erased"
    HOLD = "hold released"
    ARRANGED = "arranged"
    READ = "log read"
    KEYS = "log key changed"
    DEAD = "given up"
    REFUSED = "credentials refused"
    GUESSED = "credentials guessed"


ALARMING = frozenset({Kind.DENIED, Kind.POLICY_ERROR, Kind.GUARD, Kind.IN_DOUBT, Kind.KEYS, Kind.DEAD, Kind.GUESSED})
"""Kinds that somebody should look at now; the others are there to be found."""

_FLOWS = {
    "erase": Kind.ERASED,
    "retained": Kind.ERASED,
    "release_hold": Kind.HOLD,
    "arrange": Kind.ARRANGED,
    "dissolve": Kind.ARRANGED,
    "read_log": Kind.READ,
    "log_access": Kind.READ,
    "log.search": Kind.READ,
    "log.flags": Kind.READ,
    "log.checkpoint": Kind.READ,
    "log.proof": Kind.READ,
    "log.export": Kind.READ,
    "log.follow": Kind.READ,
    "refused_credentials": Kind.REFUSED,
    "guessed_credentials": Kind.GUESSED,
}
_CODES = {
    "OMG-W002": Kind.POLICY_ERROR,
    "OMG-W004": Kind.BUDGET,
    "OMG-W005": Kind.BUDGET,
    "OMG-W010": Kind.GUARD,
    "OMG-R006": Kind.IN_DOUBT,
    "OMG-R022": Kind.DEAD,
}
_KINDS = {"approve": Kind.BY_HAND, "resolve": Kind.BY_HAND, "cancel": Kind.BY_HAND, "handover": Kind.KEYS}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a leaf: what it is about, and what `raised` it (a policy, a code, a flow, whoever decided)."""

    kind: Kind
    raised: str

    @property
    def alarming(self) -> bool:
        """Whether somebody should look at it now."""
        return self.kind in ALARMING

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {"flag": str(self.kind), "raised": self.raised, "alarming": self.alarming}


def flags_of(leaf: Leaf) -> tuple[Flag, ...]:
    """The flags of a leaf, the gravest first; none for most. An act of several leaves (admitted, done, ended) is flagged once."""
    found: list[Flag] = []
    if leaf.code in _CODES:
        found.append(Flag(_CODES[leaf.code], leaf.code))
    elif leaf.kind == "deny":
        found.append(Flag(Kind.DENIED, ", ".join(leaf.policies) or leaf.code or "no policy permits it"))
    if leaf.kind == "outcome" and leaf.reason:  # an outcome has a reason only where a guard found something
        found.append(Flag(Kind.GUARD, leaf.reason))
    if leaf.kind in _KINDS:
        found.append(Flag(_KINDS[leaf.kind], leaf.principal or leaf.kind))
    if leaf.kind == "entry" and leaf.flow in _FLOWS:
        found.append(Flag(_FLOWS[leaf.flow], leaf.flow))
    return tuple(found)
