"""The guards that agents name as checks (`omega.kernel.guardrails`): what the gate looks for on the way to tools, asked about one text."""

from __future__ import annotations

from typing import Any

from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError
from omega.kernel.guardrails import Inspect
from omega.kernel.verdict import Permit
from omega.warden.guard import injection, personal

TOO_LONG = "text too long to be read"


class GuardrailEffector:
    """Serves `Inspect`. It looks at the text alone and touches nothing."""

    port = Inspect.port

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives what was found, in words; empty where nothing was. Raises InputError (OMG-I001)."""
        permit.spend(self.port)
        if not isinstance(request, Inspect):
            raise InputError("OMG-I001", f"texts are looked at, there is no {type(request).__name__}")
        return ", ".join(_signs(request.guard, request.text)), Receipt()


def _signs(guard: str, text: str) -> tuple[str, ...]:
    if guard == "personal":
        return personal.kinds(text)
    if guard != "injection":
        raise InputError("OMG-I001", f"there is no guard {guard[:80]!r}")
    if len(text) > injection.MAX_SCANNED:
        return (TOO_LONG,)
    found = injection.search(text)
    return found.signs if found.suspicious else ()
