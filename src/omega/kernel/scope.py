"""Who is calling: a `Scope` is minted by trust from a verified passport; everybody else can only narrow it.

The mint is a function that only `omega.trust` may import (a test on the import graph and on the source holds this), and a Scope
built any other way is refused. That is the second of the three locks of the road: types.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from omega.kernel.errors import Denied

SCHEDULER = "service:scheduler"
"""Who acts, for whoever made a schedule, when a moment of it has come. No passport names it: it is added here, in the process."""

MAX_DELEGATION_DEPTH = 8
"""Longest chain of `act` (RFC 8693): deeper chains are unreadable to the person who must judge them."""

ANY = "*"
"""The capability that stands for all: only an owner's passport carries it."""

_TOKEN = object()


@dataclass(frozen=True, slots=True)
class Scope:
    """Tenant, acting principal, delegation chain and rights of one call.

    `principal` is `kind:name` (`person:ada`, `agent:reviewer`, `service:timers`). `actors` is the delegation chain, the
    current actor first, empty when the principal acts itself. `capabilities` are `area:verb` words. `epoch` is the revocation
    epoch under which the passport was accepted, `passport` its id (`jti`), `expires_at` its end in Unix seconds.
    """

    tenant: str
    principal: str
    groups: frozenset[str]
    capabilities: frozenset[str]
    actors: tuple[str, ...]
    region: str
    passport: str
    epoch: int
    expires_at: int
    _token: object = None

    def __post_init__(self) -> None:
        if self._token is not _TOKEN:
            raise Denied("OMG-T001", "a scope was made outside trust", advice="verify a passport to get a scope")

    @property
    def delegated(self) -> bool:
        """Whether somebody else acts for the principal. A schedule is nobody else: it does what its maker asked for."""
        return any(actor != SCHEDULER for actor in self.actors)

    def has(self, capability: str) -> bool:
        """Whether the scope holds `capability` itself, its area's `area:*`, or everything."""
        return _covers(self.capabilities, capability)

    def missing(self, wanted: Iterable[str]) -> frozenset[str]:
        """Those of `wanted` that the scope does not hold."""
        if ANY in self.capabilities:
            return frozenset()
        return frozenset(capability for capability in wanted if not self.has(capability))

    def narrow(self, capabilities: Iterable[str]) -> Scope:
        """The same caller with at most `capabilities`: rights are only ever lost on the way down."""
        kept = frozenset(capability for capability in capabilities if self.has(capability))
        return replace(self, capabilities=kept)

    def meet(self, capabilities: Iterable[str]) -> Scope:
        """The same caller with what both it and a holder of `capabilities` may do."""
        return replace(self, capabilities=common(self.capabilities, capabilities))

    def acting(self, actor: str) -> Scope:
        """The same caller represented by `actor`, one link longer. Raises Denied (OMG-T002) past `MAX_DELEGATION_DEPTH`."""
        if len(self.actors) >= MAX_DELEGATION_DEPTH:
            raise Denied("OMG-T002", f"the delegation chain would be longer than {MAX_DELEGATION_DEPTH}")
        return replace(self, actors=(actor, *self.actors))

    def claims(self) -> dict[str, Any]:
        """The scope as data, for the sealed start record; only trust turns it back into a Scope."""
        return {
            "tenant": self.tenant,
            "principal": self.principal,
            "groups": sorted(self.groups),
            "capabilities": sorted(self.capabilities),
            "actors": list(self.actors),
            "region": self.region,
            "passport": self.passport,
            "epoch": self.epoch,
            "expires_at": self.expires_at,
        }


def common(one: Iterable[str], other: Iterable[str]) -> frozenset[str]:
    """The capabilities that a holder of `one` and a holder of `other` have both."""
    first, second = frozenset(one), frozenset(other)
    return frozenset(each for each in first if _covers(second, each)) | frozenset(each for each in second if _covers(first, each))


def _covers(held: frozenset[str], capability: str) -> bool:
    return capability in held or ANY in held or f"{capability.partition(':')[0]}:{ANY}" in held


def mint_scope(  # noqa: PLR0913 - a passport has this many claims, each named by its caller
    *,
    tenant: str,
    principal: str,
    groups: Iterable[str] = (),
    capabilities: Iterable[str] = (),
    actors: Iterable[str] = (),
    region: str = "local",
    passport: str,
    epoch: int,
    expires_at: int,
) -> Scope:
    """Make a Scope. For `omega.trust` alone, after it has verified a passport or opened a sealed start record."""
    return Scope(tenant, principal, frozenset(groups), frozenset(capabilities), tuple(actors), region, passport, epoch, expires_at, _TOKEN)
