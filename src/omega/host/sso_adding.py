"""Making and changing connections: what a person types becomes a sealed document, kept on record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omega.host.asking import forget, keep
from omega.host.clock import SystemEntropy
from omega.host.identity import Identity
from omega.host.methods import desk
from omega.host.reading import Archive
from omega.host.settings import Settings
from omega.host.sso import CONNECTION, OIDC, SAML, Connection, connections
from omega.host.storage import may_make_keys
from omega.kernel.errors import InputError

Home = str | os.PathLike[str] | None


async def add(home: Home, name: str, *, tenant: str, **given: Any) -> Connection:
    """Keep a connection of a tenant (its id, or organisation/project/environment), on record, in place of an earlier one of that name and
    tenant. Raises InputError (OMG-I001, OMG-I003), Denied (OMG-P011), StorageError."""
    async with desk(home) as at:
        owner = await at.tenant(tenant)
    settings = Settings.load(home)
    may_make_keys(settings)
    identity = Identity.load(settings, SystemEntropy())
    made = Connection(name=name, tenant=owner, **given)
    standing = {each.name: each for each in listed(home)}.get(name)
    if standing is not None and standing.tenant != owner:
        raise InputError("OMG-I001", f"the connection {name} is another tenant's", advice="choose another name")
    await keep(home, CONNECTION, name, made.seal(identity.keyring))
    return made


def from_metadata(path: Path) -> Mapping[str, Any]:
    """What a SAML provider's metadata file says, as fields of a connection. Raises InputError (OMG-I001, OMG-P005), Denied (OMG-T001)."""
    from omega.adapters.saml import issuer_of

    try:
        document = path.read_bytes()
    except OSError as error:
        raise InputError("OMG-P005", f"the metadata {path.name} cannot be read") from error
    found = issuer_of(document)
    return {"kind": SAML, "issuer": found.entity, "address": found.address, "certificates": found.certificates}


def for_openid(issuer: str, client_id: str, secret: str) -> Mapping[str, Any]:
    """The fields of a connection to an OpenID provider."""
    return {"kind": OIDC, "issuer": issuer, "client_id": client_id, "secret": secret}


async def remove(home: Home, name: str) -> None:
    """Forget a connection: nobody signs in by it from now on; sessions that began by it last. Raises InputError (OMG-I003)."""
    await forget(home, CONNECTION, name)


def listed(home: Home) -> list[Connection]:
    """All connections by name. Raises IntegrityError (OMG-T004)."""
    with Archive.open(home) as archive:
        return connections(archive.reader, archive.identity.keyring)
