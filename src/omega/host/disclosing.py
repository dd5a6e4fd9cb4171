"""Disclosing: everything that is held about somebody, for them to have."""

from __future__ import annotations

import os
from typing import Any

from omega.adapters.tables import open_tables
from omega.host.asking import ask
from omega.host.logbook import note_access
from omega.host.personal import PersonalData
from omega.host.reading import Archive
from omega.host.settings import TENANT
from omega.host.subjects import about


async def told_about(home: str | os.PathLike[str] | None, subject: str) -> dict[str, Any]:
    """What the installation's own tenant holds about `subject`: the `executions` that are about them, and what `features` keep, as it is.

    That it was looked is on record first, by the mark alone. Raises Denied, StorageError.
    """
    with Archive.open(home) as archive:
        mark = archive.identity.keyring.subject(TENANT, subject)
    await ask(home, note_access, {"what": "subject", "mark": mark})
    with Archive.open(home) as archive:
        executions = list(about(archive.reader, TENANT, mark))
        settings = archive.settings
    personal = PersonalData(open_tables(settings.home, settings.store.dsn))
    try:
        return {"executions": executions, "features": await personal.told(TENANT, subject), "unsaid": personal.unsaid()}
    finally:
        await personal.aclose()
