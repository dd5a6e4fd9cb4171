"""The guard for the command line: what it sees in the record, read beside live engines, and its channels."""

from __future__ import annotations

import json
import os

from omega.adapters.alerts import Address
from omega.defence.guard.acting import Orders
from omega.defence.guard.model import Alert, Health, Levels
from omega.defence.guard.service import MAX_READ, health, levels, standing
from omega.defence.guard.slo import DAY_S, Objective
from omega.host.asking import keep
from omega.host.guard import CHANNEL, opened, seal
from omega.host.guard_acts import ORDERS, orders_of
from omega.host.reading import Archive
from omega.host.settings import referred
from omega.kernel.errors import InputError
from omega.kernel.ports import Line, Search

PAGE = 500
"""Executions read at once."""


def address(kind: str, text: str, sender: str, receivers: tuple[str, ...]) -> Address:
    """Where a channel leads; `text` may say where the address is found (env:NAME, file:PATH). Raises InputError."""
    return Address(kind, referred(text, f"--{kind}"), sender, receivers)


async def arrange_channel(home: str | os.PathLike[str] | None, name: str, address: Address) -> None:
    """Keep a channel, on record. Raises InputError (OMG-I001), Denied, StorageError."""
    with Archive.open(home) as archive:
        body = seal(name, address, archive.settings.tenant, archive.identity.keyring)
    await keep(home, CHANNEL, name, body)


def channels(home: str | os.PathLike[str] | None) -> list[dict[str, str]]:
    """Every channel by name and kind; where it leads is not told. Raises StorageError, IntegrityError."""
    with Archive.open(home) as archive:
        found = archive.reader.documents(CHANNEL)
        return [{"name": name, "kind": opened(name, json.loads(body), archive.identity.keyring)[0].kind} for name, body in found]


async def arrange_acts(home: str | os.PathLike[str] | None, orders: Orders) -> None:
    """Say what the guard may do by itself, on record. Raises Denied, StorageError."""
    with Archive.open(home) as archive:
        tenant = archive.settings.tenant
    await keep(home, ORDERS, tenant, orders.model_dump())


def orders(home: str | os.PathLike[str] | None) -> Orders:
    """What the guard may do by itself. Raises StorageError."""
    with Archive.open(home) as archive:
        return orders_of(archive.reader, archive.settings.tenant)


def look(home: str | os.PathLike[str] | None) -> Health:
    """What works now, and what should be looked at."""
    with Archive.open(home) as archive:
        return health(_lines(archive), _now(archive))


def service_levels(home: str | os.PathLike[str] | None, *, target: float, days: float, within_s: float) -> Levels:
    """How each flow stands. Raises InputError (OMG-X001) for an objective that promises nothing."""
    with Archive.open(home) as archive:
        return levels(_lines(archive), _objective(target, days, within_s), _now(archive))


def alerts(home: str | os.PathLike[str] | None, *, target: float, days: float, within_s: float) -> list[Alert]:
    """The alerts that stand. Raises as `service_levels` does."""
    with Archive.open(home) as archive:
        return standing(_lines(archive), _objective(target, days, within_s), _now(archive))


def _objective(target: float, days: float, within_s: float) -> Objective:
    try:
        return Objective(target, days * DAY_S, within_s)
    except ValueError as error:
        raise InputError("OMG-X001", str(error), advice="give a target such as 99.9") from error


def _lines(archive: Archive) -> list[Line]:
    """The newest executions of the installation's own tenant, as the service reads them."""
    found: list[Line] = []
    older = ""
    while len(found) < MAX_READ:
        page = archive.reader.search(Search(tenant=archive.settings.tenant, limit=PAGE, older_than=older))
        found += page
        if len(page) < PAGE:
            break
        older = page[-1].execution
    return found[:MAX_READ]


def _now(archive: Archive) -> float:
    return archive.world.clock.now_us() / 1_000_000
