"""The effector that serves one feature's `Transact` and `Consult`. The tenant comes from the permit, never from the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from omega.kernel.effects import Consult, Receipt, Request, Transact
from omega.kernel.errors import Denied, InputError
from omega.kernel.ports import Schema, Tables, Turn
from omega.kernel.service import Personal
from omega.kernel.verdict import Permit


def _nothing(tenant: str) -> str:
    """Where nothing is ever held."""
    return ""


class TablesEffector:
    """Serves the feature `port`; its schema is loaded by `load` on the first request. `held` says why nothing of a tenant may be destroyed,
    empty where it may; `personal` which changes destroy something."""

    def __init__(
        self,
        port: str,
        load: Callable[[], Schema],
        tables: Tables,
        now_us: Callable[[], int],
        personal: Personal | None = None,
        held: Callable[[str], str] = _nothing,
    ) -> None:
        self.port = port
        self._load, self._tables, self._now_us = load, tables, now_us
        self._personal, self._held = personal or Personal(named="", told="", erase=""), held
        self._schema: Schema | None = None

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what the transaction gives.

        Raises InputError (OMG-I001) for another request, or for the erasure itself, which has a gate of its own; Denied (OMG-C004) for a
        change that destroys something while a hold stands; and what `kernel.ports.Tables` raises.
        """
        permit.spend(self.port)
        if not isinstance(request, Transact | Consult):
            raise InputError("OMG-I001", f"{self.port} keeps tables, there is no {type(request).__name__} on them")
        if self._schema is None:
            self._schema = self._load()
        if isinstance(request, Consult):
            return await self._tables.look(self._schema, request.name, request.values, permit.tenant), Receipt()
        turn = Turn(tenant=permit.tenant, execution=execution, step=step, epoch=permit.epoch, at_us=self._now_us())
        return await self._tables.change(self._schema, request.name, self._values(permit.tenant, request), turn), Receipt()

    def _values(self, tenant: str, request: Transact) -> Mapping[str, Any]:
        """What the change is given. Raises InputError (OMG-I001), Denied (OMG-C004)."""
        own = self._personal
        if request.name and request.name == own.erase:
            raise InputError("OMG-I001", "what is kept of somebody is destroyed by an erasure", advice="omega erase --subject NAME")
        if request.name not in (*own.destroys, *own.trims):
            return request.values
        reason = self._held(tenant)
        if reason and request.name in own.destroys:
            raise Denied("OMG-C004", f"nothing of {tenant} is destroyed while a legal hold stands: {reason}")
        return {**request.values, "held": bool(reason)} if request.name in own.trims else request.values

    async def aclose(self) -> None:
        """Let go of the tables."""
        await self._tables.aclose()
