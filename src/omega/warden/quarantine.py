"""Quarantine: one caller is locked out, and nobody else notices.

The list is pushed to the gate by the host and looked at before anything else. It names a principal of a tenant; who acts for somebody
else is found in the chain of actors, so an agent in quarantine cannot hide behind a person's passport, and the person is free to act
themself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from omega.kernel.errors import InputError
from omega.kernel.scope import Scope

MAX_REASON = 300
"""Longest reason in characters: it is read in a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """`principal` of `tenant` is locked out since `since_us` (Unix microseconds), for `reason`, by `by`: a person, or `omega` itself."""

    tenant: str
    principal: str
    reason: str
    by: str
    since_us: int

    def record(self) -> dict[str, Any]:
        """As kept."""
        return {"tenant": self.tenant, "principal": self.principal, "reason": self.reason, "by": self.by, "since_us": self.since_us}

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Quarantine:
        """From a document. Raises InputError (OMG-I001)."""
        texts = [body.get(name) for name in ("tenant", "principal", "reason", "by")]
        since_us = body.get("since_us")
        if not all(isinstance(text, str) and text.strip() for text in texts) or type(since_us) is not int:
            raise InputError("OMG-I001", "a quarantine names tenant, principal, reason, by whom and since when")
        tenant, principal, reason, by = map(str, texts)
        if not principal.startswith(("agent:", "service:")) or len(reason) > MAX_REASON:
            raise InputError(
                "OMG-I001",
                f"an agent or a service is put into quarantine, for a reason of at most {MAX_REASON} letters",
                advice="name agent:NAME",
            )
        return cls(tenant=tenant, principal=principal, reason=reason, by=by, since_us=since_us)


class Ward:
    """Everybody in quarantine, by tenant and principal."""

    def __init__(self, listed: Iterable[Quarantine] = ()) -> None:
        self._listed = {(each.tenant, each.principal): each for each in listed}

    def __len__(self) -> int:
        return len(self._listed)

    def names(self, tenant: str, principal: str) -> bool:
        """Whether that principal itself is listed."""
        return (tenant, principal) in self._listed

    def holds(self, scope: Scope) -> Quarantine | None:
        """The quarantine that `scope` falls under: its principal's, or that of anybody who acts for them."""
        for principal in (scope.principal, *scope.actors):
            found = self._listed.get((scope.tenant, principal))
            if found is not None:
                return found
        return None
