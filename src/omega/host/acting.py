"""Acting in person: a service's method called by whoever holds an installation's keys, as an owner of one of its tenants.

They may act in each tenant, and do so under their own name: the log of that tenant says who it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from omega.host.discover import find_method
from omega.host.identity import Identity
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import from_record
from omega.kernel.ids import PASSPORT, new_id
from omega.kernel.ports import Call, Clock, Outcome, Road
from omega.kernel.scope import ANY
from omega.kernel.service import INSTALLATION

OWNER_TTL_S = 600
"""How long the passport for one such call lasts, in seconds."""


class Timed(Protocol):
    """What surrounds an engine, as far as its time is concerned."""

    @property
    def clock(self) -> Clock: ...


class Opened(Protocol):
    """An open engine, as far as it is needed to act in it."""

    @property
    def road(self) -> Road: ...

    @property
    def identity(self) -> Identity: ...

    @property
    def world(self) -> Timed: ...


def owner_passport(identity: Identity, tenant: str, now_us: int) -> str:
    """A passport of the person of this installation, as an owner of `tenant`. Its id is not the tenant's: a tenant that was suspended can
    still be looked at, exported and deleted by whoever runs the installation."""
    return identity.authority.issue(
        tenant=tenant,
        principal=f"person:{identity.settings.person}",
        groups=("owner",),
        capabilities=(ANY,),
        ttl_s=OWNER_TTL_S,
        now=now_us / 1_000_000,
        jti=new_id(PASSPORT, now_ms=now_us // 1_000, entropy=identity.entropy.take(10)),
    )


async def ask_open(omega: Opened, name: str, value: Mapping[str, Any], tenant: str = INSTALLATION) -> Any:
    """What `service.method` gives for `value`, called as the owner of `tenant`, down the road. Raises the method's error."""
    return (await run_open(omega, find_method(name)[0], dict(value), tenant)).value


async def run_open(omega: Opened, flow: AnyFlow, value: Any, tenant: str = INSTALLATION) -> Outcome:
    """How `flow` ended for `value`, run as the owner of `tenant`, down the road. Raises the flow's error."""
    passport = owner_passport(omega.identity, tenant, omega.world.clock.now_us())
    outcome = await omega.road.call(Call(passport=passport, flow=flow, input=value))
    if outcome.error is not None:
        raise from_record(outcome.error)
    return outcome
