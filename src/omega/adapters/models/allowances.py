"""How much a caller or a tenant may spend on models in an hour, a day or a month, and how much it has. Pure.

    {"who": "agent:claude-code", "window": "day", "tokens": 2000000, "cost_micros": 5000000}

`who` is a principal (an API key has one of its own), `tenant` for all of the tenant together, or `*` for each principal by itself.
Windows are calendar ones in UTC. Before a question leaves, what it can use at most is reserved; after the answer what it did use is
added. A question that does not fit is refused. Where money is limited, a model without a known price is refused too: what cannot be
counted cannot be limited.

Engines on the same records do not ask each other before each question: each may use its part (`part_of`), so that together they stay within
the amount even where none knows what the others hand out at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from omega.kernel.budget import NOTHING, Spent
from omega.kernel.errors import Denied, InputError

WINDOWS: Final = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
"""The windows, and how the one of a moment is named."""

EVERYBODY: Final = "*"
TENANT: Final = "tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What `who` may spend in a window; None is no limit of that kind."""

    who: str
    window: str = "day"
    tokens: int | None = None
    cost_micros: int | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Allowance:
        """From a record. Raises InputError (OMG-I001)."""
        who, window = record.get("who"), record.get("window", "day")
        tokens, cost = record.get("tokens"), record.get("cost_micros")
        limits = [each for each in (tokens, cost) if each is not None]
        if not isinstance(who, str) or not (who in (EVERYBODY, TENANT) or 0 < len(who.partition(":")[2]) <= 200):
            raise InputError("OMG-I001", 'an allowance is for a principal (agent:NAME), for "tenant", or for "*", each principal')
        if window not in WINDOWS or not limits or set(record) - {"who", "window", "tokens", "cost_micros"}:
            raise InputError("OMG-I001", f"an allowance has a window ({', '.join(WINDOWS)}) and tokens, cost_micros or both")
        if not all(type(each) is int and each >= 0 for each in limits):
            raise InputError("OMG-I001", "an allowance limits whole numbers of tokens, and of millionths of a US dollar")
        return cls(who=who, window=str(window), tokens=tokens, cost_micros=cost)

    def holds_for(self, principal: str) -> str | None:
        """Whose account is charged when `principal` asks; None where this allowance does not concern it."""
        if self.who == TENANT:
            return TENANT
        return principal if self.who in (EVERYBODY, principal) and principal else None


@dataclass(frozen=True, slots=True)
class Account:
    """One count: of a tenant, whose, in which window."""

    tenant: str
    who: str
    window: str


Counted = Literal["tokens", "cost_micros"]
"""What an allowance limits, as a field of `Spent`."""


def part_of(amount: int, mine: int, others: Sequence[int], gone: int) -> int:
    """How much of `amount` an engine may still use that has used `mine`, where the `others` that are there have used so much, and those
    that are there no more used `gone`.

    What the gone have left is divided so that each may come to the same level; who is above it already (another has joined since) stays
    where they are, and the rest share what remains. So the sum stays within the amount while nobody joins, however late each hears of the
    others' counts, and an engine that goes leaves its part to the rest.
    """
    rest = amount - gone
    used = sorted((mine, *others), reverse=True)
    for number, most in enumerate(used):
        level = rest // (len(used) - number)
        if most <= level:
            return max(0, level - mine)
        rest -= most
    return 0


class Ledger(Protocol):
    """Where counts outlast the process."""

    def spent(self, account: Account) -> Spent:
        """What was spent on that account, by every engine on the same records."""
        ...

    def left(self, account: Account, of: Counted, amount: int) -> int:
        """How much of `amount` this engine may still use on that account; below zero where more than that was used."""
        ...

    def add(self, account: Account, amount: Spent) -> None:
        """Add to it."""
        ...


class Counts:
    """Counts in memory: the ledger of an engine that keeps none."""

    def __init__(self) -> None:
        self._spent: dict[Account, Spent] = {}

    def spent(self, account: Account) -> Spent:
        """See `Ledger`."""
        return self._spent.get(account, NOTHING)

    def left(self, account: Account, of: Counted, amount: int) -> int:
        """See `Ledger`."""
        return amount - int(getattr(self.spent(account), of))

    def add(self, account: Account, amount: Spent) -> None:
        """See `Ledger`."""
        self._spent[account] = self.spent(account) + amount


class Purse:
    """What is held back for the questions that are under way, and what has been spent."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held: dict[Account, Spent] = {}

    def hold(self, limits: Sequence[tuple[Allowance, Account]], wanted: Spent, *, priced: bool) -> None:
        """Reserve `wanted` on each account. Raises Denied (OMG-W005) where it does not fit; then nothing is reserved."""
        for allowance, account in limits:
            _check(allowance, account, self._held.get(account, NOTHING) + wanted, self._ledger, priced=priced)
        for account in {account for _, account in limits}:
            self._held[account] = self._held.get(account, NOTHING) + wanted

    def settle(self, limits: Sequence[tuple[Allowance, Account]], wanted: Spent, used: Spent) -> None:
        """Free what was reserved, and count what was used."""
        for account in {account for _, account in limits}:
            left = self._held.get(account, NOTHING) - wanted
            if left == NOTHING:
                self._held.pop(account, None)
            else:
                self._held[account] = left
            if used != NOTHING:
                self._ledger.add(account, used)


def limits_of(allowances: Sequence[Allowance], tenant: str, principal: str, now_us: int) -> list[tuple[Allowance, Account]]:
    """The allowances that concern a question of `principal` now, each with the account that it is counted on."""
    moment = datetime.fromtimestamp(now_us / 1_000_000, UTC)
    found = []
    for allowance in allowances:
        who = allowance.holds_for(principal)
        if who is not None:
            found.append((allowance, Account(tenant, who, f"{allowance.window} {moment.strftime(WINDOWS[allowance.window])}")))
    return found


def _check(allowance: Allowance, account: Account, aside: Spent, ledger: Ledger, *, priced: bool) -> None:
    details = {"who": account.who, "window": account.window, "tokens": allowance.tokens, "cost_micros": allowance.cost_micros}
    if allowance.tokens is not None and aside.tokens > ledger.left(account, "tokens", allowance.tokens):
        raise Denied(
            "OMG-W005",
            f"{account.who} may use {allowance.tokens:,} tokens of models a {allowance.window}, and this question could go past it",
            advice=f"wait for the next {allowance.window}, set a lower max_tokens, or have the allowance raised",
            details=details,
        )
    if allowance.cost_micros is None:
        return
    if not priced:
        raise Denied(
            "OMG-W005",
            f"{account.who} has a limit in money, and no price is known of this model",
            advice="ask a model whose price is known, or have an operator give this one a price",
            details=details,
        )
    if aside.cost_micros > ledger.left(account, "cost_micros", allowance.cost_micros):
        raise Denied(
            "OMG-W005",
            f"{account.who} may spend {allowance.cost_micros / 1e6:.2f} USD on models a {allowance.window}: this question could go past it",
            advice=f"wait for the next {allowance.window}, set a lower max_tokens, or have the allowance raised",
            details=details,
        )
