"""What the programs of a tenant may use: the caps in its plan, which every process gets that is started in its name.

`cpu_s`, `memory_mb` and `processes` stand among the limits of a hosted tenant (`omega.features.tenancy.plans`). A command of a flow gets
them, and a tool server that is a process: such a tenant has processes of its own, which it shares with no other. The installation's own
tenant has none: whoever runs Omega is held by the machine alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from omega.adapters.mcp import Launch
from omega.adapters.process import NO_CAPS, Caps
from omega.host.arrangements import Documents, all_arranged, arranged
from omega.host.sandboxing import guarded
from omega.host.tenants import TENANT
from omega.kernel.service import INSTALLATION

FRESH_S: Final = 1.0
"""For how long (seconds) what a plan says is taken to be so: a change of plan holds for programs that are started after that."""

MAX_KNOWN: Final = 1_000
"""Most tenants whose caps are remembered at once."""


class Confining:
    """The caps of tenants, as their documents say. No server that is started gets anything of the folders `protected`."""

    def __init__(self, documents: Documents, protected: tuple[str, ...] = ()) -> None:
        self._documents, self._protected = documents, protected
        self._known: dict[str, tuple[float, Caps]] = {}

    def caps(self, tenant: str) -> Caps:
        """What one program of that tenant may use. Raises StorageError."""
        if tenant == INSTALLATION:
            return NO_CAPS
        now = time.monotonic()
        until, found = self._known.get(tenant, (0.0, NO_CAPS))
        if now >= until:
            found = caps_of(arranged(self._documents, TENANT, tenant) or {})
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[tenant] = (now + FRESH_S, found)
        return found

    def launcher(self, tenant: str) -> Launch | None:
        """How a tool server is started in the name of that tenant; None where there is nothing to hold it to. Raises StorageError."""
        found = self.caps(tenant)
        return None if found == NO_CAPS else guarded(self._protected, found)


def caps_of(tenant: Mapping[str, Any]) -> Caps:
    """The caps in the document of a tenant."""
    limits = tenant.get("limits", {})
    return Caps(**{name: int(limits.get(name, 0)) for name in ("cpu_s", "memory_mb", "processes")})


def confined(documents: Documents) -> dict[str, Caps]:
    """Every tenant whose programs are held to caps."""
    found = {tenant: caps_of(body) for tenant, body in all_arranged(documents, TENANT).items()}
    return {tenant: caps for tenant, caps in found.items() if caps != NO_CAPS}
