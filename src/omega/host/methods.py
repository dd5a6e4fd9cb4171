"""What the commands about tenants, keys and sandboxes do: methods of services, called as the owner of a tenant (`omega.host.acting`).

Between the first call of a command and its last one the installation is either this process's own, or another engine works in the folder
and carries each call out (`omega.host.orders`): a `Desk` hides which.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from omega.host.acting import owner_passport, run_open
from omega.host.asking import order
from omega.host.discover import find_method
from omega.host.embedded import Omega
from omega.host.orders import Wanted
from omega.host.reading import Archive
from omega.host.targets import SERVICE, Target
from omega.kernel.errors import InputError, StorageError
from omega.kernel.ids import TENANT, is_id
from omega.kernel.ports import Outcome
from omega.kernel.service import INSTALLATION

Home = str | os.PathLike[str] | None


class Desk:
    """Where calls are made for one installation; get one with `desk`."""

    def __init__(self, home: Home, omega: Omega | None, busy: StorageError | None) -> None:
        self._home, self._omega, self._busy = home, omega, busy

    async def ask(self, name: str, value: Mapping[str, Any], tenant: str = INSTALLATION) -> Any:
        """What `service.method` gives for `value`, called as the owner of `tenant`. Raises its error, StorageError."""
        target = Target(f"{SERVICE}{name}", find_method(name)[0], ())
        return (await self.run(target, dict(value), tenant)).value

    async def run(self, target: Target, value: Any, tenant: str = INSTALLATION) -> Outcome:
        """How `target` ended for `value`, run as the owner of `tenant`. Raises its error, StorageError."""
        if self._omega is not None:
            return await run_open(self._omega, target.flow, value, tenant)
        with Archive.open(self._home) as archive:
            passport = owner_passport(archive.identity, tenant, archive.world.clock.now_us())
        busy = self._busy or StorageError("OMG-S001", "another engine works here")
        return await order(self._home, Wanted(target=target, input=value, passport=passport), busy)

    async def tenant(self, text: str) -> str:
        """The id of the tenant that `text` names: itself, `organisation/project/environment`, or nothing for the installation's own.

        Raises InputError (OMG-I003).
        """
        if text in ("", INSTALLATION) or (text.startswith(f"{TENANT}_") and is_id(text)):
            return text or INSTALLATION
        organisation, _, rest = text.partition("/")
        for row in await self.ask("tenancy.tenants", {"organisation": organisation, "limit": 500}):
            if f"{row['project']}/{row['environment']}" == rest:
                return str(row["tenant"])
        raise InputError("OMG-I003", f"there is no tenant {text[:200]!r}", advice="omega tenant list")


@asynccontextmanager
async def desk(home: Home) -> AsyncIterator[Desk]:
    """A desk of the installation at `home`. Raises what `Omega.open` raises, but for an engine that is at work there."""
    opening = Omega.open(home)
    try:
        omega = await opening.__aenter__()
    except StorageError as error:
        if error.code != "OMG-S001":
            raise
        yield Desk(home, None, error)
        return
    try:
        yield Desk(home, omega, None)
    finally:
        await opening.__aexit__(None, None, None)


async def ask_method(home: Home, name: str, value: Mapping[str, Any], tenant: str = INSTALLATION) -> Any:
    """One call at a desk of its own: see `Desk.ask`."""
    async with desk(home) as at:
        return await at.ask(name, value, tenant)
