"""Revoking a passport, on record: refused first, then written down by a flow of the host's own: the log says who had it refused, and when.

The refusal never waits for the record: it is in force before the gate is even asked, and stays so where the record cannot be written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from omega.host.arrangements import Shelf
from omega.host.revocations import account_of, demand_room, is_revoked, revoke
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import Denied, InputError
from omega.kernel.service import INSTALLATION
from omega.kernel.verdict import Permit
from omega.trust.passport import Authority

MAX_ID = 512
"""Longest id of a passport, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke(Request):
    """Refuse the passport of that id, and all that go on with it."""

    port: ClassVar[str] = "passports"
    passport: str


class RevocationEffector:
    """Serves `Revoke`. A hosted tenant revokes its own passports alone: their ids begin with its name."""

    port = Revoke.port

    def __init__(self, shelf: Shelf, authority: Authority, now_us: Callable[[], int]) -> None:
        self._shelf, self._authority, self._now_us = shelf, authority, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the id. Raises InputError (OMG-I001) for what is none, Denied (OMG-W001) for a passport of somebody else's."""
        permit.spend(self.port)
        if not isinstance(request, Revoke) or not 0 < len(request.passport) <= MAX_ID or not request.passport.isprintable():
            raise InputError("OMG-I001", "a passport is revoked by its id")
        if permit.tenant != INSTALLATION and not request.passport.startswith(f"{permit.tenant}/"):
            raise Denied("OMG-W001", f"{permit.tenant} revokes passports of its own alone", advice="ask whoever runs this installation")
        if not is_revoked(self._shelf, self._authority, request.passport):
            if permit.tenant != INSTALLATION:
                demand_room(self._authority, permit.tenant)
            revoke(self._shelf, self._authority, request.passport, self._now_us(), account=account_of(request.passport))
        return request.passport, Receipt()


@flow(name="revoke_passport", effect="idempotent", needs="passports:use")
async def revoke_passport(ctx: Context, wanted: dict[str, str]) -> str:
    """Have a passport refused: `passport`, its id; `by`, who asked for it."""
    return str(await ctx.touch(Revoke(passport=wanted["passport"])))
