"""Leaving: what a tenant takes along before it is deleted.

    log.omega      its log with its journals, signed as a whole, and `verify.py` beside it: anybody checks it without us
    tenant.json    its line, members, API keys (never their secrets), settings

The SHA-256 of the two, one after the other, is named when the tenant is deleted, so the installation's log says what was handed over.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from omega.host.methods import Desk, Home
from omega.host.proof import export
from omega.host.reading import Archive
from omega.kernel.errors import InputError

LOG, ROWS = "log.omega", "tenant.json"
OWN = ("members", "keys", "settings", "flags")
"""The methods of tenancy that list what is a tenant's own."""


async def take_along(home: Home, at: Desk, tenant: str, folder: Path) -> str:
    """Write the export of `tenant` to `folder`, made when it is missing; gives its SHA-256 in hex.

    Raises InputError (OMG-I003 for an unknown tenant, OMG-P005 when a file cannot be written), and what the log's export raises.
    """
    rows: dict[str, Any] = {"tenant": await at.ask("tenancy.show", {"tenant": tenant})}
    for name in OWN:
        rows[name] = await at.ask(f"tenancy.{name}", {}, tenant)
    return _written(home, tenant, folder, json.dumps(rows, indent=2, sort_keys=True).encode() + b"\n")


def _written(home: Home, tenant: str, folder: Path, rows: bytes) -> str:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / ROWS).write_bytes(rows)
    except OSError as error:
        raise InputError("OMG-P005", f"{error.filename or folder} cannot be written: {(error.strerror or 'unknown').lower()}") from error
    with Archive.open(home) as archive:
        export(archive, tenant, folder / LOG)
    return sha256((folder / LOG).read_bytes() + rows).hexdigest()
