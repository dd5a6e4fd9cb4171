"""The secrets for tool servers, from the operator's side: whose each is, when it was left, when it was last given; and rotating one.

Listed are the secrets that are kept here, sealed (`user:NAME`), and the variables that servers were given (`env:NAME`), which are kept by
whoever starts this process: of these it is known when they were used and not how old they are. No value is ever shown.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Final

from omega.host.arrangements import all_arranged, arranged
from omega.host.asking import keep
from omega.host.clock import SystemClock
from omega.host.credentials import CREDENTIAL, USE, document_name, same, sealed, told
from omega.host.reading import Archive
from omega.host.renewing import HELD
from omega.host.secrets_given import ENV, OWN
from omega.kernel.errors import InputError

OLD_S: Final = 90 * 86_400
"""From which age on (seconds) a secret is called old, where nothing is said."""


@dataclass(frozen=True, slots=True)
class Aged:
    """One secret by the reference that servers name it by. Times are Unix microseconds; `set_us` is 0 where nobody knows it, `used_us` 0
    for one that no server was given yet. `old` is whether it was left before the limit, or before that was kept."""

    name: str
    tenant: str
    principal: str
    set_us: int
    used_us: int
    used_by: str
    server: str
    kept: bool
    old: bool

    def record(self) -> dict[str, Any]:
        """As data."""
        return asdict(self)


def listed(home: str | os.PathLike[str] | None, *, old_s: float = OLD_S) -> list[Aged]:
    """Every secret, by tenant, owner and name. Raises StorageError, IntegrityError (OMG-T004) for one that was not sealed here."""
    before_us = SystemClock().now_us() - int(old_s * 1_000_000)
    with Archive.open(home) as archive:
        documents, keyring = archive.reader, archive.identity.keyring
        uses = {name: dict(json.loads(body)) for name, body in documents.documents(USE)}
        found = []
        for place, body in all_arranged(documents, CREDENTIAL).items():
            tenant, principal, name, set_us = told(place, body, keyring)
            if not name.endswith(HELD):  # what renews a token goes with it
                used = uses.pop(place, {})
                found.append(_aged(used, OWN + name, tenant, principal, set_us=set_us, kept=True, old=set_us < before_us))
    found += [_aged(used, used["name"], used["tenant"], "", set_us=0, kept=False, old=False) for used in uses.values() if _variable(used)]
    return sorted(found, key=lambda each: (each.tenant, each.principal, each.name))


async def rotate(home: str | os.PathLike[str] | None, name: str, secret: str, *, principal: str = "") -> str:
    """Put `secret` in the place of the one called `name`, on record; gives whose it is. Sessions that begin from now on get it.

    Raises InputError: OMG-I003 where there is none to take the place of, OMG-X001 for the same secret again, OMG-I001 for what is none.
    """
    with Archive.open(home) as archive:
        tenant, keyring = archive.settings.tenant, archive.identity.keyring
        whose = principal or f"person:{archive.settings.person}"
        place = document_name(tenant, whose, name)
        standing = arranged(archive.reader, CREDENTIAL, place)
    if standing is None:
        raise InputError("OMG-I003", f"{whose} has left no secret {name[:64]}", advice=f"omega mcp credential {name[:64]} leaves one")
    if same(place, standing, keyring, secret):
        raise InputError("OMG-X001", "that is the secret that is kept already", advice="have whoever gave it out make a new one")
    await keep(home, CREDENTIAL, place, sealed(keyring, tenant, whose, name, secret, at_us=SystemClock().now_us()))
    return whose


def _aged(used: dict[str, Any], name: str, tenant: str, principal: str, *, set_us: int, kept: bool, old: bool) -> Aged:
    at_us, by, server = int(used.get("at_us", 0)), str(used.get("principal", "")), str(used.get("server", ""))
    return Aged(name, tenant, principal, set_us, at_us, by, server, kept, old)


def _variable(used: dict[str, Any]) -> bool:
    return str(used["name"]).startswith(ENV)
