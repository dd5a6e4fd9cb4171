"""The end of tenants that were made for a while: whatever engine is open purges them, down the road and on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from omega.host.acting import Opened, ask_open
from omega.host.arrangements import Documents
from omega.host.tenants import TENANT
from omega.kernel.errors import OmegaError, StorageError

LOOK_S = 30.0
"""How often a running engine looks for tenants whose time is over."""


class Holding(Opened, Protocol):
    """An open engine with its records."""

    @property
    def store(self) -> Documents: ...


async def expire(omega: Holding) -> list[str]:
    """Purge every tenant whose time is over; gives their ids. One that cannot be purged now is left for the next look."""
    gone = []
    for tenant in list(_over(omega.store, omega.world.clock.now_us())):
        with suppress(OmegaError):
            await ask_open(omega, "tenancy.expire", {"tenant": tenant})
            gone.append(tenant)
    return gone


async def watch_expiry(omega: Holding) -> None:
    """Purge what is over, for as long as the engine is open."""
    while True:
        with suppress(StorageError):
            await expire(omega)
        await asyncio.sleep(LOOK_S)


def _over(documents: Documents, now_us: int) -> Iterator[str]:
    for tenant, body in documents.documents(TENANT):
        if 0 < json.loads(body)["expires_us"] <= now_us:
            yield tenant
