"""Which tools a caller is offered by capability: accepted ones, of servers that the caller's tenant may see, that the gate would not deny.

Default deny, in this order: without `tools:call` nothing is offered; a hosted tenant sees what virtual servers open to it, hidden tools
and those that a virtual server puts under approval left out; what the policies of the moment deny the caller is left out, while what
waits for an approval is offered, and waits when it is called. Being offered a tool is no right to it: the gate is asked again at each call.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omega.adapters.mcp import ToolDescription
from omega.host.arrangements import Documents, all_arranged
from omega.host.tools import Catalogue
from omega.host.virtual import VIRTUAL
from omega.kernel.compose import AnyFlow
from omega.kernel.definition import tool
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import DefinitionError, Denied, InputError
from omega.kernel.offered import OfferedTools, allows
from omega.kernel.scope import Scope
from omega.kernel.verdict import Ask, Decision, Gate, Permit
from omega.warden.admit import Warden


class OfferingEffector:
    """Serves `OfferedTools` from the catalogue of accepted tools. `home` is the tenant that the installation itself belongs to."""

    port = OfferedTools.port

    def __init__(self, catalogue: Catalogue, documents: Documents, warden: Warden, home: str, now_us: Callable[[], int]) -> None:
        self._catalogue, self._documents, self._warden, self._home, self._now_us = catalogue, documents, warden, home, now_us

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the descriptions of what is offered. Raises InputError (OMG-I001), Denied (OMG-W001) for another caller."""
        permit.spend(self.port)
        if not isinstance(request, OfferedTools):
            raise InputError("OMG-I001", f"offered tools are looked for, there is no {type(request).__name__}")
        caller = request.caller
        if type(caller) is not Scope or (caller.tenant, caller.principal) != (permit.tenant, permit.principal):
            raise Denied("OMG-W001", "tools are looked for on behalf of the caller of the step alone")
        found = [_told(pin) for pin, leaf in self._wanted(request) if self._offered(permit, caller, pin, leaf)]
        if len(found) > request.most:
            raise InputError(
                "OMG-I001",
                f"{len(found)} tools fit {', '.join(request.capabilities)[:200]}, and an agent has room for {request.most} of them",
                advice="name fewer servers or a weaker effect, or list the tools by name",
            )
        return found, Receipt()

    def _wanted(self, request: OfferedTools) -> Iterator[tuple[ToolDescription, AnyFlow]]:
        """The accepted tools that the capabilities stand for and the tenant may see, each as the leaf that a call by name would be."""
        opened = None if request.caller.tenant == self._home else list(self._open_to(request.caller))
        for name, pin in sorted(self._catalogue.pins.items()):
            if not any(allows(each, pin.server, pin.effect) for each in request.capabilities):
                continue
            if opened is not None and not any(_shows(body, name) for body in opened):
                continue
            try:
                yield pin, self._catalogue.bind(tool(pin.server, pin.name))
            except DefinitionError:  # a name that no flow can have: nobody could call it by name either
                continue

    def _open_to(self, caller: Scope) -> Iterator[Mapping[str, Any]]:
        for body in all_arranged(self._documents, VIRTUAL).values():
            groups = body.get("groups", [])
            if caller.tenant in body.get("tenants", []) and (not groups or any(group in caller.groups for group in groups)):
                yield body

    def _offered(self, permit: Permit, caller: Scope, pin: ToolDescription, leaf: AnyFlow) -> bool:
        """Whether the gate would let the caller call it, now or once somebody has approved."""
        asked = Ask(
            gate=Gate.TOUCH,
            scope=caller,
            execution=permit.execution,
            step=permit.step,
            epoch=permit.epoch,
            flow=leaf.name,
            flow_digest=leaf.digest,
            effect=leaf.effect,
            input_commitment=b"",
            now=self._now_us() / 1_000_000,
            needs=leaf.needs,
            kind=leaf.body.kind,
            resource={"server": pin.server, "tool": pin.name},
        )
        return self._warden.foresee(asked).decision is not Decision.DENY


def _shows(body: Mapping[str, Any], name: str) -> bool:
    """Whether a virtual server shows the tool as it is: the last entry that fits its name says so."""
    fitting = [entry for entry in body.get("tools", []) if fnmatch.fnmatchcase(name, entry["tool"])]
    return bool(fitting) and not fitting[-1].get("hidden") and not fitting[-1].get("approval")


def _told(pin: ToolDescription) -> dict[str, Any]:
    schema = {key: value for key, value in dict(pin.input_schema).items() if key != "$schema"}
    return {
        "tool": f"{pin.server}/{pin.name}",
        "effect": pin.effect.value,
        "description": pin.description,
        "schema": schema,
        "pin": pin.digest,
    }
