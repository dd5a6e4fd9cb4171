"""Queues as data: what waits, what runs, under which limits, and which of the waiting come next.

A queue is not a second place where work lies: it is a name on an execution's line, with a priority, a partition key and the moment from
which a worker may take it up. So whatever can be taken up is taken up by one rule, `choose`: a new execution, one whose timer has run out,
one that somebody woke, one whose worker died.

Fairness: within one priority, the tenant with the fewest running comes first; within a tenant, whoever was due first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omega.kernel.errors import InputError

DEFAULT = "default"
"""The queue of work that names none."""

MAX_NAME = 64
"""Longest name of a queue or partition key, in characters."""

PRIORITIES = range(-100, 101)
"""Allowed priorities; higher goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a queue allows: executions at once in all, per partition key and per tenant; at most `rate` begun in `per_s` seconds.

    `None` is no limit of that kind.
    """

    at_once: int | None = None
    per_key: int | None = None
    per_tenant: int | None = None
    rate: int | None = None
    per_s: float = 1.0

    def __post_init__(self) -> None:
        for name in ("at_once", "per_key", "per_tenant", "rate"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise InputError("OMG-I001", f"{name} of a queue is a whole number from 1, not {value!r}")
        if not 0 < self.per_s <= 86_400:
            raise InputError("OMG-I001", f"per_s of a queue is between 0 and a day, not {self.per_s!r}")

    def record(self) -> dict[str, Any]:
        """The limits as data; `Limits(**record)` makes them again."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One execution that could be taken up now, as a store finds it."""

    execution: str
    tenant: str
    queue: str
    key: str
    priority: int
    due_us: int


@dataclass(slots=True)
class Load:
    """What runs in one queue: in all, per key, per tenant, and how many were begun within its `per_s`."""

    running: int = 0
    by_key: dict[str, int] = field(default_factory=dict)
    by_tenant: dict[str, int] = field(default_factory=dict)
    begun: int = 0

    def admits(self, one: Waiting, limits: Limits) -> bool:
        """Whether `one` may begin beside what runs."""
        return (
            (limits.at_once is None or self.running < limits.at_once)
            and (limits.per_key is None or self.by_key.get(one.key, 0) < limits.per_key)
            and (limits.per_tenant is None or self.by_tenant.get(one.tenant, 0) < limits.per_tenant)
            and (limits.rate is None or self.begun < limits.rate)
        )

    def add(self, one: Waiting) -> None:
        """Count `one` as running."""
        self.running += 1
        self.begun += 1
        self.by_key[one.key] = self.by_key.get(one.key, 0) + 1
        self.by_tenant[one.tenant] = self.by_tenant.get(one.tenant, 0) + 1


def choose(waiting: Iterable[Waiting], load: Mapping[str, Load], limits: Mapping[str, Limits], most: int) -> list[str]:
    """The executions to take up, at most `most`, in order; `load` is updated as they are chosen.

    A queue without an entry in `limits` has none; one without an entry in `load` is idle.
    """
    left: dict[int, dict[str, list[Waiting]]] = {}
    for one in sorted(waiting, key=lambda each: (each.due_us, each.execution)):
        left.setdefault(one.priority, {}).setdefault(one.tenant, []).append(one)
    loads = dict(load)
    running: dict[str, int] = {}
    for each in loads.values():
        for tenant, count in each.by_tenant.items():
            running[tenant] = running.get(tenant, 0) + count
    chosen: list[str] = []
    for priority in sorted(left, reverse=True):
        chosen += _fairly(left[priority], loads, limits, running, most - len(chosen))
    return chosen


def _fairly(
    tenants: dict[str, list[Waiting]], loads: dict[str, Load], limits: Mapping[str, Limits], running: dict[str, int], most: int
) -> Sequence[str]:
    chosen: list[str] = []
    queues = {tenant: iter(line) for tenant, line in tenants.items()}
    while queues and len(chosen) < most:
        tenant = min(queues, key=lambda name: (running.get(name, 0), name))
        for one in queues[tenant]:
            load = loads.setdefault(one.queue, Load())
            if load.admits(one, limits.get(one.queue, Limits())):
                load.add(one)
                running[tenant] = running.get(tenant, 0) + 1
                chosen.append(one.execution)
                break
        else:
            del queues[tenant]
    return chosen
