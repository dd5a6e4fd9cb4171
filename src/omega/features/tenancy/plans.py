"""Plans: what a tenant may use, as data. The gate enforces them; nothing in here looks at a call.

0 stands for no limit. The sandbox is the smallest: enough to try everything, too little to live on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from omega.kernel.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Limits of one tenant: `requests_per_s` and `calls_per_day` of all its callers together, `agents` with keys of their own, `cpu_s`,
    `memory_mb` and `processes` of one program that runs in its name, with all that this one starts, `retention_days` of payloads after the
    end. `roles` becomes the tenant's fact of that name where it has none yet: `default` gives admin, member and viewer the rights of the
    policy pack `roles`, once an operator uses it."""

    name: str
    requests_per_s: float = 0.0
    calls_per_day: int = 0
    agents: int = 0
    cpu_s: int = 0
    memory_mb: int = 0
    processes: int = 0
    retention_days: int = 0
    roles: str = ""

    def limits(self) -> dict[str, Any]:
        """The plan as data, without its name."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


PLANS: Mapping[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan(name="sandbox", requests_per_s=1.0, calls_per_day=5_000, agents=3, cpu_s=60, memory_mb=512, processes=32, retention_days=2),
        Plan(
            name="team",
            requests_per_s=50.0,
            calls_per_day=500_000,
            agents=50,
            cpu_s=600,
            memory_mb=4_096,
            processes=256,
            retention_days=90,
            roles="default",
        ),
        Plan(
            name="business",
            requests_per_s=500.0,
            calls_per_day=10_000_000,
            agents=1_000,
            cpu_s=3_600,
            memory_mb=16_384,
            processes=1_024,
            retention_days=365,
            roles="default",
        ),
        Plan(name="own", retention_days=0),
    )
}
"""`own` is for whoever brings their own host: the machine is the limit."""


def plan_of(name: str) -> Plan:
    """The plan of that name. Raises InputError (OMG-I001)."""
    found = PLANS.get(name)
    if found is None:
        raise InputError("OMG-I001", f"there is no plan {name[:80]!r} (known: {', '.join(PLANS)})")
    return found
