"""Quotas: how much a tenant, a caller, a flow or a tool may use in a minute, an hour or a day. Deterministic: time is handed in.

    requests      touches that the gate admitted
    tokens, cost  what models and paid tools used, as their receipts say
    concurrency   touches under way at once; it has no window

What a touch may use at most is set aside when it is admitted (`take`) or when a model is about to be asked (`reserve`), what it did use
is put in its place as soon as it is known (`amend`), and counted when the step ends (`settle`). So a hundred questions asked at once cannot
all find the same room: what is set aside counts, money as well. What nobody knows the price of is refused where a quota limits money,
unless that quota lets it pass (`unpriced`).

Windows are those of the clock (UTC): the day ends at midnight, which everybody can work out. A clock that jumps back finds the later window
still open, so nothing is refunded.

Engines that share their records share a quota without a round trip per call: each may use its share of every window, the amount divided by
the number of engines (`adopt(engines=...)`, the most there were in that window), so that together they do not use more than the amount.
What was used before an engine began counts against its share.

Memory is bounded: a tenant has at most MAX_OWN counters, all of them together MAX_COUNTERS, but for the few (SURE) that each tenant has in
any case. At its bound a tenant loses the counters of its own that count nothing any more, and where there is none its touch is refused. So
who makes up names fills a bound of their own, and neither forgets nor refuses what another tenant does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from omega.kernel.budget import NOTHING, Spent
from omega.kernel.errors import InputError
from omega.kernel.verdict import Ask

MAX_COUNTERS = 65_536
"""Most counters of one gate, some 20 MiB: a name that a caller makes up cannot fill the memory."""

MAX_OWN = 16_384
"""Most counters that the calls of one tenant make: an hour of a quota for each of so many callers."""

SURE = 64
"""Counters that a tenant may have even where all others have taken up MAX_COUNTERS."""

MAX_QUOTAS = 4_096
"""Most quotas that are arranged for one tenant by name, or for all of them: those that may concern a call are found by its tenant, and
looked at one by one. It is checked before one is arranged; what stands all the same is held, for a quota left out would allow more."""

EACH = "*"
"""In place of a name: each by itself. An empty name is all of them together."""

WINDOWS: Mapping[str, int] = {"minute": 60, "hour": 3_600, "day": 86_400}
"""Windows by name, in seconds."""


class Unpriced(StrEnum):
    """What a quota of money does about a model whose price nobody knows."""

    REFUSE = "refuse"
    ADMIT = "pass"


class Measure(StrEnum):
    """What a quota counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    COST = "cost"
    CONCURRENCY = "concurrency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """At most `amount` (requests, tokens, millionths of a currency, touches at once) per `window_s` seconds (0 for concurrency).

    `tenant`, `principal` and `flow` say whose: a name, EACH for each by itself, empty for all together. A principal is found among those
    who act for the caller too: an agent's quota counts what it does in a person's name. `flow` is a flow, a tool `server/tool` or
    `server/*`. `unpriced` matters for money alone: what passes without a price is counted as nothing.
    """

    name: str
    of: Measure
    amount: int
    window_s: int = 0
    tenant: str = EACH
    principal: str = ""
    flow: str = ""
    unpriced: Unpriced = Unpriced.REFUSE

    def record(self) -> dict[str, Any]:
        """As kept in a document, without the name."""
        kept: dict[str, Any] = {"of": self.of.value, "amount": self.amount, "window_s": self.window_s}
        kept |= {"tenant": self.tenant, "principal": self.principal, "flow": self.flow}
        return kept | ({"unpriced": self.unpriced.value} if self.unpriced is not Unpriced.REFUSE else {})

    @classmethod
    def read(cls, name: str, body: Mapping[str, Any]) -> Quota:
        """From a document. Raises InputError (OMG-I001)."""
        texts = [body.get(field, default) for field, default in (("tenant", EACH), ("principal", ""), ("flow", ""))]
        amount, window_s, of = body.get("amount"), body.get("window_s", 0), body.get("of")
        if type(of) is not str or of not in set(Measure) or not all(type(text) is str and len(text) <= 256 for text in texts):
            raise InputError("OMG-I001", f"a limit counts {', '.join(Measure)}, not {of!r}"[:200])
        if type(amount) is not int or not 0 <= amount < 1 << 62:
            raise InputError("OMG-I001", f"a limit has a whole amount from 0, not {amount!r}"[:200])
        windows = {0} if of == Measure.CONCURRENCY else set(WINDOWS.values())
        if window_s not in windows:
            raise InputError("OMG-I001", f"a limit of {of} is per {', '.join(WINDOWS)}; one of concurrency has no window")
        unpriced = body.get("unpriced", Unpriced.REFUSE.value)
        if type(unpriced) is not str or unpriced not in set(Unpriced) or (of != Measure.COST and unpriced != Unpriced.REFUSE):
            raise InputError("OMG-I001", f"a limit of money refuses what has no known price, or lets it pass, not {unpriced!r}"[:200])
        whose = {"tenant": texts[0], "principal": texts[1], "flow": texts[2]}
        return cls(name=name, of=Measure(of), amount=amount, window_s=window_s, unpriced=Unpriced(unpriced), **whose)

    def key(self, use: Use) -> _Key | None:
        """The counter that `use` counts on; None when this quota is not about it."""
        server, slash, _ = use.flow.partition("/")
        tenant = part_of(self.tenant, (use.tenant,))
        principal = part_of(self.principal, use.principals)
        flow = part_of(self.flow, (use.flow, f"{server}/*") if slash else (use.flow,))
        return None if tenant is None or principal is None or flow is None else (self.name, tenant, principal, flow)

    def wanted(self, spent: Spent) -> int:
        """How much of this measure `spent` is."""
        if self.of is Measure.COST:
            return spent.cost_micros
        return spent.tokens if self.of is Measure.TOKENS else spent.calls

    def __str__(self) -> str:
        per = next((f" per {word}" for word, seconds in WINDOWS.items() if seconds == self.window_s), " at once")
        amount = f"{self.amount / 1_000_000:g} USD" if self.of is Measure.COST else f"{self.amount:,} {self.of.value}"
        return (amount.removesuffix(f" {Measure.CONCURRENCY.value}") if not self.window_s else amount) + per


@dataclass(frozen=True, slots=True)
class Use:
    """Who uses what: the tenant, the caller and whoever acts for them, the flow or tool."""

    tenant: str
    principals: tuple[str, ...]
    flow: str


def use_of(ask: Ask) -> Use:
    """Who asks for what in `ask`."""
    server, tool = ask.resource.get("server"), ask.resource.get("tool")  # a tool is what it is, whatever the flow calls it
    return Use(ask.scope.tenant, (ask.scope.principal, *ask.scope.actors), f"{server}/{tool}" if server and tool else ask.flow)


def _kind(quota: Quota) -> tuple[str, Measure, int]:
    """What a counter counts: of another measure or window it begins anew."""
    return quota.name, quota.of, quota.window_s


_Key = tuple[str, str, str, str]
_Held = tuple[str, str, int]
ONE = Spent(calls=1)


@dataclass(frozen=True, slots=True)
class Full:
    """Why a touch does not fit: the quota, what is left of it (of this engine's share), and the seconds until its window ends (0: when
    another touch ends). `unpriced`: not for want of room, but because nobody knows what it will cost."""

    quota: Quota
    left: int
    wait_s: float
    unpriced: bool = False


class _Counter:
    """What was used in the window that began last, what is set aside, and by how many touches under way."""

    __slots__ = ("engines", "holds", "open", "used", "window")

    def __init__(self) -> None:
        self.window = -1
        self.engines = 1
        self.used = 0
        self.open = 0
        self.holds = 0

    def at(self, window: int, engines: int) -> _Counter:
        if window > self.window:
            self.window, self.used, self.engines = window, 0, engines
        self.engines = max(self.engines, engines)
        return self

    def left(self, quota: Quota) -> int:
        return quota.amount // self.engines - self.used - self.open


@dataclass(slots=True)
class _Hold:
    """What one touch set aside, on which counters."""

    counters: list[tuple[Quota, _Counter]]
    aside: Spent


class Ledger:
    """Counts what is used against the quotas of one gate."""

    def __init__(self) -> None:
        self._common: tuple[Quota, ...] = ()
        self._own: dict[str, tuple[Quota, ...]] = {}
        self._counters: dict[_Key, _Counter] = {}
        self._made: dict[str, set[_Key]] = {}
        self._swept: dict[str, int] = {}
        self._holds: dict[_Held, _Hold] = {}
        self._kinds: dict[str, tuple[str, Measure, int]] = {}
        self._engines = 1

    @property
    def busy(self) -> bool:
        """Whether there is any quota at all."""
        return bool(self._common or self._own)

    def adopt(self, quotas: Iterable[Quota], *, engines: int = 1) -> None:
        """Have `quotas` hold from now on, this gate being one of `engines`. What was counted under the same names, measures and windows
        stays counted. Raises InputError (OMG-I001) for no engine at all."""
        found = tuple(quotas)
        if engines < 1:
            raise InputError("OMG-I001", f"limits are held by one engine at least, not {engines}")
        self._engines = engines
        self._common, self._own = by_tenant(found)
        kinds = {_kind(quota) for quota in found}
        same = {name for name, kind in self._kinds.items() if kind in kinds}
        self._kinds = {quota.name: _kind(quota) for quota in found}
        self._counters = {key: counter for key, counter in self._counters.items() if key[0] in same}
        self._made = {tenant: kept for tenant, keys in self._made.items() if (kept := keys & self._counters.keys())}
        self._swept = {}

    def take(self, ask: Ask) -> Full | None:
        """Set aside one touch and its estimate for `ask`, or say what is full; a refused touch takes nothing."""
        held = (ask.execution, ask.step, ask.epoch)
        self.settle(ask, NOTHING, kept=NOTHING)
        aside = ask.estimate + ONE
        counters = []
        for quota, key in self._about(use_of(ask)):
            counter = self._find(key, quota, ask.scope.tenant, ask.now)
            left = counter.left(quota) if counter is not None else 0
            if counter is None or left < max(1, quota.wanted(aside)):
                return self._full(quota, max(0, left), ask.now)
            counters.append((quota, counter))
        if counters:
            self._holds[held] = _Hold(counters, aside)
            for quota, counter in counters:
                counter.open += quota.wanted(aside)
                counter.holds += 1
        return None

    def room(self, ask: Ask) -> Full | None:
        """What of cost and tokens is used up for `ask`, if anything: an execution that could do nothing need not begin."""
        for quota, key in self._about(use_of(ask)):
            if quota.of in (Measure.COST, Measure.TOKENS):
                counter = self._find(key, quota, ask.scope.tenant, ask.now)
                if counter is None or counter.left(quota) < 1:
                    return self._full(quota, 0, ask.now)
        return None

    def reserve(self, ask: Ask, more: Spent, *, priced: bool = True) -> Full | None:
        """Set `more` aside for a touch under way, or say what is full. Not `priced`: nobody knows how much money it will be."""
        hold = self._holds.get((ask.execution, ask.step, ask.epoch))
        if hold is None:
            return None
        for quota, counter in hold.counters:
            left = counter.left(quota)
            if not priced and quota.of is Measure.COST and quota.unpriced is Unpriced.REFUSE:
                return Full(quota, max(0, left), 0.0, unpriced=True)
            if quota.wanted(more) > left:
                return self._full(quota, max(0, left), ask.now)
        self.amend(ask, more)
        return None

    def amend(self, ask: Ask, by: Spent) -> None:
        """Change what a touch under way has set aside: once a request has ended, what it used takes the place of its estimate."""
        hold = self._holds.get((ask.execution, ask.step, ask.epoch))
        if hold is None:
            return
        for quota, counter in hold.counters:
            counter.open += quota.wanted(by)
        hold.aside = hold.aside + by

    def settle(self, ask: Ask, spent: Spent, *, kept: Spent = ONE) -> None:
        """The touch of `ask` has ended: what it set aside is given back, and what it used (`spent`, and one request) counted."""
        hold = self._holds.pop((ask.execution, ask.step, ask.epoch), None)
        if hold is None:
            return
        for quota, counter in hold.counters:
            counter.open -= quota.wanted(hold.aside)
            counter.holds -= 1
            if quota.of is not Measure.CONCURRENCY:
                counter.used += quota.wanted(spent + kept)

    def count(self, use: Use, spent: Spent, *, at: float) -> None:
        """Count what was used before this gate began, as the log tells it: `spent` with its requests, at `at` (Unix seconds)."""
        for quota, key in self._about(use):
            counter = self._find(key, quota, use.tenant, at) if quota.of is not Measure.CONCURRENCY else None
            if counter is not None and counter.window == _window(quota, at):
                counter.used += quota.wanted(spent)

    def standing(self, now: float) -> Iterator[tuple[Quota, str, str, str, int, int]]:
        """Every counter in use at `now`: its quota, tenant, principal, flow, what was used and what is set aside."""
        quotas = {quota.name: quota for quota in (*self._common, *(each for own in self._own.values() for each in own))}
        for (name, tenant, principal, flow), counter in sorted(self._counters.items()):
            counter.at(_window(quotas[name], now), self._engines)
            if counter.used or counter.open:
                yield quotas[name], tenant, principal, flow, counter.used, counter.open

    def _about(self, use: Use) -> Iterator[tuple[Quota, _Key]]:
        for quota in (*self._common, *self._own.get(use.tenant, ())):
            key = quota.key(use)
            if key is not None:
                yield quota, key

    def _find(self, key: _Key, quota: Quota, tenant: str, now: float) -> _Counter | None:
        """The counter of `key`, made for a call of `tenant` where there is none yet; None where it may have no more."""
        counter = self._counters.get(key)
        if counter is None:
            if self._at_bound(tenant):
                self._sweep(tenant, now)
                if self._at_bound(tenant):
                    return None
            counter = self._counters[key] = _Counter()
            self._made.setdefault(tenant, set()).add(key)
        return counter.at(_window(quota, now), self._engines)

    def _at_bound(self, tenant: str) -> bool:
        own = len(self._made.get(tenant, ()))
        return own >= MAX_OWN or (own >= SURE and len(self._counters) >= MAX_COUNTERS)

    def _sweep(self, tenant: str, now: float) -> None:
        """Drop the counters of `tenant` that count nothing any more. Once a second: a refused touch must cost little."""
        if self._swept.get(tenant) == int(now):
            return
        self._swept[tenant] = int(now)
        quotas = (*self._common, *(each for own in self._own.values() for each in own))
        alive = {quota.name: _window(quota, now) if quota.window_s else 1 for quota in quotas}  # of those at once, none lasts
        own = self._made.get(tenant, set())
        for key in [key for key in own if not self._counters[key].holds and self._counters[key].window < alive.get(key[0], 0)]:
            del self._counters[key]
            own.remove(key)

    def _full(self, quota: Quota, left: int, now: float) -> Full:
        return Full(quota, left, quota.window_s - now % quota.window_s if quota.window_s else 0.0)


def _window(quota: Quota, now: float) -> int:
    return int(now // quota.window_s) if quota.window_s else 0


class _Named(Protocol):
    """Whatever is arranged for a tenant: its name, EACH, or empty for all together."""

    @property
    def tenant(self) -> str: ...


_Rule = TypeVar("_Rule", bound=_Named)


def by_tenant(rules: Iterable[_Rule]) -> tuple[tuple[_Rule, ...], dict[str, tuple[_Rule, ...]]]:
    """Those that may concern anybody, and those of each tenant by name, both in the order given."""
    common: list[_Rule] = []
    own: dict[str, list[_Rule]] = {}
    for rule in rules:
        (common if rule.tenant in ("", EACH) else own.setdefault(rule.tenant, [])).append(rule)
    return tuple(common), {tenant: tuple(found) for tenant, found in own.items()}


def part_of(wanted: str, names: tuple[str, ...]) -> str | None:
    """The part of a counter's key for one field: None when the quota is about another."""
    if wanted in ("", EACH):
        return names[0] if wanted else ""
    return wanted if wanted in names else None
