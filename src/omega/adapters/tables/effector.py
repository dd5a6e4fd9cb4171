"""The effector that serves one feature's `Transact` and `Consult`. The tenant comes from the permit, never from the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omega.kernel.effects import Consult, Receipt, Request, Transact
from omega.kernel.errors import InputError
from omega.kernel.ports import Schema, Tables, Turn
from omega.kernel.verdict import Permit


class TablesEffector:
    """Serves the feature `port`; its schema is loaded by `load` on the first request."""

    def __init__(self, port: str, load: Callable[[], Schema], tables: Tables, now_us: Callable[[], int]) -> None:
        self.port = port
        self._load, self._tables, self._now_us = load, tables, now_us
        self._schema: Schema | None = None

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what the transaction gives.

        Raises InputError (OMG-I001) for another request, and what `kernel.ports.Tables` raises.
        """
        permit.spend(self.port)
        if not isinstance(request, Transact | Consult):
            raise InputError("OMG-I001", f"{self.port} keeps tables, there is no {type(request).__name__} on them")
        if self._schema is None:
            self._schema = self._load()
        if isinstance(request, Consult):
            return await self._tables.look(self._schema, request.name, request.values, permit.tenant), Receipt()
        turn = Turn(tenant=permit.tenant, execution=execution, step=step, epoch=permit.epoch, at_us=self._now_us())
        return await self._tables.change(self._schema, request.name, request.values, turn), Receipt()

    async def aclose(self) -> None:
        """Let go of the tables."""
        await self._tables.aclose()
