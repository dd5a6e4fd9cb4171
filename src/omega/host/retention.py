"""Retention: how long the payloads of executions that ended are kept. Then they and their keys are destroyed; digests and leaves stay.

What an operator arranges per tenant, every worker carries out, a few executions at a time, so that it never holds up a commit for long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omega.host.arrangements import Documents, all_arranged
from omega.host.erasing import held
from omega.kernel.errors import InputError
from omega.kernel.ports import Store

RETENTION = "retention"
"""The kind of the documents; the name of each is its tenant."""

SHORTEST_S = 60.0
"""Least time that payloads are kept, in seconds: an end must be seen before it is compacted."""

AT_ONCE = 100
"""Most executions compacted in one go."""

SWEEP_S = 60.0
"""How often a worker looks for something to compact, in seconds."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Payloads of `tenant` are kept for `after_s` seconds from the end of their execution."""

    tenant: str
    after_s: float

    def record(self) -> dict[str, Any]:
        """As kept."""
        return {"after_s": self.after_s}

    @classmethod
    def read(cls, tenant: str, body: Mapping[str, Any]) -> Retention:
        """From a document. Raises InputError (OMG-I001)."""
        after_s = body.get("after_s")
        if not isinstance(after_s, (int, float)) or isinstance(after_s, bool) or not after_s >= SHORTEST_S:
            raise InputError(
                "OMG-I001",
                f"payloads are kept for at least {SHORTEST_S:.0f} seconds, not {after_s!r}",
                advice="give a time such as 30d or 12h",
            )
        return cls(tenant, float(after_s))


def check(name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A retention's document as it is kept (see `arrangements.Reading`)."""
    return Retention.read(name, body).record()


def retentions(documents: Documents) -> list[Retention]:
    """What is arranged, by tenant; a tenant under a legal hold is left out, for nothing of it is destroyed."""
    rules = [Retention.read(tenant, body) for tenant, body in all_arranged(documents, RETENTION).items()]
    return [rule for rule in rules if not held(documents, rule.tenant)]


async def compact(store: Store, rules: list[Retention], now_us: int) -> int:
    """Destroy what is over its time: at most AT_ONCE executions per tenant; gives how many. Raises StorageError."""
    done = 0
    for rule in rules:
        done += await store.compact(rule.tenant, now_us - int(rule.after_s * 1_000_000), AT_ONCE)
    return done
