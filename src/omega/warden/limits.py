"""Rate limits: token buckets per tenant, per caller and per flow of a caller. Deterministic: time is handed in.

A bucket holds up to `burst` tokens and gains `per_s` a second; a call takes one token from each of its buckets, or none at all. A refused
call takes nothing, so hammering at a closed door does not keep it closed.

Time is counted by this module's own clock, which adds up the forward steps of the time handed in: when the outer clock jumps back, nothing
is refunded and nobody is locked out, time just goes on from there. A jump forward fills a bucket at most once.

Memory is bounded. A bucket that is full again is as good as none and is dropped, the one unused for longest first. When a table holds
nothing but buckets in use, callers that are new share one bucket of that table; a tenant's tables are filled by its own callers alone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

UNBOUNDED = math.inf
"""A rate that never refuses."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` calls a second on the long run, `burst` at once."""

    per_s: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Rates of a tenant in all, of one caller, of one caller that is or acts through an agent, and of one flow of one caller.

    `tenants` and `buckets` bound memory: how many tenants, and how many callers and flows of each tenant, are told apart.
    """

    tenant: Rate = Rate(50_000, 100_000)
    caller: Rate = Rate(20_000, 40_000)
    agent: Rate = Rate(200, 2_000)
    flow: Rate = Rate(10_000, 20_000)
    tenants: int = 1_024
    buckets: int = 512


DEFAULT_LIMITS = Limits()
"""Above what one machine's engine can do for a person, and far above what an agent can usefully do: they stop what runs away."""

UNLIMITED = Limits(
    tenant=Rate(UNBOUNDED, UNBOUNDED),
    caller=Rate(UNBOUNDED, UNBOUNDED),
    agent=Rate(UNBOUNDED, UNBOUNDED),
    flow=Rate(UNBOUNDED, UNBOUNDED),
)
"""No limit at all, for explanations and simulations."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit refused (`tenant`, `caller`, `agent` or `flow`), its rate, and the seconds until the next call fits."""

    limit: str
    rate: Rate
    wait_s: float


class _Bucket:
    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at


class _Table:
    """Buckets of one rate, told apart by name; at most `capacity` of them and one shared by the rest."""

    __slots__ = ("buckets", "capacity", "rate", "shared")

    def __init__(self, rate: Rate, capacity: int) -> None:
        self.rate = rate
        self.capacity = capacity
        self.buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.shared = _Bucket(rate.burst, 0.0)

    def find(self, name: str, now: float) -> _Bucket:
        """The bucket of `name`, filled up to `now`."""
        bucket = self.buckets.get(name)
        if bucket is not None:
            self.buckets.move_to_end(name)
        elif len(self.buckets) < self.capacity or self._dropped(now):
            bucket = self.buckets[name] = _Bucket(self.rate.burst, now)
        else:
            bucket = self.shared
        self._fill(bucket, now)
        return bucket

    def _fill(self, bucket: _Bucket, now: float) -> None:
        if now > bucket.at:
            bucket.tokens = min(self.rate.burst, bucket.tokens + (now - bucket.at) * self.rate.per_s)
            bucket.at = now

    def _dropped(self, now: float) -> bool:
        """Whether the bucket unused for longest was full, and is gone."""
        name, oldest = next(iter(self.buckets.items()))
        self._fill(oldest, now)
        if oldest.tokens < self.rate.burst:
            return False
        del self.buckets[name]
        return True

    def idle(self, now: float) -> bool:
        """Whether every bucket is full at `now`, so that forgetting them all changes nothing."""
        for bucket in (self.shared, *self.buckets.values()):
            self._fill(bucket, now)
        return all(bucket.tokens >= self.rate.burst for bucket in (self.shared, *self.buckets.values()))


class _Tenant:
    __slots__ = ("agents", "callers", "flows")

    def __init__(self, limits: Limits) -> None:
        self.callers = _Table(limits.caller, limits.buckets)
        self.agents = _Table(limits.agent, limits.buckets)
        self.flows = _Table(limits.flow, limits.buckets)

    def tables(self) -> tuple[_Table, ...]:
        return self.callers, self.agents, self.flows


class Limiter:
    """Keeps the buckets of all tenants."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._totals = _Table(limits.tenant, limits.tenants)
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._others = _Tenant(limits)
        self._time = 0.0
        self._seen: float | None = None

    def take(self, tenant: str, caller: str, flow: str, *, agent: bool, now: float) -> Refusal | None:
        """Take one call of `caller` (principal and who acts for it) to `flow` at `now` (Unix seconds), or say why not."""
        time = self._advance(now)
        rooms = self._rooms(tenant, time)
        kind, callers = ("agent", rooms.agents) if agent else ("caller", rooms.callers)
        wanted = (
            ("tenant", self._totals, self._totals.find(tenant, time)),
            (kind, callers, callers.find(caller, time)),
            ("flow", rooms.flows, rooms.flows.find(f"{len(caller)}:{caller}{flow}", time)),
        )
        for limit, table, bucket in wanted:
            if bucket.tokens < 1:
                return Refusal(limit, table.rate, (1 - bucket.tokens) / table.rate.per_s if table.rate.per_s > 0 else UNBOUNDED)
        for _, _, bucket in wanted:
            bucket.tokens -= 1
        return None

    def size(self) -> int:
        """How many buckets are kept."""
        rooms = (self._others, *self._tenants.values())
        return len(self._totals.buckets) + sum(len(table.buckets) for room in rooms for table in room.tables())

    def _advance(self, now: float) -> float:
        if self._seen is not None and now > self._seen:
            self._time += now - self._seen
        self._seen = now
        return self._time

    def _rooms(self, tenant: str, time: float) -> _Tenant:
        rooms = self._tenants.get(tenant)
        if rooms is not None:
            self._tenants.move_to_end(tenant)
            return rooms
        if len(self._tenants) >= self._limits.tenants:
            name, oldest = next(iter(self._tenants.items()))
            if not all(table.idle(time) for table in oldest.tables()):
                return self._others
            del self._tenants[name]
        rooms = self._tenants[tenant] = _Tenant(self._limits)
        return rooms
