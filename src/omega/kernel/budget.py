"""What an execution may still spend. A budget only shrinks on the way down: a child gets at most what its parent has left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omega.kernel.errors import Denied


@dataclass(frozen=True, slots=True)
class Budget:
    """Ceilings: money in millionths of `currency`, tokens, gated calls. `None` is no ceiling of its own kind."""

    cost_micros: int | None = None
    tokens: int | None = None
    calls: int | None = None
    currency: str = "USD"

    def record(self) -> dict[str, int | str | None]:
        """The budget as data; `Budget(**record)` makes it again."""
        return {"cost_micros": self.cost_micros, "tokens": self.tokens, "calls": self.calls, "currency": self.currency}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Budget:
        """The budget of a record that came from outside. Raises ValueError when it is none, KeyError when a part is missing."""
        amounts = (record["cost_micros"], record["tokens"], record["calls"])
        if not all(amount is None or (type(amount) is int and amount >= 0) for amount in amounts) or type(record["currency"]) is not str:
            raise ValueError("not a budget")
        return cls(*amounts, currency=record["currency"])

    def narrow(self, other: Budget) -> Budget:
        """The tighter of the two in each kind. Raises Denied (OMG-W005) on different currencies: money is never converted silently."""
        if other.currency != self.currency and other.cost_micros is not None and self.cost_micros is not None:
            raise Denied("OMG-W005", f"a budget in {other.currency} cannot narrow one in {self.currency}")
        return Budget(
            _least(self.cost_micros, other.cost_micros),
            _least(self.tokens, other.tokens),
            _least(self.calls, other.calls),
            self.currency if self.cost_micros is not None else other.currency,
        )

    def spend(self, spent: Spent) -> Budget:
        """What is left after `spent`; never below zero, so an overrun is refused at the next reservation."""
        if self.cost_micros is None and self.tokens is None and self.calls is None:
            return self
        return Budget(
            _minus(self.cost_micros, spent.cost_micros), _minus(self.tokens, spent.tokens), _minus(self.calls, spent.calls), self.currency
        )

    def allows(self, wanted: Spent) -> bool:
        """Whether `wanted` fits into every ceiling."""
        return (
            (self.cost_micros is None or wanted.cost_micros <= self.cost_micros)
            and (self.tokens is None or wanted.tokens <= self.tokens)
            and (self.calls is None or wanted.calls <= self.calls)
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """An amount: reserved before a call, settled after it."""

    cost_micros: int = 0
    tokens: int = 0
    calls: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.cost_micros + other.cost_micros, self.tokens + other.tokens, self.calls + other.calls)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.cost_micros - other.cost_micros, self.tokens - other.tokens, self.calls - other.calls)


NOTHING = Spent()
"""No amount."""


def _least(a: int | None, b: int | None) -> int | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)


def _minus(ceiling: int | None, amount: int) -> int | None:
    return None if ceiling is None else max(0, ceiling - amount)
